//go:build crash

package faults_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
)

// Further scenarios of tickets, events and messages.
var (
	// The organizer checks a ticket in, or undoes that.
	checkingIn = scenario{
		startsIn: 5 * time.Hour, prepare: ownTickets,
		act: func(ctx context.Context, s *scenarioRun) error { return s.checkIn(ctx) },
	}
	undoingCheckIn = scenario{
		startsIn: 5 * time.Hour,
		prepare: func(ctx context.Context, s *scenarioRun) error {
			if err := ownTickets(ctx, s); err != nil {
				return err
			}
			return s.checkIn(ctx)
		},
		act: func(ctx context.Context, s *scenarioRun) error {
			id, err := s.firstTicket(ctx)
			if err != nil {
				return err
			}
			return s.post(ctx, ticketService, "/api/tickets/"+id.String()+"/check-in/undo", s.organizer,
				map[string]string{"reason": "Scanned by mistake"})
		},
	}

	// The organizer gives the event an end.
	endingEvent = scenario{
		act: func(ctx context.Context, s *scenarioRun) error {
			ctx, stop := context.WithTimeout(ctx, callTimeout)
			defer stop()
			return s.Do(ctx, demo.Request{
				Method: http.MethodPatch, App: eventService, Path: "/api/events/" + s.event.EventID.String(),
				Token: s.organizer.Token, Header: map[string]string{"X-Correlation-Id": s.trace},
				Body: map[string]time.Time{"endDate": s.event.EventDate.Add(3 * time.Hour)},
			}, nil)
		},
		finish: func(ctx context.Context, s *scenarioRun) error {
			// The queue hides for a minute what the dead process had received.
			ctx, stop := context.WithTimeout(ctx, 2*time.Minute)
			defer stop()
			_, err := demo.Await(ctx, func() (known bool, err error) {
				err = s.sources.Databases[ticketService].QueryRow(ctx, `
					SELECT end_date IS NOT NULL FROM events WHERE id = $1`, s.event.EventID).Scan(&known)
				return known, err
			}, func(known bool) bool { return known })
			return err
		},
	}

	// An administrator replays the events of the last ten minutes.
	replaying = scenario{prepare: ownTickets, act: func(ctx context.Context, s *scenarioRun) error {
		token, err := s.adminToken(ctx)
		if err != nil {
			return err
		}
		ctx, stop := context.WithTimeout(ctx, callTimeout)
		defer stop()
		return s.Do(ctx, demo.Request{
			Method: http.MethodPost, App: paymentService, Path: "/api/payments/admin/replays", Token: token,
			Body: map[string]any{"topic": "payment-events", "since": time.Now().Add(-10 * time.Minute).UTC()},
		}, nil)
	}}

	// The ordered queue delivers a malformed event, which is set aside, and an administrator discards it.
	settingAside = scenario{act: func(ctx context.Context, s *scenarioRun) error {
		body, err := json.Marshal(map[string]any{
			"specversion": "1.0", "id": s.id, "source": eventService, "type": "EVENT_UPDATED", "subject": "test",
			"datacontenttype": "application/json", "correlationid": s.trace, "topic": "event-updates.fifo",
			"data": map[string]any{
				"eventType": "EVENT_UPDATED", "version": "1.0", "timestamp": "2024-01-15T10:30:00Z",
				"correlationId": s.trace, "payload": 7,
			},
		})
		if err != nil {
			return err
		}
		return s.asSidecar(ctx, ticketService, http.MethodPost, eventsPath, body)
	}, finish: func(ctx context.Context, s *scenarioRun) error {
		return s.resolveDeadLetter(ctx, "discard", "DISCARDED")
	}}

	// ticketsUnreported is a purchase whose TICKETS_GENERATED does not arrive for half an hour. In unfulfilled its
	// PAYMENT_COMPLETED does not arrive. payment-service asks for the tickets then.
	ticketsUnreported = scenario{
		once: true, arrange: dropEvent(paymentService, "TICKETS_GENERATED"),
		act: func(ctx context.Context, s *scenarioRun) error { return s.becomeOverdue(ctx, 2) },
	}
	unfulfilled = scenario{
		once: true, arrange: dropEvent(ticketService, "PAYMENT_COMPLETED"),
		act: func(ctx context.Context, s *scenarioRun) error { return s.becomeOverdue(ctx, 0) },
	}
	// mailRefused is a purchase whose mail does not reach email-service.
	mailRefused = scenario{act: buying.act, arrange: func(_ context.Context, s *scenarioRun) {
		s.proxies.add(emailService, &interception{path: sendMail, matches: s.owns, left: -1, drop: true})
	}}
)

// checkedInOnce is the outcome of a purchase of two tickets, one of which was used.
var checkedInOnce = outcome{
	counts{"COMPLETED": 1}, counts{"ACTIVE": 1, "USED": 1}, counts{"ORDER_CONFIRMATION": 1},
}

