//go:build crash

package faults_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
)

// The apps.
const (
	authService         = "auth-service"
	eventService        = "event-service"
	ticketService       = "ticket-service"
	paymentService      = "payment-service"
	notificationService = "notification-service"
	analyticsService    = "analytics-service"
	paymentGateway      = "payment-gateway"
	emailService        = "email-service"
)

// The scenarios.
var (
	// buying is the purchase of two tickets. In declining, the card is declined.
	buying    = scenario{act: func(ctx context.Context, s *scenarioRun) error { return s.buy(ctx, demo.GoodCard) }}
	declining = scenario{act: func(ctx context.Context, s *scenarioRun) error { return s.buy(ctx, demo.DeclinedCard) }}

	// buyingAtOnce is several concurrent purchases of two tickets each. They are all queued before the first is
	// processed, so that ticket-service holds the tickets of more than one of them in the same transaction.
	buyingAtOnce = scenario{once: true, arrange: queueReservations, act: func(ctx context.Context, s *scenarioRun) error {
		var g errgroup.Group
		for range concurrentBuyers {
			g.Go(func() error {
				_, err := s.order(ctx, 2)
				return err
			})
		}
		return g.Wait()
	}}

	// expiredWhileDown is a purchase whose hold expires before ticket-service processes the payment. There are enough
	// tickets left. In soldOutWhileDown there are not.
	expiredWhileDown = scenario{act: buying.act, whileDown: expire, afterRestart: sweep}
	soldOutWhileDown = scenario{
		act: buying.act, whileDown: expire,
		afterRestart: func(ctx context.Context, s *scenarioRun) error {
			if err := sweep(ctx, s); err != nil {
				return err
			}
			return sellOut(ctx, s)
		},
	}
	// soldOutBeforePayment is a purchase whose hold expires, and whose tickets sell out, just before ticket-service
	// receives the payment.
	soldOutBeforePayment = scenario{act: buying.act, arrange: func(ctx context.Context, s *scenarioRun) {
		s.proxies.add(ticketService, &interception{event: "PAYMENT_COMPLETED", matches: s.owns, left: 1, before: func() {
			for _, do := range []action{expire, sweep, sellOut} {
				if err := do(ctx, s); err != nil {
					progress("expire the hold before the payment: %v", err)
				}
			}
		}})
	}}

	// expiring is a hold of two tickets that expires.
	expiring = scenario{once: true, act: func(ctx context.Context, s *scenarioRun) error {
		if err := hold(ctx, s); err != nil {
			return err
		}
		if err := expire(ctx, s); err != nil {
			return err
		}
		return sweep(ctx, s)
	}}

	// The organizer refunds a purchase.
	refunding = scenario{prepare: ownTickets, act: func(ctx context.Context, s *scenarioRun) error {
		return s.post(ctx, paymentService, "/api/payments/orders/"+s.id.String()+"/refunds", s.organizer,
			map[string]string{"reason": "Cannot come"})
	}}
	// The buyer transfers or cancels one of two tickets.
	transferring = scenario{prepare: ownTickets, act: func(ctx context.Context, s *scenarioRun) error {
		return s.changeTicket(ctx, "transfer", map[string]any{"toUserId": s.organizer.UserID})
	}}
	cancellingTicket = scenario{prepare: ownTickets, act: func(ctx context.Context, s *scenarioRun) error {
		return s.changeTicket(ctx, "cancel", map[string]any{"reason": "Ill"})
	}}

	// The organizer publishes an event, or postpones one, or moves it to another venue.
	publishing = scenario{draft: true, act: func(ctx context.Context, s *scenarioRun) error {
		return s.changeEvent(ctx, "publish", nil)
	}}
	postponing = scenario{prepare: ownTickets, act: func(ctx context.Context, s *scenarioRun) error {
		return s.changeEvent(ctx, "postpone", map[string]any{
			"eventDate": s.event.EventDate.AddDate(1, 0, 0), "reason": "Storm",
		})
	}}
	changing = scenario{prepare: ownTickets, act: func(ctx context.Context, s *scenarioRun) error {
		ctx, stop := context.WithTimeout(ctx, callTimeout)
		defer stop()
		return s.Do(ctx, demo.Request{
			Method: http.MethodPatch, App: eventService, Path: "/api/events/" + s.event.EventID.String(),
			Token: s.organizer.Token, Header: map[string]string{"X-Correlation-Id": s.trace},
			Body: map[string]string{"venueName": "Town Hall"},
		}, nil)
	}}
	// The organizer cancels an event after two of its tickets were bought. cancellingAndSweeping also runs the sweeps
	// that follow. cancellingLarge has more orders to refund, and more tickets to cancel, than one batch.
	cancelling            = scenario{prepare: ownTickets, act: cancelEvent}
	cancellingAndSweeping = scenario{prepare: ownTickets, act: cancelAndSweep}
	cancellingLarge       = scenario{prepare: ownManyTickets, act: cancelAndSweep}

	// A user registers.
	registering = scenario{act: func(ctx context.Context, s *scenarioRun) error {
		return s.post(ctx, authService, "/api/auth/register", demo.Person{}, map[string]any{
			"email": s.email, "password": demo.Password, "firstName": "Nora", "lastName": "Quist",
		})
	}}

	// The dead-letter queue delivers a malformed event, and an administrator discards it.
	discarding = scenario{once: true, act: func(ctx context.Context, s *scenarioRun) error {
		return s.sendDeadLetter(ctx, fmt.Sprintf(`{"specversion": "1.0", "id": %q, "source": "payment-service",
			"type": "PAYMENT_COMPLETED", "subject": "test", "datacontenttype": "application/json", "correlationid": %q,
			"data": {"eventType": "PAYMENT_COMPLETED", "version": "1.0", "timestamp": "2024-01-15T10:30:00Z",
			"correlationId": %q, "payload": 7}}`, s.id, s.trace, s.trace))
	}, finish: func(ctx context.Context, s *scenarioRun) error {
		return s.resolveDeadLetter(ctx, "discard", "DISCARDED")
	}}

	// The dead-letter queue delivers an event that was processed before, and an administrator redrives it.
	redriving = scenario{once: true, prepare: ownTickets, act: func(ctx context.Context, s *scenarioRun) error {
		var paid string
		if err := s.sources.Databases[paymentService].QueryRow(ctx, `
			SELECT id, cloud_event::text FROM outbox
			WHERE cloud_event ->> 'type' = 'PAYMENT_COMPLETED' AND cloud_event #>> '{data,payload,eventId}' = $1`,
			s.event.EventID.String()).Scan(&s.id, &paid); err != nil {
			return fmt.Errorf("find PAYMENT_COMPLETED: %w", err)
		}
		if err := s.sendDeadLetter(ctx, paid); err != nil {
			return err
		}
		ctx, stop := context.WithTimeout(ctx, 5*time.Second)
		defer stop()
		return s.resolveDeadLetter(ctx, "redrive", "REDRIVEN")
	}, finish: func(ctx context.Context, s *scenarioRun) error {
		return s.resolveDeadLetter(ctx, "redrive", "REDRIVEN")
	}}
)

