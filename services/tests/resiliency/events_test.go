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

// publish publishes an event of a type without a handler to a service's queue. Its route is /events, as for every event.
func publish(ctx context.Context, c dapr.Client, queue, topic, id string) error {
	return c.PublishEvent(ctx, queue, topic, fmt.Appendf(nil, `{"n":%q}`, id), dapr.PublishEventWithContentType("application/json"),
		dapr.PublishEventWithMetadata(map[string]string{"cloudevent.type": "OF_A_TEST", "cloudevent.id": id}))
}

// publisher is the gRPC API of an app's sidecar, which no limiter counts.
func publisher(t *testing.T, app string) dapr.Client {
	t.Helper()
	c, err := dapr.NewClientWithAddressContext(t.Context(), fmt.Sprintf("127.0.0.1:%d", sidecars.GRPCPort(app)))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// subscription is what a test has to know of a subscription in components/local.
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
	return slices.DeleteFunc(localResources[subscription](t), func(s subscription) bool { return s.Kind != "Subscription" })
}

// queueOf is a queue of the app's own and a topic of it.
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

// Where events are delivered there is no limiter between the sidecar and the app, and one on what the app sends counts
// no deliveries.
func TestRateLimitsLeaveEventsAlone(t *testing.T) {
	limits := rateLimits(t)
	flooded := 0
	for app, places := range pipelines(t) {
		queue, topic := queueOf(t, app)
		if queue == "" {
			continue
		}
		require.Empty(t, places["appHttpPipeline"], "%s gets events", app)
		for _, name := range places["httpPipeline"] {
			flooded++
			t.Run(app, func(t *testing.T) {
				var delivered atomic.Int32
				apps.on(app, "/events "+queue, func(http.ResponseWriter, *http.Request) { delivered.Add(1) })
				c := publisher(t, app)
				events := 2 * limits[name]
				began := time.Now()
				for i := range events {
					require.NoError(t, publish(t.Context(), c, queue, topic, strconv.Itoa(i)))
				}
				eventually(t, func() bool { return int(delivered.Load()) >= events }, "all are delivered")
				t.Logf("%d events in %s", events, time.Since(began))
				require.EqualValues(t, events, delivered.Load(), "each once: none was refused")
			})
		}
	}
	require.NotZero(t, flooded)
}

// While an app is busy with as many calls as it takes at once, an event waits for its turn; it is not refused, which
// would cost it one of its three receives.
func TestBulkheadsKeepEvents(t *testing.T) {
	kept := 0
	for app, limit := range maxConcurrency(t) {
		queue, topic := queueOf(t, app)
		if limit == 0 || queue == "" {
			continue
		}
		kept++
		t.Run(app, func(t *testing.T) {
			path := "/" + t.Name()
			crowd := newCrowded(t, app, path)
			calls := flood(t, app, path, limit)
			eventually(t, func() bool { return int(crowd.now.Load()) == limit }, "full")
			var delivered atomic.Int32
			apps.on(app, "/events "+queue, func(http.ResponseWriter, *http.Request) { delivered.Add(1) })
			require.NoError(t, publish(t.Context(), publisher(t, app), queue, topic, "1"))
			require.Never(t, func() bool { return delivered.Load() > 0 }, 300*time.Millisecond, 10*time.Millisecond)
			crowd.release()
			require.NoError(t, calls.Wait())
			eventually(t, func() bool { return delivered.Load() == 1 }, "delivered")
		})
	}
	require.NotZero(t, kept)
}

// A handler of events that hangs is cut off, before its queue would show the message to another.
func TestHandlersAreCutOff(t *testing.T) {
	t.Parallel()
	d := short["components.yaml"]
	for name, target := range d.Spec.Targets.Components {
		if target.Inbound.Timeout == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := slices.IndexFunc(subscriptions(t), func(s subscription) bool { return s.Spec.Queue == name })
			require.GreaterOrEqual(t, i, 0, "somebody hears it")
			s := subscriptions(t)[i]
			seen := attempts(s.Scopes[0], "/events "+name, hang)
			require.NoError(t, publish(t.Context(), publisher(t, s.Scopes[0]), name, s.Spec.Topic, "1"))
			cutOff(t, seen, 1, d.Spec.Policies.Timeouts[target.Inbound.Timeout])
		})
	}
}

// So is what a clock sets off.
func TestClocksAreCutOff(t *testing.T) {
	t.Parallel()
	limit := short["components.yaml"].Spec.Policies.Timeouts["DefaultBindingComponentInboundTimeoutPolicy"]
	clocks := 0
	for _, c := range localComponents(t) {
		if c.Spec.Type != "bindings.cron" || maxConcurrency(t)[c.Scopes[0]] > 0 { // which its ticks would use up
			continue
		}
		clocks++
		t.Run(c.Metadata.Name, func(t *testing.T) {
			t.Parallel()
			seen := attempts(c.Scopes[0], "/bindings/"+c.Metadata.Name, hang)
			eventually(t, func() bool { return len(seen()) > 0 }, "a tick ends")
			cutOff(t, func() []attempt { return seen()[:1] }, 1, limit)
		})
	}
	require.NotZero(t, clocks)
}
