//go:build crash

package faults_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/services/internal/identity"
)

// purchase returns a purchase with a new idempotency key.
func (s *scenarioRun) purchase(quantity int, card string) demo.Purchase {
	return demo.Purchase{
		Event: s.event.EventID, TicketType: s.floor.TicketTypeID, Quantity: quantity, Card: card, Key: uuid.NewString(),
	}
}

// order buys tickets, and repeats the request under the same idempotency key until the order is paid. A system that has
// just started may be too slow for all scenarios at once.
func (s *scenarioRun) order(ctx context.Context, quantity int) (demo.Order, error) {
	ctx, stop := context.WithTimeout(ctx, reachTimeout)
	defer stop()
	p := s.purchase(quantity, demo.GoodCard)
	return demo.Await(ctx, func() (demo.Order, error) { return s.Buy(ctx, s.buyer, p) },
		func(o demo.Order) bool { return o.PaymentStatus == "COMPLETED" })
}

// queueReservations locks the row of the ticket type until the orders of all concurrent buyers exist and their
// reservations have had time to be queued.
func queueReservations(ctx context.Context, s *scenarioRun) {
	tx, err := s.sources.Databases[ticketService].Begin(ctx)
	if err == nil {
		_, err = tx.Exec(ctx, `SELECT FROM ticket_types WHERE id = $1 FOR UPDATE`, s.floor.TicketTypeID)
	}
	if err != nil {
		progress("lock the ticket type: %v", err)
		return
	}
	go func() {
		defer func() { _ = tx.Rollback(ctx) }()
		_, err := demo.Await(ctx, func() (n int, err error) {
			return n, s.sources.Databases[paymentService].QueryRow(ctx, `
				SELECT count(*) FROM orders WHERE event_id = $1`, s.event.EventID).Scan(&n)
		}, func(n int) bool { return n == concurrentBuyers })
		if err == nil {
			err = pause(ctx, 500*time.Millisecond) // from the order to the queue of reservations
		}
		if err != nil {
			progress("wait for the reservations of all buyers: %v", err)
		}
	}()
}

// ownTickets buys two tickets, and waits until the order is fulfilled. The order's id becomes the run's id.
func ownTickets(ctx context.Context, s *scenarioRun) error {
	order, err := s.order(ctx, 2)
	if err != nil {
		return err
	}
	s.id = order.OrderID
	return awaitOrdersDone(ctx, s)
}

// ownManyTickets buys 201 tickets, which are more than one batch of tickets. It also places refusedOrders, and waits
// until all orders are done.
func ownManyTickets(ctx context.Context, s *scenarioRun) error {
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
	return awaitOrdersDone(ctx, s)
}

// awaitOrdersDone waits until all orders of the event are done.
func awaitOrdersDone(ctx context.Context, s *scenarioRun) error {
	_, err := demo.Await(ctx, func() (left int, err error) {
		return left, s.sources.Databases[paymentService].QueryRow(ctx, `
			SELECT count(*) FROM orders WHERE event_id = $1 AND step <> 'DONE'`, s.event.EventID).Scan(&left)
	}, func(left int) bool { return left == 0 })
	return err
}

// changeTicket sends an action of the buyer on the first ticket.
func (s *scenarioRun) changeTicket(ctx context.Context, path string, body any) error {
	id, err := s.firstTicket(ctx)
	if err != nil {
		return err
	}
	return s.post(ctx, ticketService, "/api/tickets/"+id.String()+"/"+path, s.buyer, body)
}

func (s *scenarioRun) firstTicket(ctx context.Context) (id uuid.UUID, err error) {
	if err := s.sources.Databases[ticketService].QueryRow(ctx, `
		SELECT id FROM tickets WHERE event_id = $1 ORDER BY id LIMIT 1`, s.event.EventID).Scan(&id); err != nil {
		return id, fmt.Errorf("find a ticket: %w", err)
	}
	return id, nil
}

// cancelAndSweep cancels the event, and runs the sweeps of ticket-service and payment-service until all orders have a
// refund. It does not wait for their timers.
func cancelAndSweep(ctx context.Context, s *scenarioRun) error {
	if err := cancelEvent(ctx, s); err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, callTimeout)
	defer stop()
	_, err := demo.Await(ctx, func() (done bool, err error) {
		var received bool
		if err := s.sources.Databases[paymentService].QueryRow(ctx, `
			SELECT count(*) > 0, coalesce(bool_and(done), false) FROM event_refunds WHERE event_id = $1`, s.event.EventID).
			Scan(&received, &done); err != nil || !received {
			return false, err
		}
		if err := s.asSidecar(ctx, ticketService, http.MethodPost, "/bindings/expire-reservations", nil); err != nil {
			return false, err
		}
		return done, s.asSidecar(ctx, paymentService, http.MethodPost, "/bindings/resume-sagas", nil)
	}, func(done bool) bool { return done })
	return err
}

