package httpapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/httpapi"
)

// So many are inside, so many wait, and each in turn is let in when somebody leaves.
func TestBulkhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := httpapi.NewBulkhead(2, 3, time.Minute)
		type entry struct {
			who   int
			leave func()
			err   error
		}
		entries := make(chan entry, 10)
		come := func(ctx context.Context, who int) {
			go func() {
				leave, err := b.Enter(ctx)
				entries <- entry{who, leave, err}
			}()
			synctest.Wait()
		}
		next := func() entry {
			synctest.Wait()
			select {
			case e := <-entries:
				return e
			default:
				return entry{who: -1}
			}
		}
		requireBusy := func(e entry) {
			require.ErrorIs(t, e.err, &problem.Error{Code: "TOO_MANY_REQUESTS"})
			require.Nil(t, e.leave)
		}

		for who := range 5 {
			come(t.Context(), who)
		}
		first, second := next(), next()
		require.Equal(t, []int{0, 1}, []int{first.who, second.who})
		require.Equal(t, -1, next().who, "the others wait")
		come(t.Context(), 5)
		requireBusy(next())

		second.leave()
		third := next()
		require.Equal(t, 2, third.who)
		require.NoError(t, third.err)
		gone, goes := context.WithCancel(t.Context())
		come(gone, 6)
		goes()
		require.ErrorIs(t, next().err, context.Canceled)

		time.Sleep(time.Minute) // those who wait have waited long enough
		synctest.Wait()
		requireBusy(next())
		requireBusy(next())
		first.leave()
		third.leave()
		for who := range 2 { // all places are free again
			come(t.Context(), who)
			require.NoError(t, next().err)
		}
	})
}

// Nothing has been done for whoever is not let in.
func TestTooManyOrders(t *testing.T) {
	b := setup(t)

	b.api.Bulkhead = httpapi.NewBulkhead(0, 1, time.Millisecond)
	crowded := httptest.NewServer(b.api.Router())
	t.Cleanup(crowded.Close)
	url := b.url
	b.url = crowded.URL
	a := b.buy(t, "key", nil)
	a.requireFailure(t, http.StatusTooManyRequests, "TOO_MANY_REQUESTS", "")
	require.Equal(t, "5", a.header.Get("Retry-After"))
	var n int
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(*) FROM orders`).Scan(&n))
	require.Zero(t, n)

	b.url = url
	require.Equal(t, http.StatusCreated, b.buy(t, "key", nil).status)
}
