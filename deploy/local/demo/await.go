package demo

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// awaitTimeout is how long Await waits when its context has no deadline.
const awaitTimeout = 45 * time.Second

// Await calls ask every 100 ms until done accepts the result, and returns that result. It gives up at the deadline of
// ctx, or after 45 s if ctx has none; the error then contains the last result.
func Await[T any](ctx context.Context, ask func() (T, error), done func(T) bool) (T, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, awaitTimeout)
		defer cancel()
	}
	began := time.Now()
	for {
		got, err := ask()
		if err == nil && done(got) {
			return got, nil
		}
		select {
		case <-ctx.Done():
			waited := time.Since(began).Round(time.Second)
			return got, errors.Join(fmt.Errorf("gave up after %s; the last result was %+v", waited, got), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
