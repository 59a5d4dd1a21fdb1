package postgres

import (
	"context"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
)

const (
	// statementTimeout bounds every statement and every batch of statements, except migrations. It is longer than
	// idleInTx, so that a statement outlasts an idle transaction whose locks it waits for.
	statementTimeout = 15 * time.Second
	// pingTimeout bounds the ping of a connection that was idle for a second, before it is used again. It is shorter than
	// the timeout of a health check, so that one dead connection does not make the service unready.
	pingTimeout = time.Second
)

// deadlines is a tracer that gives each statement a deadline. A context without one, as background workers have, would
// wait for the response of a server that is gone for as long as the kernel keeps the connection: 15 minutes, or for
// ever if a proxy acknowledges the packets. pgx closes a connection whose deadline has passed.
//
// A tracer can do this because pgx executes a statement with the context that TraceQueryStart returns.
type deadlines struct{ *otelpgx.Tracer }

type (
	cancelKey    struct{} // its value ends a context of bounded
	unlimitedKey struct{} // set in a context whose statements have no deadline
)

// unlimited returns a context whose statements get no deadline.
func unlimited(ctx context.Context) context.Context {
	return context.WithValue(ctx, unlimitedKey{}, true)
}

// bounded returns a context that ends after statementTimeout. The caller passes it to release.
func bounded(ctx context.Context) context.Context {
	if ctx.Value(unlimitedKey{}) != nil {
		return ctx
	}
	end := time.Now().Add(statementTimeout)
	if earlier, ok := ctx.Deadline(); ok && earlier.Before(end) {
		if ctx.Value(cancelKey{}) != nil { // of an enclosing statement, which ends its context itself
			return context.WithValue(ctx, cancelKey{}, nil)
		}
		return ctx
	}
	ctx, cancel := context.WithDeadline(ctx, end)
	return context.WithValue(ctx, cancelKey{}, cancel)
}

// release ends a context of bounded.
func release(ctx context.Context) {
	if cancel, ok := ctx.Value(cancelKey{}).(context.CancelFunc); ok {
		cancel()
	}
}

// TraceQueryStart implements pgx.QueryTracer.
func (t deadlines) TraceQueryStart(
	ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryStartData,
) context.Context {
	return t.Tracer.TraceQueryStart(bounded(ctx), conn, data)
}

// TraceQueryEnd implements pgx.QueryTracer.
func (t deadlines) TraceQueryEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryEndData) {
	t.Tracer.TraceQueryEnd(ctx, conn, data)
	release(ctx)
}

// TraceBatchStart implements pgx.BatchTracer.
func (t deadlines) TraceBatchStart(
	ctx context.Context, conn *pgx.Conn, data pgx.TraceBatchStartData,
) context.Context {
	return t.Tracer.TraceBatchStart(bounded(ctx), conn, data)
}

// TraceBatchEnd implements pgx.BatchTracer.
func (t deadlines) TraceBatchEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceBatchEndData) {
	t.Tracer.TraceBatchEnd(ctx, conn, data)
	release(ctx)
}
