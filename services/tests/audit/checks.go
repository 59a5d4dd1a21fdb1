package audit

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/money"
)

func (r *Report) capacity(s *seen) {
	table := r.section("Tickets by type", "type", "name", "capacity", "sold", "held", "left")
	for _, t := range s.types {
		table.row(t.ID, t.Name, t.Capacity, t.Sold, t.Held, t.Capacity-t.Sold-t.Held)
		if t.Tickets+t.Holds > t.Capacity {
			r.find("capacity", t.ID, 0, 0, "%d tickets and %d holds of %d places: oversold", t.Tickets, t.Holds, t.Capacity)
		}
		if t.Sold != t.Tickets {
			r.find("capacity", t.ID, 0, 0, "says that %d are sold, and there are %d tickets", t.Sold, t.Tickets)
		}
		if t.Held != t.Holds {
			r.find("capacity", t.ID, 0, 0, "says that %d are held, and reservations hold %d", t.Held, t.Holds)
		}
	}
}

func (r *Report) holds(s *seen) {
	table := r.section("Holds", "state", "count")
	for _, e := range s.ended {
		table.row(e.Status, e.Count)
	}
	overdue := 0
	for _, h := range s.held {
		if h.Overdue > 0 {
			overdue++
			r.find("holds", h.ID, h.Overdue, sweeping, "has been over for %s", short(h.Overdue))
		} else {
			r.find("holds", h.ID, 0, always, "holds tickets for another %s", short(-h.Overdue))
		}
	}
	table.row("of them overdue", overdue)
}

func (r *Report) orders(s *seen) {
	table := r.section("Orders", "status", "step", "count")
	count := map[[2]string]int{}
	for _, o := range s.orders {
		count[[2]string{o.Status, o.Step}]++
		if o.Step != "DONE" {
			patience := saga
			if o.Step == "FULFIL" {
				patience = fulfilment
			}
			r.find("sagas", o.ID, o.Age, patience, "%s is %s and stands at %s for %s", o.Number, o.Status, o.Step, short(o.Age))
		} else if o.Status == "PENDING" {
			r.find("sagas", o.ID, 0, 0, "%s is done and yet PENDING", o.Number)
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(count), compareKeys) {
		table.row(key[0], key[1], count[key])
	}
}

func compareKeys(a, b [2]string) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) }

func (r *Report) cancellations(s *seen) {
	for _, c := range s.stalled {
		r.find("cancelled events", c.ID, c.Age, saga, "%s, since %s", c.What, short(c.Age))
	}
	r.section("Cancelled events", "with work left").row(len(s.stalled))
}

// charges holds what the card processor took against what was ordered.
func (r *Report) charges(s *seen) {
	orders := map[uuid.UUID]order{}
	for _, o := range s.orders {
		orders[o.ID] = o
	}
	now := time.Now()
	received := map[uuid.UUID][]charge{}
	var taken, returned int
	for _, c := range s.charges {
		if c.AmountReceived == 0 {
			continue
		}
		taken++
		if c.AmountRefunded > 0 {
			returned++
		}
		id, err := uuid.Parse(c.Metadata["order_id"])
		if _, known := orders[id]; err != nil || !known {
			r.find("charges", c, now.Sub(c.Created), publishing, "took money for order %q, which does not exist", c.Metadata["order_id"])
			continue
		}
		received[id] = append(received[id], c)
	}
	r.section("Charges", "that took money", "of them refunded, in part or whole", "orders paid").
		row(taken, returned, len(received))
	if !s.stripe {
		return
	}
	for _, o := range s.orders {
		all := received[o.ID]
		if len(all) > 1 {
			r.find("charges", o.ID, 0, 0, "%s was charged %d times: %v", o.Number, len(all), all)
		}
		if len(all) == 0 {
			if o.paid() && o.Total > 0 {
				r.find("charges", o.ID, 0, 0, "%s is %s, and nothing was charged", o.Number, o.Status)
			}
			continue
		}
		r.charge(o, all[0])
	}
}

// charge compares an order with its one charge.
func (r *Report) charge(o order, c charge) {
	if want := stripeMinor(o.Total, o.Currency); c.AmountReceived != want || !strings.EqualFold(c.Currency, o.Currency) {
		r.find("charges", o.ID, 0, 0, "%s costs %d %s, and %s took %d %s", o.Number, want, o.Currency, c, c.AmountReceived, c.Currency)
	}
	switch {
	case o.paid() && o.TransactionID != c.ID:
		r.find("charges", o.ID, 0, 0, "%s was paid by %q, and the charge is %s", o.Number, o.TransactionID, c)
	case o.Status == "FAILED" && c.AmountRefunded < c.AmountReceived:
		r.find("charges", o.ID, min(o.Age, time.Since(c.Created)), saga, "%s failed, and %s keeps %d %s of it", o.Number, c, c.AmountReceived-c.AmountRefunded, o.Currency)
	}
	if refunded := stripeMinor(o.Refunded, o.Currency); c.AmountRefunded < refunded {
		r.find("refunds", o.ID, 0, 0, "%s says that %d %s went back, and %s gave %d", o.Number, refunded, o.Currency, c, c.AmountRefunded)
	} else if c.AmountRefunded > refunded {
		patience := saga // the answer may be on its way
		if c.AmountRefunded > stripeMinor(o.Refunding, o.Currency) {
			patience = 0
		}
		r.find("refunds", o.ID, o.Age, patience, "%s gave back %d %s, and %s knows of %d", c, c.AmountRefunded, o.Currency, o.Number, refunded)
	}
}

