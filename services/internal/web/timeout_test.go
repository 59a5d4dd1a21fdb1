package web_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/web"
)

func TestRequestsHaveADeadline(t *testing.T) {
	t.Parallel()
	var deadline time.Time
	var bounded bool
	server := serve(t, func(r *mux.Router) {
		r.Handle("/", web.Handler(func(_ http.ResponseWriter, r *http.Request) error {
			deadline, bounded = r.Context().Deadline()
			return nil
		}))
	})
	began := time.Now()
	res, err := http.DefaultClient.Do(newRequest(t, http.MethodGet, server.URL, ""))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.True(t, bounded)
	require.False(t, deadline.Before(began.Add(web.RequestTimeout)))
	require.False(t, deadline.After(time.Now().Add(web.RequestTimeout)))
}

func TestDetachOutlivesTheClientButNotTheDeadline(t *testing.T) {
	t.Parallel()
	type key struct{}
	end := time.Now().Add(time.Hour)
	client, disconnect := context.WithDeadline(context.WithValue(t.Context(), key{}, "value"), end)

	long, cancel := web.Detach(client, 2*time.Hour)
	defer cancel()
	short, cancel := web.Detach(client, time.Minute)
	defer cancel()
	disconnect()

	for _, ctx := range []context.Context{long, short} {
		require.NoError(t, ctx.Err())
		require.Equal(t, "value", ctx.Value(key{}))
	}
	deadline, _ := long.Deadline()
	require.Equal(t, end, deadline)
	deadline, _ = short.Deadline()
	require.WithinDuration(t, time.Now().Add(time.Minute), deadline, 10*time.Second)
}
