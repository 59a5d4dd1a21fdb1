package audit

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/money"
)

// checkCharges compares the charges of the card processor with the orders.
func (r *Report) checkCharges(s *snapshot) {
	orders := map[uuid.UUID]order{}
	for _, o := range s.orders {
		orders[o.ID] = o
	}
	now := time.Now()
	received := map[uuid.UUID][]charge{}
	var charged, refunded int
	for _, c := range s.charges {
		if c.AmountReceived == 0 {
			id, _ := uuid.Parse(c.Metadata["order_id"])
			if o := orders[id]; o.Status == "FAILED" && o.Step == "DONE" && c.chargeable() {
				r.addFinding("charges", c, min(o.Age, now.Sub(c.Created)), graceSaga,
					"is %s and can still charge the card, and its order %s has failed", c.Status, o.Number)
			}
			continue
		}
		charged++
		if c.AmountRefunded > 0 {
			refunded++
		}
		id, err := uuid.Parse(c.Metadata["order_id"])
		if _, known := orders[id]; err != nil || !known {
			r.addFinding("charges", c, now.Sub(c.Created), gracePublish, "charged order %q, which does not exist",
				c.Metadata["order_id"])
			continue
		}
		received[id] = append(received[id], c)
	}
	r.addSection("Charges", "charged", "of them refunded, in part or in full", "orders charged").
		addRow(charged, refunded, len(received))
	if !s.chargesRead {
		return
	}
	for _, o := range s.orders {
		all := received[o.ID]
		if len(all) > 1 {
			r.addFinding("charges", o.ID, 0, 0, "order %s was charged %d times: %v", o.Number, len(all), all)
		}
		if len(all) == 0 {
			if o.paid() && o.Total > 0 {
				r.addFinding("charges", o.ID, 0, 0, "order %s is %s, and has no charge", o.Number, o.Status)
			}
			continue
		}
		r.checkCharge(o, all[0])
	}
}

// checkCharge compares an order with its first charge.
func (r *Report) checkCharge(o order, c charge) {
	if want := stripeMinor(o.Total, o.Currency); c.AmountReceived != want || !strings.EqualFold(c.Currency, o.Currency) {
		r.addFinding("charges", o.ID, 0, 0, "order %s costs %d %s, and charge %s is over %d %s",
			o.Number, want, o.Currency, c, c.AmountReceived, c.Currency)
	}
	switch {
	case o.paid() && o.TransactionID != c.ID:
		r.addFinding("charges", o.ID, 0, 0, "order %s names transaction %q, and its charge is %s",
			o.Number, o.TransactionID, c)
	case o.Status == "FAILED" && c.AmountRefunded+c.AmountDisputed < c.AmountReceived:
		r.addFinding("charges", o.ID, min(o.Age, time.Since(c.Created)), graceSaga,
			"order %s failed, and %d %s of charge %s are not refunded",
			o.Number, c.AmountReceived-c.AmountRefunded-c.AmountDisputed, o.Currency, c)
	}
	// A webhook of a dispute may be lost. Then it is found within some minutes, and a decision within a tenth of its age.
	if disputed := stripeMinor(o.Disputed, o.Currency); c.AmountDisputed != disputed {
		r.addFinding("disputes", o.ID, 0, graceUnlimited, "the bank took %d %s of charge %s, and order %s has %d disputed",
			c.AmountDisputed, o.Currency, c, o.Number, disputed)
	}
	if want := disputeStatuses[c.Dispute]; want != o.Dispute {
		r.addFinding("disputes", o.ID, 0, graceUnlimited, "the dispute of charge %s is %q, and that of order %s is %q",
			c, c.Dispute, o.Number, o.Dispute)
	}
	if refunded := stripeMinor(o.Refunded, o.Currency); c.AmountRefunded < refunded {
		r.addFinding("refunds", o.ID, 0, 0, "order %s has %d %s refunded, and the refunds of charge %s are %d",
			o.Number, refunded, o.Currency, c, c.AmountRefunded)
	} else if c.AmountRefunded > refunded {
		grace := graceSaga // the processor's answer may not be stored yet
		if c.AmountRefunded > stripeMinor(o.Refunding, o.Currency) {
			grace = 0
		}
		r.addFinding("refunds", o.ID, o.Age, grace, "the refunds of charge %s are %d %s, and order %s has %d refunded",
			c, c.AmountRefunded, o.Currency, o.Number, refunded)
	}
}

// disputeStatuses has an order's status for each status of a dispute at the card processor.
var disputeStatuses = map[string]string{"needs_response": "OPEN", "won": "WON", "lost": "LOST"}

