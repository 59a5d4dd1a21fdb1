package resiliency_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	dapr "github.com/dapr/go-sdk/client"
	"github.com/stretchr/testify/require"
)

// publish publishes an event of a type without a handler to a service's queue. Its route is /events, as for every
// event.
func publish(ctx context.Context, c dapr.Client, queue, topic, id string) error {
	return c.PublishEvent(ctx, queue, topic, fmt.Appendf(nil, `{"n":%q}`, id),
		dapr.PublishEventWithContentType("application/json"),
		dapr.PublishEventWithMetadata(map[string]string{"cloudevent.type": "OF_A_TEST", "cloudevent.id": id}))
}

// publisher returns a client of the gRPC API of an app's sidecar, to which no rate limit applies.
func publisher(t *testing.T, app string) dapr.Client {
	t.Helper()
	c, err := dapr.NewClientWithAddressContext(t.Context(), fmt.Sprintf("127.0.0.1:%d", sidecars.GRPCPort(app)))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// subscription is the part of a subscription in components/local that the tests need.
type subscription struct {
	Kind string `yaml:"kind"`
	Spec struct {
		Queue string `yaml:"pubsubname"`
		Topic string `yaml:"topic"`
	} `yaml:"spec"`
	Scopes []string `yaml:"scopes"`
}

func subscriptions(t *testing.T) []subscription {
	t.Helper()
	return slices.DeleteFunc(localResources[subscription](t),
		func(s subscription) bool { return s.Kind != "Subscription" })
}

// queueOf returns a queue of an app and one of its topics, or empty strings if it has none. It skips the ordered
// queues.
func queueOf(t *testing.T, app string) (queue, topic string) {
	t.Helper()
	for _, s := range subscriptions(t) {
		for _, scope := range s.Scopes {
			if scope == app && !strings.HasSuffix(s.Spec.Queue, ".fifo") {
				return s.Spec.Queue, s.Spec.Topic
			}
		}
	}
	return "", ""
}

// A sidecar that delivers events has no limiter before its app, and a limiter before its API does not count deliveries.
func TestRateLimitsDoNotApplyToEvents(t *testing.T) {
	limits := rateLimits(t)
	flooded := 0
	for app, places := range pipelines(t) {
		queue, topic := queueOf(t, app)
		if queue == "" {
			continue
		}
		require.Empty(t, places["appHttpPipeline"], "%s receives events", app)
		for _, name := range places["httpPipeline"] {
			flooded++
			t.Run(app, func(t *testing.T) {
				var delivered atomic.Int32
				apps.on(app, "/events "+queue, func(http.ResponseWriter, *http.Request) { delivered.Add(1) })
				c := publisher(t, app)
				events := 2 * limits[name]
				start := time.Now()
				for i := range events {
					require.NoError(t, publish(t.Context(), c, queue, topic, strconv.Itoa(i)))
				}
				eventually(t, func() bool { return int(delivered.Load()) >= events }, "not all events are delivered")
				t.Logf("%d events in %s", events, time.Since(start))
				require.EqualValues(t, events, delivered.Load(), "an event was delivered again")
			})
		}
	}
	require.NotZero(t, flooded)
}

// While an app handles as many calls as it may, an event waits. It is not rejected, which would use up one of its three
// deliveries.
func TestEventsWaitForABusyApp(t *testing.T) {
	tested := 0
	for app, limit := range maxConcurrency(t) {
		queue, topic := queueOf(t, app)
		if limit == 0 || queue == "" {
			continue
		}
		tested++
		t.Run(app, func(t *testing.T) {
			path := "/" + t.Name()
			busy := newBlockingPath(t, app, path)
			calls := flood(t, app, path, limit)
			eventually(t, func() bool { return int(busy.now.Load()) == limit }, "the bulkhead is not full")
			var delivered atomic.Int32
			apps.on(app, "/events "+queue, func(http.ResponseWriter, *http.Request) { delivered.Add(1) })
			require.NoError(t, publish(t.Context(), publisher(t, app), queue, topic, "1"))
			require.Never(t, func() bool { return delivered.Load() > 0 }, 300*time.Millisecond, 10*time.Millisecond)
			busy.release()
			require.NoError(t, calls.Wait())
			eventually(t, func() bool { return delivered.Load() == 1 }, "the event is not delivered")
		})
	}
	require.NotZero(t, tested)
}

// A handler of events that hangs is ended before its queue delivers the message again.
func TestEventHandlersTimeOut(t *testing.T) {
	t.Parallel()
	d := short["components.yaml"]
	for name, target := range d.Spec.Targets.Components {
		if target.Inbound.Timeout == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := slices.IndexFunc(subscriptions(t), func(s subscription) bool { return s.Spec.Queue == name })
			require.GreaterOrEqual(t, i, 0, "the queue has no subscription")
			s := subscriptions(t)[i]
			attempts := recordAttempts(s.Scopes[0], "/events "+name, hang)
			require.NoError(t, publish(t.Context(), publisher(t, s.Scopes[0]), name, s.Spec.Topic, "1"))
			requireTimeout(t, attempts, 1, d.Spec.Policies.Timeouts[target.Inbound.Timeout])
		})
	}
}

// A handler of a cron binding that hangs is ended as well.
func TestCronHandlersTimeOut(t *testing.T) {
	t.Parallel()
	limit := short["components.yaml"].Spec.Policies.Timeouts["DefaultBindingComponentInboundTimeoutPolicy"]
	bindings := 0
	for _, c := range localComponents(t) {
		// The ticks would use up the concurrency of an app with a limit.
		if c.Spec.Type != "bindings.cron" || maxConcurrency(t)[c.Scopes[0]] > 0 {
			continue
		}
		bindings++
		t.Run(c.Metadata.Name, func(t *testing.T) {
			t.Parallel()
			attempts := recordAttempts(c.Scopes[0], "/bindings/"+c.Metadata.Name, hang)
			eventually(t, func() bool { return len(attempts()) > 0 }, "no tick has ended")
			requireTimeout(t, func() []attempt { return attempts()[:1] }, 1, limit)
		})
	}
	require.NotZero(t, bindings)
}
