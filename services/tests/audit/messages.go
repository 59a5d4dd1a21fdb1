package audit

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
)

func (r *Report) outboxes(s *seen) {
	table := r.section("Outboxes", "service", "events", "not published", "the oldest since")
	for _, service := range Services {
		var waiting int
		var oldest time.Duration
		for _, m := range s.messages[service].outbox {
			if m.Published {
				continue
			}
			waiting++
			oldest = max(oldest, m.Age)
			r.find("outbox", m.ID, m.Age, publishing, "%s of %s is not published after %s", m.Type, service, short(m.Age))
		}
		table.row(service, len(s.messages[service].outbox), waiting, short(oldest))
	}
}

// fact is what one person is told, once, however often it is announced.
type fact struct {
	kind string
	user uuid.UUID // nobody for operations
	of   uuid.UUID // the order, of what happens to it once, and otherwise the event
}

// The kinds of notifications that are of an order, whichever event brings them.
var onceForAnOrder = map[string]bool{"ORDER_CONFIRMATION": true, "PAYMENT_FAILED": true, "EVENT_CANCELLED": true}

func newFact(kind string, user, order, event uuid.UUID) fact {
	if onceForAnOrder[kind] {
		return fact{kind, user, order}
	}
	return fact{kind, user, event}
}

// facts says who is told what of an event. Who hears of a postponement, only ticket-service can tell.
func (m message) facts() []fact {
	of := func(kind string, user uuid.UUID) fact { return newFact(kind, user, m.OrderID, m.ID) }
	switch m.Type {
	case "TICKETS_GENERATED":
		return []fact{of("ORDER_CONFIRMATION", m.UserID)}
	case "PAYMENT_FAILED", "REFUND_PROCESSED":
		return []fact{of(m.Type, m.UserID)}
	case "TICKET_TRANSFERRED":
		return []fact{of("TICKET_TRANSFERRED", m.FromUserID), of("TICKET_RECEIVED", m.ToUserID)}
	case "TICKET_CANCELLED":
		switch m.CancelledBy {
		case "OWNER":
			return []fact{of("TICKET_CANCELLED", m.UserID)}
		case "EVENT":
			return []fact{of("EVENT_CANCELLED", m.UserID)}
		}
	case "EMAIL_VERIFICATION_REQUESTED":
		return []fact{of("EMAIL_VERIFICATION", m.UserID)}
	case "PASSWORD_RESET_REQUESTED":
		return []fact{of("PASSWORD_RESET", m.UserID)}
	case "DEAD_LETTER_ARCHIVED", "COMPENSATION_FAILED":
		return []fact{of(m.Type, uuid.Nil)}
	}
	return nil
}

// effects holds every event that was published against those who subscribed to it.
func (r *Report) effects(s *seen) {
	told := map[fact]bool{}
	for _, n := range s.told {
		told[n.fact()] = true
	}
	recorded := map[string]map[string]string{} // by service and event: what became of what has no effect
	discarded := map[string]bool{}             // by service and event: an admin wants it to have none
	for service, m := range s.messages {
		recorded[service] = map[string]string{}
		for _, u := range m.unknown {
			recorded[service][u.ID] = "was recorded as unknown"
		}
		for _, l := range m.letters {
			switch l.State {
			case "OPEN":
				recorded[service][l.EventID] = "is a dead letter"
			case "DISCARDED":
				discarded[service+l.EventID] = true
			}
		}
	}
	type kind struct{ topic, eventType, consumer string }
	type tally struct{ published, had int }
	count := map[kind]tally{}
	for _, service := range Services {
		for _, m := range s.messages[service].outbox {
			if !m.Published {
				continue
			}
			for _, sub := range s.subscriptions {
				if sub.Topic != m.Topic || sub.Type != m.Type {
					continue
				}
				had := s.messages[sub.Consumer].inbox[m.ID]
				if sub.Consumer == notifications {
					_, announced := s.announced[m.ID]
					had = (announced || !m.Postponed) && !slices.ContainsFunc(m.facts(), func(f fact) bool { return !told[f] })
				}
				had = had || discarded[sub.Consumer+m.ID.String()]
				if !had && m.Since.Before(s.messages[sub.Consumer].purged["inbox"]) {
					continue // nobody knows any more
				}
				k := kind{m.Topic, m.Type, sub.Consumer}
				n := count[k]
				n.published++
				if had {
					n.had++
				} else {
					fate := cmp.Or(recorded[sub.Consumer][m.ID.String()], "had no effect")
					r.find("effects", m.ID, m.Age, delivery, "%s %s at %s, %s after it was published", m.Type, fate, sub.Consumer, short(m.Age))
				}
				count[k] = n
			}
		}
	}
	table := r.section("Events and their effects", "topic", "type", "consumer", "published", "had their effect or were discarded")
	for _, k := range slices.SortedFunc(maps.Keys(count), func(a, b kind) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.eventType, b.eventType), cmp.Compare(a.consumer, b.consumer))
	}) {
		table.row(k.topic, k.eventType, k.consumer, count[k].published, count[k].had)
	}
}

