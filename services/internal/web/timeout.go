package web

import (
	"context"
	"net/http"
	"time"
)

// RequestTimeout bounds every request: the context of a handler ends after it. It has to cover the longest requests: an
// order that waits in the queue (15 s) and is then driven (50 s), a sweep of sagas (60 s), and an event handler (55 s,
// the longest timeout in resiliency/components.yaml).
//
// The shutdown of a service waits this long for requests in progress; see app.ShutdownTimeout.
const RequestTimeout = 65 * time.Second

// bounded ends the context of a request after RequestTimeout.
func bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), RequestTimeout)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// Detach returns a context for work that has to be completed even if the client of a request disconnects. It has the
// values of ctx, the request's context, and is not cancelled with it. It ends after timeout, or at the deadline of ctx
// if that is earlier.
func Detach(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	end := time.Now().Add(timeout)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(end) {
		end = deadline
	}
	return context.WithDeadline(context.WithoutCancel(ctx), end)
}