// The outcomes.
var (
	nothing     = outcome{}
	bought      = outcome{counts{"COMPLETED": 1}, counts{"ACTIVE": 2}, counts{"ORDER_CONFIRMATION": 1}}
	boughtByAll = outcome{
		counts{"COMPLETED": concurrentBuyers},
		counts{"ACTIVE": 2 * concurrentBuyers},
		counts{"ORDER_CONFIRMATION": concurrentBuyers},
	}
	// abandoned is an order that failed before anything was charged. Its buyer is not notified.
	abandoned    = outcome{orders: counts{"FAILED": 1}}
	declined     = outcome{orders: counts{"FAILED": 1}, notifications: counts{"PAYMENT_FAILED": 1}}
	notFulfilled = outcome{orders: counts{"REFUNDED": 1}, notifications: counts{"REFUND_PROCESSED": 1}}
	refunded     = outcome{
		counts{"REFUNDED": 1},
		counts{"CANCELLED": 2},
		counts{"ORDER_CONFIRMATION": 1, "REFUND_PROCESSED": 1, "TICKET_CANCELLED": 1},
	}
	transferred = outcome{
		counts{"COMPLETED": 1},
		counts{"ACTIVE": 2},
		counts{"ORDER_CONFIRMATION": 1, "TICKET_TRANSFERRED": 1, "TICKET_RECEIVED": 1},
	}
	ticketCancelled = outcome{
		counts{"COMPLETED": 1},
		counts{"ACTIVE": 1, "CANCELLED": 1},
		counts{"ORDER_CONFIRMATION": 1, "TICKET_CANCELLED": 1},
	}
	eventPostponed = outcome{
		counts{"COMPLETED": 1}, counts{"ACTIVE": 2}, counts{"ORDER_CONFIRMATION": 1, "EVENT_POSTPONED": 1},
	}
	eventChanged = outcome{
		counts{"COMPLETED": 1}, counts{"ACTIVE": 2}, counts{"ORDER_CONFIRMATION": 1, "EVENT_CHANGED": 1},
	}
	eventCancelled = outcome{
		counts{"REFUNDED": 1},
		counts{"CANCELLED": 2},
		counts{"ORDER_CONFIRMATION": 1, "REFUND_PROCESSED": 1, "EVENT_CANCELLED": 1},
	}
	largeEventCancelled = outcome{
		counts{"REFUNDED": 3, "FAILED": refusedOrders},
		counts{"CANCELLED": 201},
		counts{"ORDER_CONFIRMATION": 3, "REFUND_PROCESSED": 3, "EVENT_CANCELLED": 3},
	}
	registered = outcome{notifications: counts{"EMAIL_VERIFICATION": 1}}
)

// concurrentBuyers is the number of purchases of buyingAtOnce.
const concurrentBuyers = 3

// refusedOrders, together with the accepted orders of ownManyTickets, are more than one batch of orders.
const refusedOrders = 50

// post sends a request with the scenario's correlation id and idempotency key.
func (s *scenarioRun) post(ctx context.Context, app, path string, by demo.Person, body any) error {
	ctx, stop := context.WithTimeout(ctx, callTimeout)
	defer stop()
	return s.Do(ctx, demo.Request{
		Method: http.MethodPost, App: app, Path: path, Token: by.Token, Body: body,
		Header: map[string]string{"X-Correlation-Id": s.trace, "Idempotency-Key": s.trace},
	}, nil)
}

// buy sends the purchase of two tickets with the scenario's correlation id and idempotency key.
func (s *scenarioRun) buy(ctx context.Context, card string) error {
	ctx, stop := context.WithTimeout(ctx, callTimeout)
	defer stop()
	req := s.purchase(2, card).Request(s.buyer)
	req.Header["X-Correlation-Id"], req.Header["Idempotency-Key"] = s.trace, s.trace
	return s.Do(ctx, req, nil)
}

// changeEvent sends an action of the organizer on the event.
func (s *scenarioRun) changeEvent(ctx context.Context, path string, body any) error {
	return s.post(ctx, eventService, "/api/events/"+s.event.EventID.String()+"/"+path, s.organizer, body)
}

func cancelEvent(ctx context.Context, s *scenarioRun) error {
	return s.changeEvent(ctx, "cancel", map[string]string{"reason": "Rain"})
}