const confirmPurchase = "/api/tickets/internal/confirm-purchase"

// lastPoints come last: those of confirm-purchase drop events, which their queues hide for a minute, and that of a mail
// opens the circuit breaker of email-service.
var lastPoints = []crashPoint{
	{
		"ticket-service dies before it commits a check-in",
		checkingIn, uncommittedEvent("TICKET_CHECKED_IN"), ticketService, checkedInOnce,
	},
	{
		"ticket-service dies before it commits that a check-in is undone",
		undoingCheckIn, uncommitted("INSERT ON undone_check_ins",
			"NEW.reason = 'Scanned by mistake'"),
		ticketService, bought,
	},
	{
		"ticket-service dies after it published TICKET_CHECK_IN_UNDONE, before it marks it",
		undoingCheckIn, publishedUnmarked("TICKET_CHECK_IN_UNDONE"), ticketService, bought,
	},
	{
		"event-service dies before it commits the end of an event",
		endingEvent, uncommittedEvent("EVENT_UPDATED"), eventService, nothing,
	},
	{
		"ticket-service dies before it commits the end of an event",
		endingEvent, uncommitted("UPDATE ON events",
			"NEW.id = '{event}' AND NEW.end_date IS NOT NULL AND OLD.end_date IS NULL"),
		ticketService, nothing,
	},
	// A second replay at once finds no events that the first has not published again.
	{
		"payment-service dies before it commits which events it replays",
		replaying, uncommitted("UPDATE ON replays", "NEW.events > OLD.events"), paymentService, bought,
	},
	{
		"payment-service dies before it commits the request of a replay",
		replaying, uncommitted("INSERT ON replays", "NEW.topic = 'payment-events'"), paymentService, bought,
	},
	{
		"ticket-service dies before it commits that it sets an event of the ordered queue aside",
		settingAside, uncommitted("INSERT ON dead_letters", "NEW.body LIKE '%{trace}%'"), ticketService, nothing,
	},
	{
		"payment-service dies before it asks for the tickets of an overdue order",
		ticketsUnreported, requestLost(ticketService, confirmPurchase), paymentService, bought,
	},
	{
		"payment-service dies before it receives the tickets of an overdue order",
		ticketsUnreported, answerInTransit(ticketService, confirmPurchase), paymentService, bought,
	},
	{
		"payment-service dies before it commits the tickets that it asked for",
		ticketsUnreported, uncommitted("UPDATE ON orders",
			"NEW.event_id = '{event}' AND OLD.step = 'FULFIL' AND NEW.step = 'DONE'"),
		paymentService, bought,
	},
	{
		"ticket-service dies before it commits the tickets that payment-service asks for",
		unfulfilled, uncommitted("INSERT ON tickets", "NEW.event_id = '{event}'"), ticketService, bought,
	},
	{
		"email-service dies before its claim on a mail is stored",
		buying, uncommittedState("INSERT ON state"), emailService, bought,
	},
	{
		"email-service dies before it is stored that its mail is sent",
		buying, uncommittedState("UPDATE ON state"), emailService, bought,
	},
	{
		"notification-service dies before it commits that a mail could not be sent",
		mailRefused, uncommitted("UPDATE ON notifications",
			"NEW.facts ->> 'eventId' = '{event}' AND NEW.status = 'PENDING' AND NEW.error_code IS NOT NULL"),
		notificationService, bought,
	},
}

// uncommittedState is a statement of email-service's sidecar on a claim, in the database of the Dapr state store.
func uncommittedState(statement string) breakpoint {
	return breakpoint{statement: statement, when: "NEW.key LIKE 'email-service||processed:%'", inStateStore: true}
}

// dropEvent lets no event of the type and of the run reach the app until the crash point is done.
func dropEvent(app, eventType string) func(context.Context, *scenarioRun) {
	return func(_ context.Context, s *scenarioRun) {
		s.proxies.add(app, &interception{event: eventType, matches: s.owns, left: -1, drop: true})
	}
}

// checkIn lets the organizer scan the code of the first ticket.
func (s *scenarioRun) checkIn(ctx context.Context) error {
	id, err := s.firstTicket(ctx)
	if err != nil {
		return err
	}
	secrets, err := s.secrets()
	if err != nil {
		return err
	}
	seed, err := base64.StdEncoding.DecodeString(secrets["ticket-service-signing-seed"])
	if err != nil {
		return fmt.Errorf("read the key of the codes: %w", err)
	}
	code, err := checkInCode(ed25519.NewKeyFromSeed(seed), id, s.event.EventID)
	if err != nil {
		return err
	}
	return s.post(ctx, ticketService, "/api/tickets/check-in", s.organizer,
		map[string]string{"code": code, "gate": "North"})
}
