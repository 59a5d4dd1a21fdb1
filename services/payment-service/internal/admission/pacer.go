package admission

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// maxTaken is the time for which a Pacer takes slots at once. Slots that a replica takes and does not use are lost, and
// each time that it takes some costs a transaction.
const maxTaken = 250 * time.Millisecond

// ErrTooLate reports that the context of a caller ends before its slot.
var ErrTooLate = errors.New("the next slot is after the deadline")

// Pacer spaces calls evenly, over all replicas that take their slots from the same place. Its methods may be called
// concurrently.
type Pacer struct {
	interval time.Duration
	// take reserves n consecutive slots, an interval apart, and returns the time until the first.
	take    func(ctx context.Context, n int, interval time.Duration) (time.Duration, error)
	waiting atomic.Int32
	lock    chan struct{} // guards what follows; a channel, so that a caller whose context ends need not wait for it
	next    time.Time     // the next slot
	left    int           // slots from next on
}

// NewPacer returns a Pacer that allows one call per interval and no bursts, in slots that take reserves. With an
// interval of 0, no call waits.
func NewPacer(
	interval time.Duration, take func(ctx context.Context, n int, interval time.Duration) (time.Duration, error),
) *Pacer {
	return &Pacer{interval: interval, take: take, lock: make(chan struct{}, 1)}
}

// Wait waits until the next call may be made. It returns an error if ctx ends first, or would end during the wait, or
// if no slot can be reserved.
func (p *Pacer) Wait(ctx context.Context) error {
	if p.interval == 0 {
		return nil
	}
	p.waiting.Add(1)
	defer p.waiting.Add(-1)
	slot, err := p.slot(ctx)
	if err != nil {
		return err
	}
	if deadline, has := ctx.Deadline(); has && slot.After(deadline) {
		return ErrTooLate
	}
	select {
	case <-time.After(time.Until(slot)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// slot returns the next slot. It takes as many slots as callers wait, if none is left or if time has passed the next.
func (p *Pacer) slot(ctx context.Context) (time.Time, error) {
	select {
	case p.lock <- struct{}{}:
		defer func() { <-p.lock }()
	case <-ctx.Done():
		return time.Time{}, ctx.Err()
	}
	if p.left == 0 || p.next.Before(time.Now()) {
		n := min(int(p.waiting.Load()), max(1, int(maxTaken/p.interval)))
		wait, err := p.take(ctx, n, p.interval)
		if err != nil {
			return time.Time{}, fmt.Errorf("take slots: %w", err)
		}
		p.next, p.left = time.Now().Add(wait), n
	}
	slot := p.next
	p.next, p.left = p.next.Add(p.interval), p.left-1
	return slot, nil
}
