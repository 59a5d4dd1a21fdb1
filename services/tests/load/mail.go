package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// orderToMail measures how long it takes from an order to the mail with its tickets.
func (b *bench) orderToMail(ctx context.Context) (r results, err error) {
	const perSecond = 20
	times, during := b.times(3), time.Minute
	if b.quick {
		times, during = 1, 5*time.Second
	}
	orders := perSecond * int(during.Seconds()) // in one turn
	h, err := b.openShop(ctx, "shipped", setup{}, times*orders, times*orders)
	defer func() { err = h.stop(ctx, err) }()
	if err != nil {
		return r, err
	}
	r.Sides = []string{"as shipped"}
	r.note("An open load of %d orders per second for %s, each by a different buyer, with all limits as shipped. Both "+
		"latencies count from the due time of the order. A mail is delivered once the mail server has received all of it.",
		perSecond, during)
	next := h.buyersInOrder()
	err = turns(ctx, times, []int{0}, func(side, turn int) error {
		buyers := h.buyers[turn*orders : (turn+1)*orders]
		began := time.Now()
		o, err := attack(ctx, load{perSecond: perSecond, requests: orders}, h.purchases(next))
		if err != nil {
			return err
		}
		if err := o.expect(http.StatusCreated); err != nil {
			return err
		}
		if err := h.awaitMails(ctx); err != nil {
			return err
		}
		latency := hdrhistogram.New(1, maxLatency.Microseconds(), 3)
		for i, buyer := range buyers {
			arrived, ok := h.mails.firstArrival(buyer.Email)
			if !ok {
				return fmt.Errorf("no mail arrived for %s", buyer.Email)
			}
			due := began.Add(time.Duration(i+1) * time.Second / perSecond)
			if err := latency.RecordValue(arrived.Sub(due).Microseconds()); err != nil {
				return fmt.Errorf("record a mail's latency of %s: %w", arrived.Sub(due), err)
			}
		}
		mails := outcome{latency: latency}
		mails.latencies(&r, "mail delivered", side)
		r.row("mail delivered", "maximum", "ms").add(side, mails.percentile(100))
		o.latencies(&r, "order answered", side)
		progress("  turn %d of %d: %d mails, p50 %s ms, p99 %s ms", turn+1, times, len(buyers),
			number(mails.percentile(50)), number(mails.percentile(99)))
		return nil
	})
	return r, err
}
