package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/payment-service/internal/admission"
)

// A rejected order is not stored, so the client can repeat the request under the same key.
func TestRejectedOrderIsNotStored(t *testing.T) {
	b := setup(t)

	b.deps.Queue = admission.NewOrderQueue(admission.Limits{Concurrency: 0, QueueSize: 1, MaxWait: time.Millisecond})
	busy := httptest.NewServer(b.router())
	t.Cleanup(busy.Close)
	url := b.url
	b.url = busy.URL
	a := b.buy(t, "key", nil)
	a.requireFailure(t, http.StatusTooManyRequests, "TOO_MANY_REQUESTS", "")
	require.Equal(t, "5", a.header.Get("Retry-After"))
	var n int
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(*) FROM orders`).Scan(&n))
	require.Zero(t, n)

	b.url = url
	require.Equal(t, http.StatusCreated, b.buy(t, "key", nil).status)
}
