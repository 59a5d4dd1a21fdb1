package httpapi_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

// blocking returns a Fault that blocks a call until proceed is called, and a channel that is closed when the call
// arrives.
func blocking() (fault sagatest.Fault, arrived <-chan struct{}, proceed func()) {
	called, released := make(chan struct{}), make(chan struct{})
	return func(ctx context.Context, act func() (any, error)) (any, error) {
		close(called)
		select {
		case <-released:
			return act()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}, called, sync.OnceFunc(func() { close(released) })
}

func wait(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(deadline):
		require.Fail(t, "timed out")
	}
}

// A request that is repeated while the first one is in progress does not wait for it.
func TestRepeatedRequestDoesNotWaitForTheFirst(t *testing.T) {
	b := setup(t)
	for _, call := range []sagatest.Call{sagatest.Reserve, sagatest.Charge} {
		t.Run(string(call), func(t *testing.T) {
			fault, arrived, proceed := blocking()
			defer proceed()
			b.services.Next(call, fault)
			header := b.withKey(t, string(call))
			var first answer
			var err error
			var request sync.WaitGroup
			request.Go(func() { first, err = b.try(t.Context(), http.MethodPost, orders, b.request(nil), header) })
			wait(t, arrived)

			second := b.buy(t, string(call), nil)
			require.Equal(t, http.StatusAccepted, second.status, second.body)
			require.Equal(t, "PENDING", second.order(t)["paymentStatus"])
			proceed()
			request.Wait()
			require.NoError(t, err)
			require.Equal(t, http.StatusCreated, first.status, first.body)
			require.Equal(t, first.id(t), second.id(t))
			b.requireMoney(t, first.id(t), "100.00")
		})
	}
}

func TestOrderContinuesWhenTheBuyerDisconnects(t *testing.T) {
	b := setup(t)
	fault, arrived, proceed := blocking()
	defer proceed()
	b.services.Next(sagatest.Charge, fault)
	ctx, disconnect := context.WithCancel(t.Context())
	defer disconnect()
	header := b.withKey(t, "key")
	var err error
	var request sync.WaitGroup
	request.Go(func() { _, err = b.try(ctx, http.MethodPost, orders, b.request(nil), header) })
	wait(t, arrived)
	disconnect()
	request.Wait()
	require.ErrorIs(t, err, context.Canceled)
	proceed()
	require.Eventually(t, func() bool {
		a := b.buy(t, "key", nil)
		if a.status != http.StatusCreated {
			return false
		}
		b.requireMoney(t, a.id(t), "100.00")
		return true
	}, deadline, 10*time.Millisecond)
}

func TestConcurrentEqualRequestsBuyOnce(t *testing.T) {
	b := setup(t)
	header := b.withKey(t, "key")
	answers, errs := make([]answer, 16), make([]error, 16)
	var requests sync.WaitGroup
	for i := range answers {
		requests.Go(func() {
			answers[i], errs[i] = b.try(t.Context(), http.MethodPost, orders, b.request(nil), header.Clone())
		})
	}
	requests.Wait()
	id := answers[0].id(t)
	for i, a := range answers {
		require.NoError(t, errs[i])
		require.Contains(t, []int{http.StatusCreated, http.StatusAccepted}, a.status, a.body)
		require.Equal(t, id, a.id(t))
	}
	require.Equal(t, http.StatusCreated, b.buy(t, "key", nil).status)
	b.requireMoney(t, id, "100.00")
	require.Equal(t, capacity-2, b.services.Left(b.typeID))
}