// stripeMinor is an amount in the minor units of Stripe, where three currencies are not those of ISO 4217.
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

// refunds holds what orders say of their refunds against these.
func (r *Report) refunds(s *seen) {
	table := r.section("Refunds", "status", "step", "count")
	count := map[[2]string]int{}
	promised, returned := map[uuid.UUID]int64{}, map[uuid.UUID]int64{}
	for _, f := range s.refunds {
		count[[2]string{f.Status, f.Step}]++
		if f.Status != "FAILED" {
			promised[f.OrderID] += f.Amount
		}
		if f.Status == "SUCCEEDED" {
			returned[f.OrderID] += f.Amount
		}
		if f.Step != "DONE" {
			r.find("sagas", f.ID, f.Age, saga, "the refund of order %s is %s and stands at %s for %s", f.OrderID, f.Status, f.Step, short(f.Age))
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(count), compareKeys) {
		table.row(key[0], key[1], count[key])
	}
	for _, o := range s.orders {
		if o.Refunding != promised[o.ID] || o.Refunded != returned[o.ID] {
			r.find("refunds", o.ID, 0, 0, "%s says that %d are promised and %d went back, and its refunds add up to %d and %d",
				o.Number, o.Refunding, o.Refunded, promised[o.ID], returned[o.ID])
		}
		if o.Refunding > o.Total {
			r.find("refunds", o.ID, 0, 0, "%s cost %d, and %d are promised back", o.Number, o.Total, o.Refunding)
		}
	}
}

// tickets holds the tickets that exist against the orders that paid for them.
func (r *Report) tickets(s *seen) {
	issued := map[uuid.UUID][]ticket{}
	for _, t := range s.tickets {
		issued[t.OrderID] = append(issued[t.OrderID], t)
	}
	refunds := map[uuid.UUID][]refund{}
	byKey := map[string]refund{}
	for _, f := range s.refunds {
		refunds[f.OrderID] = append(refunds[f.OrderID], f)
		byKey[f.key()] = f
	}
	ordered := map[uuid.UUID]map[uuid.UUID]int{}
	for _, i := range s.items {
		if ordered[i.OrderID] == nil {
			ordered[i.OrderID] = map[uuid.UUID]int{}
		}
		ordered[i.OrderID][i.TypeID] = i.Quantity
	}
	var paid, fulfilled, covered int
	for _, o := range s.orders {
		if !o.paid() {
			continue
		}
		paid++
		got := map[uuid.UUID]int{}
		for _, t := range issued[o.ID] {
			got[t.TypeID]++
		}
		returned := o.Refunded == o.Total && slices.ContainsFunc(refunds[o.ID], func(f refund) bool { return f.Status == "SUCCEEDED" })
		switch {
		case maps.Equal(got, ordered[o.ID]):
			fulfilled++
		case len(got) == 0 && returned:
			covered++
		case len(got) == 0:
			r.find("tickets", o.ID, o.Age, fulfilment, "%s is paid and has neither tickets nor its money back", o.Number)
		default:
			r.find("tickets", o.ID, 0, 0, "%s was for %s and got %s", o.Number, quantities(ordered[o.ID]), quantities(got))
		}
		r.givenBack(o, issued[o.ID], refunds[o.ID])
	}
	r.section("Paid orders", "paid", "with their tickets", "refunded instead").row(paid, fulfilled, covered)

	byOrder := map[uuid.UUID]order{}
	for _, o := range s.orders {
		byOrder[o.ID] = o
	}
	for _, t := range s.tickets {
		o, known := byOrder[t.OrderID]
		switch {
		case !known:
			r.find("tickets", t.ID, 0, 0, "belongs to order %s, which does not exist", t.OrderID)
		case !o.paid():
			r.find("tickets", t.ID, 0, 0, "belongs to %s, which is %s", o.Number, o.Status)
		}
		if refusal := s.refusals[t.OrderID]; refusal != "" {
			r.find("tickets", t.ID, 0, 0, "belongs to order %s, which was refused its tickets: %s", t.OrderID, refusal)
		}
		switch t.CancelledBy {
		case "REFUND":
			if f, known := byKey[t.RefundKey]; !known {
				r.find("tickets", t.ID, 0, 0, "was cancelled for %q, which is no refund", t.RefundKey)
			} else if f.Status == "FAILED" {
				r.find("tickets", t.ID, 0, 0, "was cancelled for refund %s, which failed", f.ID)
			}
		case "EVENT":
			if known && o.Refunded < o.Total {
				r.find("tickets", t.ID, min(o.Age, t.Age), saga, "went with its event, and %s got %d of %d back", o.Number, o.Refunded, o.Total)
			}
		}
	}
}

// givenBack looks for tickets that still let somebody in although their money went back.
func (r *Report) givenBack(o order, tickets []ticket, refunds []refund) {
	for _, f := range refunds {
		if f.Status != "SUCCEEDED" {
			continue
		}
		for _, t := range tickets {
			if !t.void() && (f.Whole || slices.Contains(f.TicketIDs, t.ID)) {
				r.find("tickets", t.ID, min(o.Age, t.Age), publishing, "is %s, and refund %s gave its price back", t.Status, f.ID)
			}
		}
	}
}

// quantities writes how many tickets there are of each type.
func quantities(of map[uuid.UUID]int) string {
	var parts []string
	for id, n := range of {
		parts = append(parts, fmt.Sprintf("%d of %s", n, id))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

func short(d time.Duration) time.Duration { return d.Round(time.Second) }