// hold reserves two tickets as payment-service would.
func hold(ctx context.Context, s *scenarioRun) error {
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
	return s.asSidecar(ctx, ticketService, http.MethodPost, reserve, body,
		"X-Service-Token", token, "X-Service-Name", paymentService)
}

// expire makes the run's hold expire.
func expire(ctx context.Context, s *scenarioRun) error {
	tag, err := s.sources.Databases[ticketService].Exec(ctx, `
		UPDATE reservations SET expires_at = now() - interval '1 minute' WHERE event_id = $1 AND status = 'ACTIVE'`,
		s.event.EventID)
	if err == nil && tag.RowsAffected() != 1 {
		err = fmt.Errorf("there are %d holds", tag.RowsAffected())
	}
	if err != nil {
		return fmt.Errorf("expire the hold: %w", err)
	}
	return nil
}

// sweep runs ticket-service's sweep, which releases the run's expired hold.
func sweep(ctx context.Context, s *scenarioRun) error {
	if err := s.asSidecar(ctx, ticketService, http.MethodPost, "/bindings/expire-reservations", nil); err != nil {
		return err
	}
	var held bool
	err := s.sources.Databases[ticketService].QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM reservations WHERE event_id = $1 AND status = 'ACTIVE')`, s.event.EventID).Scan(&held)
	if err == nil && held {
		err = errors.New("it is still active")
	}
	if err != nil {
		return fmt.Errorf("release the expired hold: %w", err)
	}
	return nil
}

// sellOut lowers the capacity to one ticket, which is not enough for a purchase. It retries, because an app that was
// down may not have the signing keys yet.
func sellOut(ctx context.Context, s *scenarioRun) error {
	return await(ctx, func() error {
		return s.Do(ctx, demo.Request{
			Method: http.MethodPatch, App: ticketService, Path: "/api/tickets/types/" + s.floor.TicketTypeID.String(),
			Token: s.organizer.Token, Body: map[string]int{"capacity": 1},
		}, nil)
	})
}

// sendDeadLetter sends an event to ticket-service's dead-letter queue, in the envelope of an SNS topic.
func (s *scenarioRun) sendDeadLetter(ctx context.Context, cloudEvent string) error {
	envelope, err := json.Marshal(map[string]string{"MessageId": s.trace, "Message": cloudEvent})
	if err != nil {
		return err
	}
	var queue struct {
		QueueURL string `json:"QueueUrl"`
	}
	err = s.sqs(ctx, "GetQueueUrl", map[string]string{"QueueName": "ticket-processing-dlq"}, &queue)
	if err != nil {
		return err
	}
	message := map[string]string{"QueueUrl": queue.QueueURL, "MessageBody": string(envelope)}
	return s.sqs(ctx, "SendMessage", message, &struct{}{})
}

// sqs sends a request to the SQS emulator.
func (s *scenarioRun) sqs(ctx context.Context, action string, request, answer any) error {
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
	// The emulator reads the region and the service from the scope, and does not check the signature.
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=local/20250101/us-east-1/sqs/aws4_request, "+
		"SignedHeaders=host, Signature=0")
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

// resolveDeadLetter sends an action of the administrator on the run's dead letter, as soon as it is archived, and
// repeats it until the dead letter has the state. It returns an error if the dead letter was archived more than once.
func (s *scenarioRun) resolveDeadLetter(ctx context.Context, path, state string) error {
	type deadLetter struct {
		id, state string
		times     int
	}
	admin, err := s.adminToken(ctx)
	if err != nil {
		return err
	}
	got, err := demo.Await(ctx, func() (l deadLetter, err error) {
		if err := s.sources.Databases[ticketService].QueryRow(ctx, `
			SELECT id::text, state, times FROM dead_letters WHERE event_id = $1`, s.id.String()).
			Scan(&l.id, &l.state, &l.times); err != nil || l.state == state {
			return l, err
		}
		return l, s.Do(ctx, demo.Request{
			Method: http.MethodPost, App: ticketService, Path: "/api/tickets/admin/dead-letters/" + l.id + "/" + path,
			Token: admin,
		}, nil)
	}, func(l deadLetter) bool { return l.state == state })
	if err == nil && got.times != 1 {
		err = fmt.Errorf("archived %d times", got.times)
	}
	return err
}