// checkDisputes looks for tickets that admit although the payment was returned to the buyer, and for those that stay
// suspended although nothing is disputed. The tickets of an open dispute are suspended too.
func (r *Report) checkDisputes(s *snapshot) {
	orders := map[uuid.UUID]order{}
	count := map[string]int{}
	for _, o := range s.orders {
		orders[o.ID] = o
		if o.Dispute != "" {
			count[o.Dispute]++
		}
	}
	table := r.addSection("Disputed orders", "status", "count")
	for _, status := range slices.Sorted(maps.Keys(count)) {
		table.addRow(status, count[status])
	}
	for _, t := range s.tickets {
		o := orders[t.OrderID]
		disputed := o.Dispute == "OPEN" || o.Dispute == "LOST"
		switch {
		case t.Status == "ACTIVE" && disputed && t.Suspension == "":
			r.addFinding("disputes", t.ID, o.Age, graceDelivery, "admits, and the dispute of order %s is %s",
				o.Number, o.Dispute)
		case !disputed && t.Suspension != "":
			r.addFinding("disputes", t.ID, o.Age, graceDelivery, "is %s, and order %s is not disputed any more",
				t.Suspension, o.Number)
		}
		if t.CancelledBy == "DISPUTE" && !disputed {
			r.addFinding("disputes", t.ID, t.Age, graceDelivery,
				"was cancelled because of a dispute, and that of order %s is %q", o.Number, o.Dispute)
		}
	}
}

// stripeMinor converts an amount to Stripe's minor units. They differ from those of ISO 4217 for three currencies.
func stripeMinor(minor int64, currency string) int64 {
	switch money.Currency(currency) {
	case "ISK", "UGX":
		return minor * 100
	case "MGA":
		return minor / 100
	default:
		return minor
	}
}

// checkRefunds compares the refund totals of each order with its refunds.
func (r *Report) checkRefunds(s *snapshot) {
	table := r.addSection("Refunds", "status", "step", "count")
	count := map[[2]string]int{}
	requested, refunded := map[uuid.UUID]int64{}, map[uuid.UUID]int64{}
	for _, f := range s.refunds {
		count[[2]string{f.Status, f.Step}]++
		if f.Status != "FAILED" {
			requested[f.OrderID] += f.Amount
		}
		if f.Status == "SUCCEEDED" {
			refunded[f.OrderID] += f.Amount
		}
		if f.Step != "DONE" {
			r.addFinding("sagas", f.ID, f.Age, graceSaga, "the refund of order %s is %s and has been at step %s for %s",
				f.OrderID, f.Status, f.Step, rounded(f.Age))
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(count), compareKeys) {
		table.addRow(key[0], key[1], count[key])
	}
	r.checkFailedRefunds(s)
	for _, o := range s.orders {
		if o.Refunding != requested[o.ID] || o.Refunded != refunded[o.ID] {
			r.addFinding("refunds", o.ID, 0, 0,
				"order %s has %d to refund and %d refunded, and its refunds add up to %d and %d",
				o.Number, o.Refunding, o.Refunded, requested[o.ID], refunded[o.ID])
		}
		if o.Refunding > o.Total {
			r.addFinding("refunds", o.ID, 0, 0, "order %s cost %d, and %d are to be refunded",
				o.Number, o.Total, o.Refunding)
		}
	}
}

// checkFailedRefunds looks for failed refunds that operations were alerted about and that were neither repeated nor
// replaced by another refund: the buyer does not have the money.
func (r *Report) checkFailedRefunds(s *snapshot) {
	orders := map[uuid.UUID]order{}
	for _, o := range s.orders {
		orders[o.ID] = o
	}
	of := map[uuid.UUID][]refund{}
	for _, f := range s.refunds {
		of[f.OrderID] = append(of[f.OrderID], f)
	}
	var failed, open int
	for _, f := range s.refunds {
		if f.Status != "FAILED" || !f.Alerted {
			continue
		}
		failed++
		o := orders[f.OrderID]
		covered := o.Total > 0 && o.Refunding+o.Disputed >= o.Total
		replaced := covered || slices.ContainsFunc(of[f.OrderID], func(g refund) bool {
			return g.RetryOf == f.ID || g.Status != "FAILED" && slices.ContainsFunc(f.TicketIDs, g.covers)
		})
		if !replaced {
			open++
			r.addFinding("refunds", f.ID, 0, 0, "the refund of order %s failed, and was neither repeated nor replaced",
				o.Number)
		}
	}
	r.addSection("Failed refunds that need a person", "failed", "of them neither repeated nor replaced").
		addRow(failed, open)
}

// coveredByAnother reports whether a ticket that was cancelled for the failed refund f is refunded by another one of
// the order's refunds: by one that has the ticket, or by a repetition of f.
func coveredByAnother(f refund, ticket uuid.UUID, of []refund) bool {
	return slices.ContainsFunc(of, func(g refund) bool {
		switch {
		case g.ID == f.ID:
			return false
		case g.Status != "FAILED":
			return g.RetryOf == f.ID || g.covers(ticket)
		default:
			return g.RetryOf == f.ID && coveredByAnother(g, ticket, of)
		}
	})
}
