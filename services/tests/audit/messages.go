package audit

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
)

func (r *Report) checkOutboxes(s *snapshot) {
	table := r.addSection("Outboxes", "service", "events", "not published", "age of the oldest")
	for _, service := range Services {
		var unpublished int
		var oldest time.Duration
		for _, m := range s.messages[service].outbox {
			if m.Published {
				continue
			}
			unpublished++
			oldest = max(oldest, m.Age)
			r.addFinding("outbox", m.ID, m.Age, gracePublish, "%s of %s is not published after %s",
				m.Type, service, rounded(m.Age))
		}
		table.addRow(service, len(s.messages[service].outbox), unpublished, rounded(oldest))
	}
}

// notice is a notification that an event requires. Several events may require the same notice, which is sent once.
type notice struct {
	kind string
	user uuid.UUID // uuid.Nil for operations
	of   uuid.UUID // the order or the refund if the kind is sent once for it, otherwise the event
}

// oncePerOrder has the kinds of notifications that are sent once per order, even if several events require them.
var oncePerOrder = map[string]bool{"ORDER_CONFIRMATION": true, "PAYMENT_FAILED": true, "EVENT_CANCELLED": true}

func newNotice(kind string, user, order, event uuid.UUID, refundKey string) notice {
	switch {
	case oncePerOrder[kind]:
		return notice{kind, user, order}
	case kind == "TICKET_CANCELLED" && refundKey != "": // once for all tickets that the refund cancelled
		return notice{kind, user, uuid.NewSHA1(order, []byte(refundKey))}
	}
	return notice{kind, user, event}
}

// notices returns the notices that an event requires. It omits those of a postponement or another change of an event:
// only ticket-service knows the ticket holders who receive them.
func (m message) notices() []notice {
	of := func(kind string, user uuid.UUID) notice { return newNotice(kind, user, m.OrderID, m.ID, m.RefundKey) }
	switch m.Type {
	case "TICKETS_GENERATED":
		return []notice{of("ORDER_CONFIRMATION", m.UserID)}
	case "PAYMENT_FAILED", "REFUND_PROCESSED", "REFUND_FAILED":
		return []notice{of(m.Type, m.UserID)}
	case "TICKETS_DISPUTED":
		if m.Organizer {
			return []notice{of("ORDER_DISPUTED", m.UserID)}
		}
		return []notice{of(m.Type, m.UserID)}
	case "PAYMENT_DISPUTED":
		return []notice{of(m.Type, uuid.Nil)}
	case "TICKET_TRANSFERRED":
		return []notice{of("TICKET_TRANSFERRED", m.FromUserID), of("TICKET_RECEIVED", m.ToUserID)}
	case "TICKET_CANCELLED":
		switch m.CancelledBy {
		case "OWNER":
			return []notice{of("TICKET_CANCELLED", m.UserID)}
		case "REFUND":
			if m.RefundKey != "" { // otherwise an earlier version published it, which informed only the buyer
				return []notice{of("TICKET_CANCELLED", m.UserID)}
			}
		case "EVENT":
			return []notice{of("EVENT_CANCELLED", m.UserID)}
		}
	case "EMAIL_VERIFICATION_REQUESTED":
		return []notice{of("EMAIL_VERIFICATION", m.UserID)}
	case "PASSWORD_RESET_REQUESTED":
		return []notice{of("PASSWORD_RESET", m.UserID)}
	case "DEAD_LETTER_ARCHIVED", "COMPENSATION_FAILED":
		return []notice{of(m.Type, uuid.Nil)}
	}
	return nil
}

// checkEffects checks that each published event was processed by every consumer that subscribes to it.
func (r *Report) checkEffects(s *snapshot) {
	sent := map[notice]bool{}
	for _, n := range s.notifications {
		sent[n.notice()] = true
	}
	reasons := map[string]map[string]string{} // by service and event: why the event was not processed
	discarded := map[string]bool{}            // by service and event: dead letters that an administrator discarded
	for service, m := range s.messages {
		reasons[service] = map[string]string{}
		for _, u := range m.unknown {
			reasons[service][u.ID] = "was recorded as unknown"
		}
		for _, l := range m.letters {
			switch l.State {
			case "OPEN":
				reasons[service][l.EventID] = "is a dead letter"
			case "DISCARDED":
				discarded[service+l.EventID] = true
			}
		}
	}
	type kind struct{ topic, eventType, consumer string }
	type tally struct{ published, processed int }
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
				processed := s.messages[sub.Service].inbox[m.ID]
				if sub.Service == notificationService {
					_, announced := s.announced[m.ID]
					processed = (announced || !m.Postponed) &&
						(!m.Changed || s.messages[notificationService].inbox[m.ID]) && // several changes have one announcement
						!slices.ContainsFunc(m.notices(), func(n notice) bool { return !sent[n] })
				}
				processed = processed || discarded[sub.Service+m.ID.String()]
				if !processed && m.Since.Before(s.messages[sub.Service].purged["inbox"]) {
					continue // the inbox entry may have been purged
				}
				k := kind{m.Topic, m.Type, sub.Service}
				n := count[k]
				n.published++
				if processed {
					n.processed++
				} else {
					reason := cmp.Or(reasons[sub.Service][m.ID.String()], "was not processed")
					r.addFinding("effects", m.ID, m.Age, graceDelivery, "%s %s by %s, %s after it was published",
						m.Type, reason, sub.Service, rounded(m.Age))
				}
				count[k] = n
			}
		}
	}
	table := r.addSection("Events by consumer", "topic", "type", "consumer", "published", "processed or discarded")
	for _, k := range slices.SortedFunc(maps.Keys(count), func(a, b kind) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.eventType, b.eventType),
			cmp.Compare(a.consumer, b.consumer))
	}) {
		table.addRow(k.topic, k.eventType, k.consumer, count[k].published, count[k].processed)
	}
}

