package audit

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

func (r *Report) checkCapacity(s *snapshot) {
	table := r.addSection("Tickets by type", "type", "name", "capacity", "sold", "held", "left")
	for _, t := range s.ticketTypes {
		table.addRow(t.ID, t.Name, t.Capacity, t.Sold, t.Held, t.Capacity-t.Sold-t.Held)
		if t.Tickets+t.Holds > t.Capacity {
			r.addFinding("capacity", t.ID, 0, 0, "oversold: %d tickets and %d reserved exceed the capacity of %d",
				t.Tickets, t.Holds, t.Capacity)
		}
		if t.Sold != t.Tickets {
			r.addFinding("capacity", t.ID, 0, 0, "the counter of sold tickets is %d, and %d tickets exist", t.Sold, t.Tickets)
		}
		if t.Held != t.Holds {
			r.addFinding("capacity", t.ID, 0, 0, "the counter of held tickets is %d, and active reservations hold %d",
				t.Held, t.Holds)
		}
	}
}

func (r *Report) checkReservations(s *snapshot) {
	table := r.addSection("Reservations", "status", "count")
	for _, e := range s.reservationCounts {
		table.addRow(e.Status, e.Count)
	}
	overdue := 0
	for _, h := range s.active {
		if h.Overdue > 0 {
			overdue++
			r.addFinding("reservations", h.ID, h.Overdue, graceExpiry, "is still active %s after it expired",
				rounded(h.Overdue))
		} else {
			r.addFinding("reservations", h.ID, 0, graceUnlimited, "is active for another %s", rounded(-h.Overdue))
		}
	}
	table.addRow("ACTIVE, but expired", overdue)
}

func (r *Report) checkOrders(s *snapshot) {
	table := r.addSection("Orders", "status", "step", "count")
	count := map[[2]string]int{}
	for _, o := range s.orders {
		count[[2]string{o.Status, o.Step}]++
		switch {
		case o.AwaitsBuyer:
			r.checkAuthentication(o)
		case o.Step != "DONE":
			grace := graceSaga
			if o.Step == "FULFIL" {
				grace = graceFulfilment
			}
			r.addFinding("sagas", o.ID, o.Age, grace, "order %s is %s and has been at step %s for %s",
				o.Number, o.Status, o.Step, rounded(o.Age))
		case o.Status == "PENDING":
			r.addFinding("sagas", o.ID, 0, 0, "order %s is at step DONE and still PENDING", o.Number)
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(count), compareKeys) {
		table.addRow(key[0], key[1], count[key])
	}
}

// checkAuthentication checks an order whose buyer has to authenticate at the bank. Only an order at CHARGE has such a
// buyer, and only for a time.
func (r *Report) checkAuthentication(o order) {
	if o.Step != "CHARGE" {
		r.addFinding("sagas", o.ID, 0, 0, "order %s is %s at step %s, and its buyer is still asked to authenticate",
			o.Number, o.Status, o.Step)
		return
	}
	r.addFinding("sagas", o.ID, o.ChargeAge, graceBuyer, "order %s has waited for its buyer to authenticate for %s",
		o.Number, rounded(o.ChargeAge))
}

func compareKeys(a, b [2]string) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) }

func (r *Report) checkCancellations(s *snapshot) {
	for _, c := range s.batches {
		r.addFinding("cancelled events", c.ID, c.Age, graceSaga, "%s, for %s", c.Detail, rounded(c.Age))
	}
	r.addSection("Cancelled events", "with unfinished work").addRow(len(s.batches))
}

// checkTickets compares the tickets with the orders that paid for them.
func (r *Report) checkTickets(s *snapshot) {
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
	var paid, fulfilled, refundedInstead int
	for _, o := range s.orders {
		if !o.paid() {
			continue
		}
		paid++
		received := map[uuid.UUID]int{}
		for _, t := range issued[o.ID] {
			received[t.TypeID]++
		}
		refunded := o.Refunded == o.Total &&
			slices.ContainsFunc(refunds[o.ID], func(f refund) bool { return f.Status == "SUCCEEDED" })
		refunded = refunded || o.Disputed > 0 && o.Refunded+o.Disputed >= o.Total // the bank has the rest
		switch {
		case maps.Equal(received, ordered[o.ID]):
			fulfilled++
		case len(received) == 0 && refunded:
			refundedInstead++
		case len(received) == 0:
			r.addFinding("tickets", o.ID, o.Age, graceFulfilment, "order %s is paid and has neither tickets nor a refund",
				o.Number)
		default:
			r.addFinding("tickets", o.ID, 0, 0, "order %s is for %s and has %s",
				o.Number, formatQuantities(ordered[o.ID]), formatQuantities(received))
		}
		r.checkRefundedTickets(o, issued[o.ID], refunds[o.ID])
	}
	r.addSection("Paid orders", "paid", "with their tickets", "refunded instead").addRow(paid, fulfilled, refundedInstead)

	byOrder := map[uuid.UUID]order{}
	for _, o := range s.orders {
		byOrder[o.ID] = o
	}
	for _, t := range s.tickets {
		o, known := byOrder[t.OrderID]
		switch {
		case !known:
			r.addFinding("tickets", t.ID, 0, 0, "belongs to order %s, which does not exist", t.OrderID)
		case !o.paid():
			r.addFinding("tickets", t.ID, 0, 0, "belongs to order %s, which is %s", o.Number, o.Status)
		}
		if refusal := s.refusals[t.OrderID]; refusal != "" {
			r.addFinding("tickets", t.ID, 0, 0, "belongs to order %s, whose fulfilment was refused: %s", t.OrderID, refusal)
		}
		switch t.CancelledBy {
		case "REFUND":
			if f, known := byKey[t.RefundKey]; !known {
				r.addFinding("tickets", t.ID, 0, 0, "was cancelled for %q, which is not a refund", t.RefundKey)
			} else if f.Status == "FAILED" && f.FailureCode != "CHARGE_DISPUTED" && // repeated if the dispute is won
				!coveredByAnother(f, t.ID, refunds[f.OrderID]) {
				r.addFinding("tickets", t.ID, 0, 0, "was cancelled for refund %s, which failed", f.ID)
			}
		case "EVENT":
			if known && o.Refunded+o.Disputed < o.Total {
				r.addFinding("tickets", t.ID, min(o.Age, t.Age), graceSaga,
					"was cancelled with its event, and order %s has %d of %d refunded", o.Number, o.Refunded, o.Total)
			}
		}
	}
}

// checkRefundedTickets looks for tickets that are still valid although they are refunded.
func (r *Report) checkRefundedTickets(o order, tickets []ticket, refunds []refund) {
	for _, f := range refunds {
		if f.Status != "SUCCEEDED" {
			continue
		}
		for _, t := range tickets {
			if !t.cancelled() && f.covers(t.ID) && (!f.KeepUsed || t.Status != "USED") {
				r.addFinding("tickets", t.ID, min(o.Age, t.Age), gracePublish, "is %s, and refund %s has refunded it",
					t.Status, f.ID)
			}
		}
	}
}

// formatQuantities formats the number of tickets of each type.
func formatQuantities(of map[uuid.UUID]int) string {
	var parts []string
	for id, n := range of {
		parts = append(parts, fmt.Sprintf("%d of %s", n, id))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

func rounded(d time.Duration) time.Duration { return d.Round(time.Second) }
