package outbox_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/dial/dialtest"
	"github.com/eventbooking/eventbooking/services/internal/messaging/outbox"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// recovery bounds the time until a service works again after its connections began to swallow packets.
const recovery = 40 * time.Second

func TestRelayRecoversFromConnectionsThatSwallowPackets(t *testing.T) {
	t.Parallel()
	direct, b := setup(t), &broker{}
	u, err := url.Parse(direct.Config().ConnString())
	require.NoError(t, err)
	proxy, err := dialtest.NewProxy(t.Context(), u.Host)
	require.NoError(t, err)
	t.Cleanup(proxy.Close)
	u.Host = proxy.Address()
	pool, err := postgres.Open(t.Context(), u.String())
	require.NoError(t, err)
	t.Cleanup(pool.Close)

	router := web.NewRouter()
	web.Health(router, web.Check{Name: "database", Probe: pool.Ping})
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	ready := func(want int) func() bool {
		return func() bool {
			res, err := http.Get(server.URL + "/actuator/health/ready")
			if err != nil {
				return false
			}
			_ = res.Body.Close()
			return res.StatusCode == want
		}
	}

	relay(t, outbox.Relay{
		Pool: pool, Publisher: b, Poll: tick, Ordered: map[string]string{"another-topic": "pubsub"},
	})
	add(t.Context(), t, direct, 1)
	waitPublished(t, direct)
	require.True(t, ready(http.StatusOK)())

	proxy.Swallow()
	require.Eventually(t, ready(http.StatusServiceUnavailable), deadline, 100*time.Millisecond)
	add(t.Context(), t, direct, 2)
	proxy.Forward() // new connections only
	require.Eventually(t, func() bool { return unpublished(t, direct) == 0 }, recovery, 100*time.Millisecond)
	require.Eventually(t, ready(http.StatusOK), recovery, 100*time.Millisecond)
	require.Equal(t, []int{1, 2}, b.seats())
}
