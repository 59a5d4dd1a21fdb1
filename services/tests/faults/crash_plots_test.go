//go:build crash

package faults_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/services/internal/identity"
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

// What people do.
var (
	// Two tickets are bought, with a good card or with one that is declined.
	buying    = plot{act: func(ctx context.Context, s *story) error { return s.buy(ctx, demo.GoodCard) }}
	declining = plot{act: func(ctx context.Context, s *story) error { return s.buy(ctx, demo.DeclinedCard) }}

	// Several people buy two tickets each at once. The row of what they want is locked until all are there, so that more than
	// one of them has it held in the same transaction.
	rushing = plot{once: true, arrange: jam, act: func(ctx context.Context, s *story) error {
		var g errgroup.Group
		for range rush {
			g.Go(func() error {
				_, err := s.order(ctx, 2)
				return err
			})
		}
		return g.Wait()
	}}

	// Two tickets are bought, and the hold is over before ticket-service hears that they are paid: there are some left, or none.
	late    = plot{act: buying.act, down: expire, up: sweep}
	tooLate = plot{act: buying.act, down: expire, up: func(ctx context.Context, s *story) error {
		if err := sweep(ctx, s); err != nil {
			return err
		}
		return sellOut(ctx, s)
	}}
	outrun = plot{act: buying.act, arrange: func(ctx context.Context, s *story) {
		s.hops.add(ticketService, &meddling{event: "PAYMENT_COMPLETED", about: s.concerns, left: 1, before: func() {
			for _, happens := range []deed{expire, sweep, sellOut} {
				if err := happens(ctx, s); err != nil {
					say("the hold is not over: %v", err)
				}
			}
		}})
	}}

	// Two tickets are held, and the hold is over.
	holding = plot{once: true, act: func(ctx context.Context, s *story) error {
		if err := hold(ctx, s); err != nil {
			return err
		}
		if err := expire(ctx, s); err != nil {
			return err
		}
		return sweep(ctx, s)
	}}

	// Tickets that were bought have their money given back by the organizer, are given away, or returned.
	refunding = plot{prepare: own, act: func(ctx context.Context, s *story) error {
		return s.do(ctx, paymentService, "/api/payments/orders/"+s.id.String()+"/refunds", s.organizer, map[string]string{"reason": "Cannot come"})
	}}
	transferring = plot{prepare: own, act: func(ctx context.Context, s *story) error {
		return s.withTicket(ctx, "transfer", map[string]any{"toUserId": s.organizer.UserID})
	}}
	returning = plot{prepare: own, act: func(ctx context.Context, s *story) error {
		return s.withTicket(ctx, "cancel", map[string]any{"reason": "Ill"})
	}}

	// An event goes on sale, or is postponed, or is cancelled after two of its tickets were bought, or after so many orders that they are
	// not refunded in one batch, nor their tickets cancelled.
	publishing = plot{draft: true, act: func(ctx context.Context, s *story) error { return s.decide(ctx, "publish", nil) }}
	postponing = plot{prepare: own, act: func(ctx context.Context, s *story) error {
		return s.decide(ctx, "postpone", map[string]any{"eventDate": s.event.EventDate.AddDate(1, 0, 0), "reason": "Storm"})
	}}
	cancelling     = plot{prepare: own, act: cancelEvent}
	callingOff     = plot{prepare: own, act: callOff}
	callingManyOff = plot{prepare: ownMany, act: callOff}

	// Somebody registers.
	registering = plot{act: func(ctx context.Context, s *story) error {
		return s.do(ctx, authService, "/api/auth/register", demo.Person{}, map[string]any{
			"email": s.email, "password": demo.Password, "firstName": "Nora", "lastName": "Quist",
		})
	}}

	// An event that cannot be read comes out of the dead-letter queue, and an admin discards it.
	discarding = plot{once: true, act: func(ctx context.Context, s *story) error {
		return s.bury(ctx, fmt.Sprintf(`{"specversion": "1.0", "id": %q, "source": "payment-service", "type": "PAYMENT_COMPLETED",
			"subject": "test", "datacontenttype": "application/json", "correlationid": %q, "data": {"eventType": "PAYMENT_COMPLETED",
			"version": "1.0", "timestamp": "2024-01-15T10:30:00Z", "correlationId": %q, "payload": 7}}`, s.id, s.trace, s.trace))
	}, finish: func(ctx context.Context, s *story) error { return s.settle(ctx, "discard", "DISCARDED") }}

	// One that took effect before does, and an admin redrives it.
	redriving = plot{once: true, prepare: own, act: func(ctx context.Context, s *story) error {
		var paid string
		if err := s.books.Databases[paymentService].QueryRow(ctx, `
			SELECT id, cloud_event::text FROM outbox
			WHERE cloud_event ->> 'type' = 'PAYMENT_COMPLETED' AND cloud_event #>> '{data,payload,eventId}' = $1`,
			s.event.EventID.String()).Scan(&s.id, &paid); err != nil {
			return fmt.Errorf("find PAYMENT_COMPLETED: %w", err)
		}
		if err := s.bury(ctx, paid); err != nil {
			return err
		}
		ctx, stop := context.WithTimeout(ctx, 5*time.Second)
		defer stop()
		return s.settle(ctx, "redrive", "REDRIVEN")
	}, finish: func(ctx context.Context, s *story) error { return s.settle(ctx, "redrive", "REDRIVEN") }}
)

