package admission

import (
	"context"
	"time"

	"golang.org/x/time/rate"
)

// Pacer spaces calls evenly. Its methods may be called concurrently.
type Pacer struct{ limiter *rate.Limiter }

// NewPacer returns a Pacer that allows one call per interval and no bursts. With an interval of 0, no call waits.
func NewPacer(interval time.Duration) *Pacer {
	return &Pacer{rate.NewLimiter(rate.Every(interval), 1)}
}

// Wait waits until the next call may be made. It returns an error if ctx ends first, or would end during the wait.
func (p *Pacer) Wait(ctx context.Context) error { return p.limiter.Wait(ctx) }
