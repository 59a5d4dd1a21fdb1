package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// mail measures how long it takes from an order to the mail with the tickets.
func (b *bench) mail(ctx context.Context) (r results, err error) {
	const perSecond = 20
	times, during := b.times(3), time.Minute
	if b.quick {
		times, during = 1, 5*time.Second
	}
	each := perSecond * int(during.Seconds())
	h, err := b.openShop(ctx, "shipped", setup{}, times*each, times*each)
	defer func() { err = h.stop(ctx, err) }()
	if err != nil {
		return r, err
	}
	r.Sides = []string{"as shipped"}
	r.note("An open load of %d orders a second for %s, each by somebody else, with all limits as shipped. Both latencies count from "+
		"when the order was due. A mail is handed over once the mail server has all of it.", perSecond, during)
	next := h.eachOnce()
	err = turns(ctx, times, []int{0}, func(side, turn int) error {
		buyers := h.buyers[turn*each : (turn+1)*each]
		began := time.Now()
		s, err := fire(ctx, load{perSecond: perSecond, requests: each}, h.purchases(next))
		if err != nil {
			return err
		}
		if err := s.only(http.StatusCreated); err != nil {
			return err
		}
		if err := h.settle(ctx); err != nil {
			return err
		}
		mailed := hdrhistogram.New(1, maxLatency.Microseconds(), 3)
		for i, buyer := range buyers {
			arrived, ok := h.mails.when(buyer.Email)
			if !ok {
				return fmt.Errorf("no mail came to %s", buyer.Email)
			}
			due := began.Add(time.Duration(i+1) * time.Second / perSecond)
			if err := mailed.RecordValue(arrived.Sub(due).Microseconds()); err != nil {
				return fmt.Errorf("a mail took %s: %w", arrived.Sub(due), err)
			}
		}
		mails := shots{latency: mailed}
		mails.latencies(&r, "the mail is handed over", side)
		r.row("the mail is handed over", "the longest", "ms").add(side, mails.percentile(100))
		s.latencies(&r, "the order is answered", side)
		say("  turn %d of %d: %d mails, p50 %s ms, p99 %s ms", turn+1, times, len(buyers), number(mails.percentile(50)), number(mails.percentile(99)))
		return nil
	})
	return r, err
}