// How stories end.
var (
	bought      = end{counts{"COMPLETED": 1}, counts{"ACTIVE": 2}, counts{"ORDER_CONFIRMATION": 1}}
	rushed      = end{counts{"COMPLETED": rush}, counts{"ACTIVE": 2 * rush}, counts{"ORDER_CONFIRMATION": rush}}
	abandoned   = end{orders: counts{"FAILED": 1}}
	notPaid     = end{orders: counts{"FAILED": 1}, told: counts{"PAYMENT_FAILED": 1}}
	notIssued   = end{orders: counts{"REFUNDED": 1}, told: counts{"REFUND_PROCESSED": 1}}
	nothing     = end{}
	refunded    = end{counts{"REFUNDED": 1}, counts{"CANCELLED": 2}, counts{"ORDER_CONFIRMATION": 1, "REFUND_PROCESSED": 1}}
	transferred = end{counts{"COMPLETED": 1}, counts{"ACTIVE": 2}, counts{"ORDER_CONFIRMATION": 1, "TICKET_TRANSFERRED": 1, "TICKET_RECEIVED": 1}}
	returned    = end{counts{"COMPLETED": 1}, counts{"ACTIVE": 1, "CANCELLED": 1}, counts{"ORDER_CONFIRMATION": 1, "TICKET_CANCELLED": 1}}
	calledOff   = end{
		counts{"REFUNDED": 1},
		counts{"CANCELLED": 2},
		counts{"ORDER_CONFIRMATION": 1, "REFUND_PROCESSED": 1, "EVENT_CANCELLED": 1},
	}
	manyCalledOff = end{
		counts{"REFUNDED": 3, "FAILED": refusedOrders},
		counts{"CANCELLED": 201},
		counts{"ORDER_CONFIRMATION": 3, "REFUND_PROCESSED": 3, "EVENT_CANCELLED": 3},
	}
	putOff     = end{counts{"COMPLETED": 1}, counts{"ACTIVE": 2}, counts{"ORDER_CONFIRMATION": 1, "EVENT_POSTPONED": 1}}
	registered = end{told: counts{"EMAIL_VERIFICATION": 1}}
)

// rush is how many buy at once.
const rush = 3

// refusedOrders are, with those that were not refused, more than one batch.
const refusedOrders = 50

// do makes a request that carries the story's trace, and its key where it needs one.
func (s *story) do(ctx context.Context, app, path string, by demo.Person, body any) error {
	ctx, stop := context.WithTimeout(ctx, callTime)
	defer stop()
	return s.Do(ctx, demo.Request{
		Method: http.MethodPost, App: app, Path: path, Token: by.Token, Body: body,
		Header: map[string]string{"X-Correlation-Id": s.trace, "Idempotency-Key": s.trace},
	}, nil)
}

func (s *story) buy(ctx context.Context, card string) error {
	ctx, stop := context.WithTimeout(ctx, callTime)
	defer stop()
	req := s.purchase(2, card).Request(s.buyer)
	req.Header["X-Correlation-Id"], req.Header["Idempotency-Key"] = s.trace, s.trace
	return s.Do(ctx, req, nil)
}

func (s *story) purchase(quantity int, card string) demo.Purchase {
	return demo.Purchase{Event: s.event.EventID, TicketType: s.floor.TicketTypeID, Quantity: quantity, Card: card, Key: uuid.NewString()}
}

// order has tickets bought, and asks for them under the same key until they are: a system that has only just started may not
// keep up with all stories.
func (s *story) order(ctx context.Context, quantity int) (demo.Order, error) {
	ctx, stop := context.WithTimeout(ctx, reach)
	defer stop()
	p := s.purchase(quantity, demo.GoodCard)
	return demo.Await(ctx, func() (demo.Order, error) { return s.Buy(ctx, s.buyer, p) },
		func(o demo.Order) bool { return o.PaymentStatus == "COMPLETED" })
}