// notifications looks for people who were told nothing yet, or the same twice, or what did not happen.
func (r *Report) notifications(s *seen) {
	happened, postponed := map[fact]bool{}, map[uuid.UUID]bool{}
	for _, service := range Services {
		for _, m := range s.messages[service].outbox {
			for _, f := range m.facts() {
				happened[f] = true
			}
			postponed[m.ID] = m.Postponed
			if finished, announced := s.announced[m.ID]; announced && !finished {
				r.find("notifications", m.ID, m.Age, saga, "%s is not announced to everybody after %s", m.Type, short(m.Age))
			}
		}
	}
	count := map[[2]string]int{}
	first := map[fact]uuid.UUID{}
	for _, n := range s.told {
		count[[2]string{n.Kind, n.Status}]++
		switch {
		case n.Status == "PENDING":
			r.find("notifications", n.ID, n.Age, sending, "%s of event %s is not sent after %s (%s)", n.Kind, n.EventID, short(n.Age), n.ErrorCode)
		case n.Status == "FAILED" && !refusals[n.ErrorCode]:
			r.find("notifications", n.ID, 0, 0, "%s of event %s was given up: %s", n.Kind, n.EventID, n.ErrorCode)
		}
		if n.Resend {
			continue
		}
		f := n.fact()
		if before, twice := first[f]; twice {
			r.find("notifications", n.ID, 0, 0, "tells %s of %s, as %s did", n.Kind, f.of, before)
		}
		first[f] = n.ID
		if !happened[f] && (n.Kind != "EVENT_POSTPONED" || !postponed[n.EventID]) && !s.forgotten(n.EventID) {
			r.find("notifications", n.ID, 0, 0, "tells %s of %s to %s, which happened to nobody or to somebody else", n.Kind, f.of, n.UserID)
		}
	}
	table := r.section("Notifications", "kind", "status", "count")
	for _, key := range slices.SortedFunc(maps.Keys(count), compareKeys) {
		table.row(key[0], key[1], count[key])
	}
}

// refusals are why somebody is rightly never told: there is no such address, or the link is of no use any more.
var refusals = map[string]bool{"EMAIL_REJECTED": true, "ACCOUNT_MAIL_NOT_FOUND": true}

// figures holds what organizers are shown against what happened: an event that took effect twice shows here.
func (r *Report) figures(s *seen) {
	want, age := map[uuid.UUID]eventSales{}, map[uuid.UUID]time.Duration{}
	touch := func(id uuid.UUID, since time.Duration) {
		if before, known := age[id]; !known || since < before {
			age[id] = since
		}
	}
	quantity := map[uuid.UUID]int{}
	for _, i := range s.items {
		quantity[i.OrderID] += i.Quantity
	}
	for _, o := range s.orders {
		w := want[o.EventID]
		w.Refunded += o.Refunded
		if o.paid() {
			w.Completed++
			w.Sold += quantity[o.ID]
			w.Revenue += o.Total
		}
		want[o.EventID] = w
		touch(o.EventID, o.Age)
	}
	for _, t := range s.tickets {
		w := want[t.EventID]
		w.Generated++
		if t.void() {
			w.Cancelled++
		}
		want[t.EventID] = w
		touch(t.EventID, t.Age)
	}
	shown := map[uuid.UUID]eventSales{}
	for _, e := range s.sales {
		shown[e.EventID] = e
	}
	for id, w := range want {
		w.EventID = id
		e := shown[id]
		e.EventID = id
		if e != w {
			r.find("figures", id, age[id], saga, "organizers see %+v, and it is %+v", e, w)
		}
	}
	r.section("Sales figures", "events with orders", "events with figures").row(len(want), len(s.sales))
}

// leftovers looks at what consumers could do nothing with.
func (r *Report) leftovers(s *seen) {
	published := map[string]bool{}
	for _, m := range s.messages {
		for _, e := range m.outbox {
			published[e.ID.String()] = true
		}
	}
	table := r.section("Events nobody acts on", "service", "of types it has no use for", "strange ones", "dead letters", "of them open")
	for _, service := range Services {
		var strange, open int
		for _, u := range s.messages[service].unknown {
			id, _ := uuid.Parse(u.ID)                 // which only a stranger's may not be
			if !published[u.ID] && !s.forgotten(id) { // ours are in effects, if they should have had one
				strange++
				r.find("unknown events", u, u.Age, 0, "%s got a %q %s ago that is in no service's outbox: somebody else publishes to its topics",
					service, u.Type, short(u.Age))
			}
		}
		for _, l := range s.messages[service].letters {
			if l.State == "OPEN" {
				open++
				r.find("dead letters", l, 0, 0, "%s could not process %s %s", service, l.Type, l.EventID)
			}
		}
		table.row(service, len(s.messages[service].unknown)-strange, strange, len(s.messages[service].letters), open)
	}
}

func (r *Report) queues(s *seen) {
	table := r.section("Queues", "queue", "waiting", "being processed", "delayed")
	for _, q := range s.backlog {
		table.row(q.Name, q.Visible, q.InFlight, q.Delayed)
		n := q.Visible + q.InFlight + q.Delayed
		switch {
		case n == 0:
		case isDeadLetterQueue(q.Name):
			r.find("dead letters", q, 0, 0, "%d messages could not be processed", n)
		default:
			r.find("queues", q, 0, always, "%d messages are not processed", n)
		}
	}
}