// checkNotifications looks for notifications that are unsent, sent twice, or not required by any event.
func (r *Report) checkNotifications(s *snapshot) {
	// announced are the messages that an announcement belongs to, by the kind of its notifications.
	required, announced := map[notice]bool{}, map[string]map[uuid.UUID]bool{"EVENT_POSTPONED": {}, "EVENT_CHANGED": {}}
	for _, service := range Services {
		for _, m := range s.messages[service].outbox {
			for _, n := range m.notices() {
				required[n] = true
			}
			announced["EVENT_POSTPONED"][m.ID] = m.Postponed
			announced["EVENT_CHANGED"][m.ID] = m.Changed && !m.Postponed
			if finished, known := s.announced[m.ID]; known && !finished {
				r.addFinding("notifications", m.ID, m.Age, graceSaga, "the announcement of %s is unfinished after %s",
					m.Type, rounded(m.Age))
			}
		}
	}
	count := map[[2]string]int{}
	first := map[notice]uuid.UUID{}
	for _, n := range s.notifications {
		count[[2]string{n.Kind, n.Status}]++
		switch {
		case n.Status == "PENDING":
			r.addFinding("notifications", n.ID, n.Age, graceSend, "%s of event %s is not sent after %s (%s)",
				n.Kind, n.EventID, rounded(n.Age), n.ErrorCode)
		case n.Status == "FAILED" && !refusals[n.ErrorCode]:
			r.addFinding("notifications", n.ID, 0, 0, "%s of event %s failed: %s", n.Kind, n.EventID, n.ErrorCode)
		}
		if n.Resend {
			continue
		}
		key := n.notice()
		if before, twice := first[key]; twice {
			r.addFinding("notifications", n.ID, 0, 0, "repeats %s of %s, which was notification %s", n.Kind, key.of, before)
		}
		first[key] = n.ID
		if !required[key] && !announced[n.Kind][n.EventID] && !s.maybePurged(n.EventID) {
			r.addFinding("notifications", n.ID, 0, 0, "sends %s of %s to %s, and no event requires that",
				n.Kind, key.of, n.UserID)
		}
	}
	table := r.addSection("Notifications", "kind", "status", "count")
	for _, key := range slices.SortedFunc(maps.Keys(count), compareKeys) {
		table.addRow(key[0], key[1], count[key])
	}
}

// refusals are the error codes of correct failures: the address does not exist, or the link of the mail has expired.
var refusals = map[string]bool{"EMAIL_REJECTED": true, "ACCOUNT_MAIL_NOT_FOUND": true}

// checkSales compares the sales figures that organizers see with orders and tickets. They differ if an event was
// counted twice.
func (r *Report) checkSales(s *snapshot) {
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
		w.Disputed += o.Disputed
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
		if t.cancelled() {
			w.Cancelled++
		}
		if t.CheckedIn {
			w.CheckedIn++
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
			r.addFinding("sales", id, age[id], graceSaga, "the sales figures are %+v instead of %+v", e, w)
		}
	}
	r.addSection("Sales figures", "events with orders", "events with figures").addRow(len(want), len(s.sales))
}

// checkUnprocessed looks for events that a consumer could not process: unknown ones and dead letters.
func (r *Report) checkUnprocessed(s *snapshot) {
	published := map[string]bool{}
	for _, m := range s.messages {
		for _, e := range m.outbox {
			published[e.ID.String()] = true
		}
	}
	table := r.addSection("Unprocessed events",
		"service", "of types it does not process", "of no service", "dead letters", "of them open")
	for _, service := range Services {
		var foreign, open int
		for _, u := range s.messages[service].unknown {
			id, _ := uuid.Parse(u.ID) // only the id of another publisher's event may not parse
			// checkEffects reports our own events that should have been processed.
			if !published[u.ID] && !s.maybePurged(id) {
				foreign++
				r.addFinding("unknown events", u, u.Age, 0,
					"%s received a %q %s ago that is in no service's outbox: another publisher uses its topics",
					service, u.Type, rounded(u.Age))
			}
		}
		for _, l := range s.messages[service].letters {
			if l.State == "OPEN" {
				open++
				r.addFinding("dead letters", l, 0, 0, "%s could not process %s %s", service, l.Type, l.EventID)
			}
		}
		table.addRow(service, len(s.messages[service].unknown)-foreign, foreign, len(s.messages[service].letters), open)
	}
}

// checkReplays looks for replays of stored events that have not ended.
func (r *Report) checkReplays(s *snapshot) {
	for _, service := range Services {
		for _, p := range s.messages[service].replays {
			r.addFinding("replays", p.ID, p.Age, graceReplay, "the replay of %s by %s is unfinished after %s",
				p.Topic, service, rounded(p.Age))
		}
	}
}

func (r *Report) checkQueues(s *snapshot) {
	table := r.addSection("Queues", "queue", "visible", "in flight", "delayed")
	for _, q := range s.queues {
		table.addRow(q.Name, q.Visible, q.InFlight, q.Delayed)
		n := q.Visible + q.InFlight + q.Delayed
		switch {
		case n == 0:
		case isDeadLetterQueue(q.Name):
			r.addFinding("dead letters", q, 0, 0, "%d messages are dead letters", n)
		default:
			r.addFinding("queues", q, 0, graceUnlimited, "%d messages are unprocessed", n)
		}
	}
}