// jam locks what the story has for sale, until everybody is there who wants it.
func jam(ctx context.Context, s *story) {
	tx, err := s.books.Databases[ticketService].Begin(ctx)
	if err == nil {
		_, err = tx.Exec(ctx, `SELECT FROM ticket_types WHERE id = $1 FOR UPDATE`, s.floor.TicketTypeID)
	}
	if err != nil {
		say("nobody waits for others: %v", err)
		return
	}
	go func() {
		defer func() { _ = tx.Rollback(ctx) }()
		_, err := demo.Await(ctx, func() (n int, err error) {
			return n, s.books.Databases[paymentService].QueryRow(ctx, `SELECT count(*) FROM orders WHERE event_id = $1`, s.event.EventID).Scan(&n)
		}, func(n int) bool { return n == rush })
		if err == nil {
			err = pause(ctx, 500*time.Millisecond) // from the order to the line
		}
		if err != nil {
			say("not everybody waits: %v", err)
		}
	}()
}

// own has two tickets bought, whose order becomes the story's id.
func own(ctx context.Context, s *story) error {
	order, err := s.order(ctx, 2)
	if err != nil {
		return err
	}
	s.id = order.OrderID
	return fulfilled(ctx, s)
}

// ownMany has 201 tickets bought, and as many orders refused as make two batches.
func ownMany(ctx context.Context, s *story) error {
	for _, quantity := range []int{100, 100, 1} {
		if _, err := s.order(ctx, quantity); err != nil {
			return err
		}
	}
	var g errgroup.Group
	g.SetLimit(4)
	for range refusedOrders {
		g.Go(func() error {
			p := s.purchase(100, demo.GoodCard)
			_, err := demo.Await(ctx, func() (refused bool, err error) {
				if _, err = s.Buy(ctx, s.buyer, p); final(err) {
					return true, nil
				}
				return false, err
			}, func(refused bool) bool { return refused })
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return fulfilled(ctx, s)
}

func fulfilled(ctx context.Context, s *story) error {
	_, err := demo.Await(ctx, func() (left int, err error) {
		return left, s.books.Databases[paymentService].QueryRow(ctx, `
			SELECT count(*) FROM orders WHERE event_id = $1 AND step <> 'DONE'`, s.event.EventID).Scan(&left)
	}, func(left int) bool { return left == 0 })
	return err
}

// withTicket does something with the first of the tickets.
func (s *story) withTicket(ctx context.Context, deed string, body any) error {
	var id uuid.UUID
	if err := s.books.Databases[ticketService].QueryRow(ctx, `
		SELECT id FROM tickets WHERE event_id = $1 ORDER BY id LIMIT 1`, s.event.EventID).Scan(&id); err != nil {
		return fmt.Errorf("find a ticket: %w", err)
	}
	return s.do(ctx, ticketService, "/api/tickets/"+id.String()+"/"+deed, s.buyer, body)
}

func (s *story) decide(ctx context.Context, deed string, body any) error {
	return s.do(ctx, eventService, "/api/events/"+s.event.EventID.String()+"/"+deed, s.organizer, body)
}

func cancelEvent(ctx context.Context, s *story) error {
	return s.decide(ctx, "cancel", map[string]string{"reason": "Rain"})
}

// callOff cancels the event, and does not wait for the clocks of those who hear of it.
func callOff(ctx context.Context, s *story) error {
	if err := cancelEvent(ctx, s); err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, callTime)
	defer stop()
	_, err := demo.Await(ctx, func() (done bool, err error) {
		var heard bool
		if err := s.books.Databases[paymentService].QueryRow(ctx, `
			SELECT count(*) > 0, coalesce(bool_and(done), false) FROM event_refunds WHERE event_id = $1`, s.event.EventID).
			Scan(&heard, &done); err != nil || !heard {
			return false, err
		}
		if err := s.bySidecar(ctx, ticketService, http.MethodPost, "/bindings/expire-reservations", nil); err != nil {
			return false, err
		}
		return done, s.bySidecar(ctx, paymentService, http.MethodPost, "/bindings/resume-sagas", nil)
	}, func(done bool) bool { return done })
	return err
}

// hold reserves two tickets as payment-service would.
func hold(ctx context.Context, s *story) error {
	token, err := identity.SignServiceToken(s.system.ServiceSecret(), paymentService)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{
		"userId": s.buyer.UserID, "eventId": s.event.EventID, "reservationId": s.id,
		"ticketRequests": []map[string]any{{"ticketTypeId": s.floor.TicketTypeID, "quantity": 2}},
	})
	if err != nil {
		return err
	}
	return s.bySidecar(ctx, ticketService, http.MethodPost, "/api/tickets/internal/reserve", body,
		"X-Service-Token", token, "X-Service-Name", paymentService)
}

// expire ends the time of the story's hold.
func expire(ctx context.Context, s *story) error {
	tag, err := s.books.Databases[ticketService].Exec(ctx, `
		UPDATE reservations SET expires_at = now() - interval '1 minute' WHERE event_id = $1 AND status = 'ACTIVE'`, s.event.EventID)
	if err == nil && tag.RowsAffected() != 1 {
		err = fmt.Errorf("%d holds", tag.RowsAffected())
	}
	if err != nil {
		return fmt.Errorf("end the hold: %w", err)
	}
	return nil
}

// sweep takes the tickets back of the story's hold, which is over.
func sweep(ctx context.Context, s *story) error {
	if err := s.bySidecar(ctx, ticketService, http.MethodPost, "/bindings/expire-reservations", nil); err != nil {
		return err
	}
	var held bool
	err := s.books.Databases[ticketService].QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM reservations WHERE event_id = $1 AND status = 'ACTIVE')`, s.event.EventID).Scan(&held)
	if err == nil && held {
		err = errors.New("there is one still")
	}
	if err != nil {
		return fmt.Errorf("sweep the hold: %w", err)
	}
	return nil
}

// sellOut leaves one ticket for sale, which is not enough. An app that was dead may not know yet who signs tokens.
func sellOut(ctx context.Context, s *story) error {
	_, err := demo.Await(ctx, func() (done bool, err error) {
		return true, s.Do(ctx, demo.Request{
			Method: http.MethodPatch, App: ticketService, Path: "/api/tickets/types/" + s.floor.TicketTypeID.String(), Token: s.organizer.Token,
			Body: map[string]int{"capacity": 1},
		}, nil)
	}, func(done bool) bool { return done })
	return err
}

// bury puts an event into ticket-service's dead-letter queue, in the frame of its topic.
func (s *story) bury(ctx context.Context, cloudEvent string) error {
	frame, err := json.Marshal(map[string]string{"MessageId": s.trace, "Message": cloudEvent})
	if err != nil {
		return err
	}
	var queue struct {
		QueueURL string `json:"QueueUrl"`
	}
	if err := s.sqs(ctx, "GetQueueUrl", map[string]string{"QueueName": "ticket-processing-dlq"}, &queue); err != nil {
		return err
	}
	return s.sqs(ctx, "SendMessage", map[string]string{"QueueUrl": queue.QueueURL, "MessageBody": string(frame)}, &struct{}{})
}

func (s *story) sqs(ctx context.Context, action string, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.system.AWSEndpoint()+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("X-Amz-Target", "AmazonSQS."+action)
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	// An emulator reads region and service from the scope and checks no signature.
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=local/20250101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", action, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(answer)
}

// settle has the admin do something with the story's dead letter, as soon as it is archived, until it has the state. It was
// archived once.
func (s *story) settle(ctx context.Context, deed, state string) error {
	type deadLetter struct {
		id, state string
		times     int
	}
	is, err := demo.Await(ctx, func() (l deadLetter, err error) {
		if err := s.books.Databases[ticketService].QueryRow(ctx, `SELECT id::text, state, times FROM dead_letters WHERE event_id = $1`, s.id.String()).
			Scan(&l.id, &l.state, &l.times); err != nil || l.state == state {
			return l, err
		}
		return l, s.Do(ctx, demo.Request{
			Method: http.MethodPost, App: ticketService, Path: "/api/tickets/admin/dead-letters/" + l.id + "/" + deed, Token: s.admin,
		}, nil)
	}, func(l deadLetter) bool { return l.state == state })
	if err == nil && is.times != 1 {
		err = fmt.Errorf("archived %d times", is.times)
	}
	return err
}

func (c *crashes) loginAdmin(ctx context.Context) (demo.Token, error) {
	content, err := os.ReadFile(filepath.Join(c.system.DataDir(), "secrets.json"))
	if err != nil {
		return "", fmt.Errorf("log in the admin: %w", err)
	}
	var secrets map[string]string
	if err := json.Unmarshal(content, &secrets); err != nil {
		return "", fmt.Errorf("log in the admin: %w", err)
	}
	var session struct {
		AccessToken demo.Token `json:"accessToken"`
	}
	err = c.Do(ctx, demo.Request{Method: http.MethodPost, App: authService, Path: "/api/auth/login", Body: map[string]string{
		"email": "admin@eventbooking.example", "password": secrets["auth-service-admin-password"],
	}}, &session)
	return session.AccessToken, err
}
