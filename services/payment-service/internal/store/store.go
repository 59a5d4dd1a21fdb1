// Package store keeps orders, their refunds and the history of both sagas in PostgreSQL. Each exported
// method is one transaction.
//
// The methods that move a saga on (Reserved, Paid, RefundFailed, ...) name the step that they move it
// from, and do nothing to an order or refund that stands elsewhere: a second driver, or a late answer,
// changes nothing. They write the change, its saga_events and the events that it causes in one
// transaction. Whichever touches an order and a refund of it locks the order first.
package store

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations creates this service's tables.
func Migrations() postgres.Migrations {
	return postgres.Embedded(migrations, "payment_service_version")
}

const (
	source = "payment-service" // the CloudEvents source of what this service publishes

	// The types of sagas, as saga_events tells them apart.
	purchase = "TICKET_PURCHASE"
	refunds  = "ORDER_REFUND"

	// lease is how long a driver has for one step before another may take the saga over: longer than
	// any call that a step makes.
	lease = time.Minute
)

// Store is the database of payment-service.
type Store struct {
	Pool *pgxpool.Pool
}

// Create stores a new order with the trace of ctx and leases its saga to the caller. If the user has used
// the idempotency key before, it gives the order of that time and false instead. It returns
// order.ErrKeyReused when that order was another request, as their hashes tell.
func (s Store) Create(ctx context.Context, o order.Order, idempotencyKey string, requestHash []byte) (id uuid.UUID, created bool, err error) {
	err = postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		id, created = o.ID, true
		trace := telemetry.From(ctx)
		err := tx.QueryRow(ctx, `
			INSERT INTO orders (id, number, user_id, event_id, holder_name, idempotency_key, request_hash,
			                    reservation_id, payment_method, payment_token, correlation_id, traceparent, leased_until)
			VALUES ($1, next_order_number(), $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, now() + $12)
			ON CONFLICT ON CONSTRAINT orders_idempotency_key DO NOTHING RETURNING id`,
			o.ID, o.UserID, o.EventID, o.HolderName, idempotencyKey, requestHash,
			o.ReservationID, o.Method, o.PaymentToken, trace.CorrelationID, trace.Parent, lease).Scan(nil)
		if errors.Is(err, pgx.ErrNoRows) {
			created = false
			var sameRequest bool
			err := tx.QueryRow(ctx, `
				SELECT id, request_hash = $3 FROM orders WHERE user_id = $1 AND idempotency_key = $2`,
				o.UserID, idempotencyKey, requestHash).Scan(&id, &sameRequest)
			if err == nil && !sameRequest {
				return order.ErrKeyReused
			}
			return err
		}
		if err != nil {
			return fmt.Errorf("create order: %w", err)
		}
		var items pgx.Batch
		for _, i := range o.Items {
			items.Queue(`INSERT INTO order_items (order_id, ticket_type_id, quantity) VALUES ($1, $2, $3)`, o.ID, i.TicketTypeID, i.Quantity)
		}
		if err := tx.SendBatch(ctx, &items).Close(); err != nil {
			return fmt.Errorf("create order items: %w", err)
		}
		return recordTx(ctx, tx, o.ID, "ORDER_CREATED", order.SagaCompleted,
			map[string]any{"reservationId": o.ReservationID})
	})
	return id, created, err
}

// The tables of what has a saga, and what of each the sweeper has to resume. What is about one order has its steps as
// arguments instead: words of which the database can tell that they mean unfinished ones would lead it through all of these.
const (
	orderTable, unfinishedOrders   = "orders", "step NOT IN ('DONE', 'REFUND')"
	refundTable, unfinishedRefunds = "refunds", "step <> 'DONE'"
)

// Lease takes the saga of one order, if nobody else holds it and there is a call to make. An order that
// waits for its tickets is the sweeper's, whom no buyer that looks after it can keep away.
func (s Store) Lease(ctx context.Context, id uuid.UUID) (bool, error) {
	return s.lease(ctx, orderTable, id, string(order.Done), string(order.Refund), string(order.Fulfil))
}

// lease takes a saga that does not stand at one of these steps.
func (s Store) lease(ctx context.Context, table string, id uuid.UUID, steps ...string) (bool, error) {
	tag, err := s.Pool.Exec(ctx, `
		UPDATE `+table+` SET leased_until = now() + $2 WHERE id = $1 AND leased_until < now() AND step <> ALL ($3)`, id, lease, steps)
	if err != nil {
		return false, fmt.Errorf("lease %s of %s: %w", id, table, err)
	}
	return tag.RowsAffected() == 1, nil
}

// LeaseDue takes up to limit orders whose sagas stopped moving and are due to be resumed. Replicas pass
// over each other's.
func (s Store) LeaseDue(ctx context.Context, limit int) ([]uuid.UUID, error) {
	return s.leaseDue(ctx, orderTable, unfinishedOrders, limit)
}

func (s Store) leaseDue(ctx context.Context, table, unfinished string, limit int) ([]uuid.UUID, error) {
	rows, err := s.Pool.Query(ctx, `
		UPDATE `+table+` SET leased_until = now() + $2
		WHERE id IN (
			SELECT id FROM `+table+`
			WHERE `+unfinished+` AND resume_at <= now() AND leased_until < now()
			ORDER BY resume_at LIMIT $1 FOR UPDATE SKIP LOCKED)
		RETURNING id`, limit, lease)
	if err != nil {
		return nil, fmt.Errorf("lease what is due of %s: %w", table, err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("lease what is due of %s: %w", table, err)
	}
	return ids, nil
}

// moveTx takes an order from one step to the next and extends its driver's lease to that; a step that no
// driver stands ready for is free to take. At FULFIL ticket-service has two minutes before the sweeper
// looks after the order. What else changes is set's to say, whose arguments start at
// $5. It reports false when the order stands elsewhere.
func moveTx(ctx context.Context, tx pgx.Tx, id uuid.UUID, from, to order.Step, set string, args ...any) (bool, error) {
	tag, err := tx.Exec(ctx, `
		UPDATE orders SET step = $3, tries = 0,
		    resume_at = now() + CASE WHEN $3 = 'FULFIL' THEN interval '2 minutes' ELSE interval '0' END,
		    leased_until = CASE WHEN $3 IN ('FULFIL', 'REFUND', 'DONE') THEN '-infinity' ELSE now() + $4::interval END`+set+`
		WHERE id = $1 AND step = $2`, append([]any{id, from, to, lease}, args...)...)
	if err != nil {
		return false, fmt.Errorf("order %s from %s to %s: %w", id, from, to, err)
	}
	return tag.RowsAffected() == 1, nil
}

// recordTx adds a line about the purchase to an order's history.
func recordTx(ctx context.Context, tx pgx.Tx, id uuid.UUID, eventType string, status order.SagaStatus, payload any) error {
	return recordSagaTx(ctx, tx, purchase, id, eventType, status, payload)
}

func recordSagaTx(ctx context.Context, tx pgx.Tx, sagaType string, id uuid.UUID, eventType string, status order.SagaStatus, payload any) error {
	body, err := json.Marshal(payload)
	if err != nil {
		return fmt.Errorf("saga event %s: %w", eventType, err)
	}
	if _, err := tx.Exec(ctx, `
		INSERT INTO saga_events (saga_id, saga_type, event_type, payload, status) VALUES ($1, $2, $3, $4, $5)`,
		id, sagaType, eventType, body, status); err != nil {
		return fmt.Errorf("saga event %s: %w", eventType, err)
	}
	sagaEvents.WithLabelValues(sagaType, eventType).Inc()
	return nil
}

// Reserved moves RESERVE to CHARGE: the tickets are held and this is what they cost. From here on a
// charge may have been made.
func (s Store) Reserved(ctx context.Context, id uuid.UUID, items []order.Item, total money.Amount, expiresAt time.Time) error {
	return postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		moved, err := moveTx(ctx, tx, id, order.Reserve, order.Charge,
			`, total_minor = $5, currency = $6, charge_since = now()`, total.Minor, total.Currency)
		if err != nil || !moved {
			return err
		}
		var prices pgx.Batch
		for _, i := range items {
			prices.Queue(`
				UPDATE order_items SET unit_price_minor = $3 WHERE order_id = $1 AND ticket_type_id = $2`, id, i.TicketTypeID, i.UnitPrice.Minor)
		}
		if err := tx.SendBatch(ctx, &prices).Close(); err != nil {
			return fmt.Errorf("prices of items: %w", err)
		}
		if err := recordTx(ctx, tx, id, "TICKETS_RESERVED", order.SagaCompleted,
			map[string]any{"expiresAt": expiresAt.UTC(), "totalAmount": total.Decimal(), "currency": total.Currency}); err != nil {
			return err
		}
		return recordTx(ctx, tx, id, "PAYMENT_STARTED", order.SagaPending,
			map[string]any{"attemptKey": order.Order{ID: id}.AttemptKey()})
	})
}

// StopCharging writes down that an order at CHARGE is not charged any more from now on, if it was not before.
func (s Store) StopCharging(ctx context.Context, id uuid.UUID) error {
	if _, err := s.Pool.Exec(ctx, `
		UPDATE orders SET asking_since = now() WHERE id = $1 AND step = $2 AND asking_since IS NULL`, id, order.Charge); err != nil {
		return fmt.Errorf("stop charging order %s: %w", id, err)
	}
	return nil
}

// Refused moves RESERVE to its end: there are no tickets for this order, and nothing to undo.
func (s Store) Refused(ctx context.Context, id uuid.UUID, f order.Failure) error {
	return postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		moved, err := failTx(ctx, tx, id, order.Reserve, order.Done, f)
		if err != nil || !moved {
			return err
		}
		return recordTx(ctx, tx, id, "RESERVATION_REFUSED", order.SagaFailed, map[string]string{"reason": f.Code})
	})
}

// GiveUp moves RESERVE to RELEASE: no answer came and nobody waits for one, so the hold that may be
// there must be given back.
func (s Store) GiveUp(ctx context.Context, id uuid.UUID, f order.Failure) error {
	return postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		moved, err := failTx(ctx, tx, id, order.Reserve, order.Release, f)
		if err != nil || !moved {
			return err
		}
		return recordTx(ctx, tx, id, "RESERVATION_ABANDONED", order.SagaFailed, map[string]string{"reason": f.Code})
	})
}

func failTx(ctx context.Context, tx pgx.Tx, id uuid.UUID, from, to order.Step, f order.Failure) (bool, error) {
	moved, err := moveTx(ctx, tx, id, from, to,
		`, status = 'FAILED', payment_token = NULL, failure_code = $5, failure_message = $6, retryable = $7`,
		f.Code, f.Message, f.Retryable)
	if moved {
		orderFailures.WithLabelValues(f.Code).Inc()
	}
	return moved, err
}

// Declined moves CHARGE to RELEASE and announces PAYMENT_FAILED, at which ticket-service releases the
// hold too, should our own call be lost.
func (s Store) Declined(ctx context.Context, o order.Order, f order.Failure) error {
	return postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		_, err := declinedTx(ctx, tx, o, f)
		return err
	})
}

func declinedTx(ctx context.Context, tx pgx.Tx, o order.Order, f order.Failure) (moved bool, err error) {
	if moved, err = failTx(ctx, tx, o.ID, order.Charge, order.Release, f); err != nil || !moved {
		return moved, err
	}
	if err := recordTx(ctx, tx, o.ID, "PAYMENT_DECLINED", order.SagaFailed, map[string]string{"reason": f.Code}); err != nil {
		return moved, err
	}
	return moved, messaging.AddTx(ctx, tx, source, events.PaymentFailed{
		OrderID: o.ID, UserID: o.UserID, EventID: o.EventID, ReservationID: o.ReservationID,
		FailureReason: f.Code, ErrorMessage: f.Message, Retryable: f.Retryable,
	})
}

// Paid moves CHARGE to FULFIL and announces PAYMENT_COMPLETED, at which ticket-service makes the tickets. The
// charge of an order that had failed by then is refunded.
func (s Store) Paid(ctx context.Context, o order.Order, transactionID string) error {
	return postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		_, err := paidTx(ctx, tx, o, transactionID)
		return err
	})
}

func paidTx(ctx context.Context, tx pgx.Tx, o order.Order, transactionID string) (moved bool, err error) {
	if moved, err = moveTx(ctx, tx, o.ID, order.Charge, order.Fulfil,
		`, status = 'COMPLETED', completed_at = now(), payment_token = NULL, transaction_id = $5`, transactionID); err != nil {
		return moved, err
	}
	if !moved {
		return moved, chargedTooLateTx(ctx, tx, o.ID, transactionID)
	}
	if err := recordTx(ctx, tx, o.ID, "PAYMENT_COMPLETED", order.SagaCompleted,
		map[string]string{"transactionId": transactionID}); err != nil {
		return moved, err
	}
	o.TransactionID = transactionID
	return moved, messaging.AddTx(ctx, tx, source, paymentCompleted(o))
}

func paymentCompleted(o order.Order) events.PaymentCompleted {
	announced := events.PaymentCompleted{
		OrderID: o.ID, OrderNumber: o.Number, UserID: o.UserID, EventID: o.EventID, ReservationID: o.ReservationID,
		HolderName: o.HolderName, TotalAmount: o.Total.Decimal(), Currency: o.Total.Currency,
		PaymentMethod: string(o.Method), TransactionID: o.TransactionID,
	}
	for _, i := range o.Items {
		announced.Items = append(announced.Items, events.OrderItem{
			TicketTypeID: i.TicketTypeID, Quantity: i.Quantity, UnitPrice: i.UnitPrice.Decimal(),
		})
	}
	return announced
}

// Unanswered is what becomes of an order at FULFIL whose time is up without a word of its tickets, once
// each time. It is announced again, as another message: after 2 and 4 minutes, and then every 4.
// After order.FulfilWindow it is given up, which Unanswered reports: FULFIL to REFUND, with a refund of
// everything that cancels whatever tickets there may be, and COMPENSATION_FAILED for people to look into
// it.
func (s Store) Unanswered(ctx context.Context, o order.Order) (gaveUp bool, err error) {
	err = postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		gaveUp = false
		var tries int
		var overdue bool
		err := tx.QueryRow(ctx, `
			SELECT tries, completed_at <= now() - $2::interval FROM orders
			WHERE id = $1 AND step = $3 AND resume_at <= now() FOR UPDATE`, o.ID, order.FulfilWindow, order.Fulfil).Scan(&tries, &overdue)
		switch {
		case errors.Is(err, pgx.ErrNoRows): // there was an answer, or somebody else came first
			return nil
		case err != nil:
			return fmt.Errorf("order %s without an answer: %w", o.ID, err)
		case tries < order.MinReannouncements || !overdue:
			return reannounceTx(ctx, tx, o, tries+1)
		}
		if gaveUp, err = moveTx(ctx, tx, o.ID, order.Fulfil, order.Refund,
			`, failure_code = $5, failure_message = 'The tickets were not issued in time'`, order.CodeNotGenerated); err != nil {
			return err
		}
		if err := recordTx(ctx, tx, o.ID, order.CodeNotGenerated, order.SagaFailed,
			map[string]int{"announcements": tries + 1}); err != nil {
			return err
		}
		if err := messaging.AddTx(ctx, tx, source, events.CompensationFailed{
			OrderID: o.ID, ReservationID: o.ReservationID, Reason: order.CodeNotGenerated, Step: string(order.Fulfil), Attempts: tries + 1,
		}); err != nil {
			return err
		}
		return refundAllTx(ctx, tx, o.ID, order.CodeNotGenerated, refund.CancelTickets)
	})
	return gaveUp, err
}

func reannounceTx(ctx context.Context, tx pgx.Tx, o order.Order, tries int) error {
	if _, err := tx.Exec(ctx, `
		UPDATE orders SET tries = $2, leased_until = '-infinity',
		    resume_at = now() + interval '2 minutes' * least($2::integer, 2)
		WHERE id = $1`, o.ID, tries); err != nil {
		return fmt.Errorf("announce order %s again: %w", o.ID, err)
	}
	if err := recordTx(ctx, tx, o.ID, "REANNOUNCED", order.SagaPending, map[string]int{"announcements": tries + 1}); err != nil {
		return err
	}
	return messaging.AddTx(ctx, tx, source, paymentCompleted(o))
}

// Notified is the effect of a notice about the order, once per notice, and reports whether it moved the
// order. Like the answer to a charge, it takes the order from CHARGE to FULFIL or to RELEASE. The one
// thing that it can do to an order past that: a charge that succeeded after its order had failed is
// refunded. A notice about anything else than a charge is a hint to look after the refunds of its
// transaction. Whatever else it says is recorded as received and has no effect.
func (s Store) Notified(ctx context.Context, n order.Notice, o order.Order) (moved bool, err error) {
	err = postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		moved = false
		if first, err := messaging.FirstTx(ctx, tx, n.ID, n.Type); err != nil || !first {
			return err
		}
		var err error
		switch {
		case n.AttemptKey == "" && n.TransactionID != "":
			if _, err = tx.Exec(ctx, `
				UPDATE refunds SET resume_at = now()
				WHERE step <> $2 AND order_id IN (SELECT id FROM orders WHERE transaction_id = $1)`, n.TransactionID, refund.Done); err != nil {
				err = fmt.Errorf("hasten the refunds of %s: %w", n.TransactionID, err)
			}
		case n.AttemptKey != o.AttemptKey():
		case n.Outcome == order.Succeeded:
			moved, err = paidTx(ctx, tx, o, n.TransactionID)
		case n.Outcome == order.Declined:
			moved, err = declinedTx(ctx, tx, o, n.Failure)
		}
		return err
	})
	return moved, err
}

// chargedTooLateTx refunds the charge of an order that failed for want of one. The order stays FAILED.
func chargedTooLateTx(ctx context.Context, tx pgx.Tx, id uuid.UUID, transactionID string) error {
	tag, err := tx.Exec(ctx, `
		UPDATE orders SET transaction_id = $2
		WHERE id = $1 AND status = 'FAILED' AND charge_since IS NOT NULL AND transaction_id IS NULL`, id, transactionID)
	if err != nil {
		return fmt.Errorf("late charge of order %s: %w", id, err)
	}
	if tag.RowsAffected() == 0 {
		return nil
	}
	if err := recordTx(ctx, tx, id, order.CodePaymentTooLate, order.SagaFailed,
		map[string]string{"transactionId": transactionID}); err != nil {
		return err
	}
	return refundAllTx(ctx, tx, id, order.CodePaymentTooLate, refund.ReturnMoney)
}

// Released moves RELEASE to its end: the tickets are back on sale.
func (s Store) Released(ctx context.Context, id uuid.UUID, tickets int) error {
	return postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		moved, err := moveTx(ctx, tx, id, order.Release, order.Done, "")
		if err != nil || !moved {
			return err
		}
		return recordTx(ctx, tx, id, "RESERVATION_RELEASED", order.SagaCompensated, map[string]int{"ticketsReleased": tickets})
	})
}

// Fulfilled is TICKETS_GENERATED's effect, once per message: FULFIL to its end. An order whose event was
// cancelled meanwhile gets a refund of everything at once.
func (s Store) Fulfilled(ctx context.Context, messageID uuid.UUID, generated events.TicketsGenerated) error {
	return postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		if first, err := messaging.FirstTx(ctx, tx, messageID, generated.Type()); err != nil || !first {
			return err
		}
		moved, err := moveTx(ctx, tx, generated.OrderID, order.Fulfil, order.Done, "")
		if err != nil || !moved {
			return err
		}
		var tickets, types []uuid.UUID
		for _, t := range generated.Tickets {
			tickets, types = append(tickets, t.TicketID), append(types, t.TicketTypeID)
		}
		// The contract's event has no types. Tickets of unknown price can only be refunded with the whole order.
		if _, err := tx.Exec(ctx, `
			INSERT INTO order_tickets (ticket_id, order_id, ticket_type_id)
			SELECT t.id, i.order_id, i.ticket_type_id FROM unnest($2::uuid[], $3::uuid[]) AS t (id, type)
			JOIN order_items i ON i.order_id = $1 AND i.ticket_type_id = t.type
			ON CONFLICT DO NOTHING`, generated.OrderID, tickets, types); err != nil {
			return fmt.Errorf("tickets of order %s: %w", generated.OrderID, err)
		}
		if err := recordTx(ctx, tx, generated.OrderID, generated.Type(), order.SagaCompleted,
			map[string]int{"tickets": len(generated.Tickets)}); err != nil {
			return err
		}
		return refundIfCancelledTx(ctx, tx, generated.OrderID)
	})
}

// Unfulfillable is TICKET_GENERATION_FAILED's effect, once per message: FULFIL to REFUND, with a refund
// of everything, which the sweeper carries out.
func (s Store) Unfulfillable(ctx context.Context, messageID uuid.UUID, failed events.TicketGenerationFailed) error {
	return postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		if first, err := messaging.FirstTx(ctx, tx, messageID, failed.Type()); err != nil || !first {
			return err
		}
		moved, err := moveTx(ctx, tx, failed.OrderID, order.Fulfil, order.Refund,
			`, failure_code = $5, failure_message = 'The tickets could not be issued'`, failed.Reason)
		if err != nil || !moved {
			return err
		}
		if err := recordTx(ctx, tx, failed.OrderID, failed.Type(), order.SagaFailed,
			map[string]string{"reason": failed.Reason}); err != nil {
			return err
		}
		return refundAllTx(ctx, tx, failed.OrderID, failed.Reason, refund.ReturnMoney)
	})
}

// orderColumns are those that scanOrder reads, in its order.
const orderColumns = `id, number, user_id, event_id, holder_name, status, step, reservation_id, total_minor, refunded_minor, currency,
	payment_method, payment_token, charge_since, coalesce(now() - charge_since, '0'), coalesce(now() - asking_since, '0'),
	transaction_id, failure_code, failure_message, retryable, correlation_id, traceparent, created_at, completed_at`

// scanOrder reads an order without its items.
func scanOrder(row pgx.CollectableRow) (order.Order, error) {
	var o order.Order
	var (
		total                      *int64
		refunded                   int64
		currency                   *string
		token, transaction         *string
		code, message              *string
		chargeSince, completedTime *time.Time
	)
	err := row.Scan(&o.ID, &o.Number, &o.UserID, &o.EventID, &o.HolderName, &o.Status, &o.Step, &o.ReservationID, &total, &refunded, &currency,
		&o.Method, &token, &chargeSince, &o.ChargeAge, &o.LookupAge,
		&transaction, &code, &message, &o.Failure.Retryable, &o.Trace.CorrelationID, &o.Trace.Parent, &o.CreatedAt, &completedTime)
	o.Total = money.Of(value(total), money.Currency(value(currency)))
	o.Refunded = money.Of(refunded, o.Total.Currency)
	o.PaymentToken, o.TransactionID = value(token), value(transaction)
	o.Failure.Code, o.Failure.Message = value(code), value(message)
	o.ChargeSince, o.CompletedAt = value(chargeSince), value(completedTime)
	return o, err
}

// Order gives an order. It returns order.ErrNotFound.
func (s Store) Order(ctx context.Context, id uuid.UUID) (order.Order, error) {
	found, err := s.orders(ctx, `WHERE id = $1`, id)
	if err != nil {
		return order.Order{}, err
	}
	if len(found) == 0 {
		return order.Order{}, order.ErrNotFound
	}
	return found[0], nil
}

// OrdersOf gives a page of a user's orders, and one more if there is one, the newest first.
func (s Store) OrdersOf(ctx context.Context, user uuid.UUID, page paging.Page) ([]order.Order, error) {
	return s.orders(ctx, `
		WHERE user_id = $1 AND (created_at, id) < (coalesce($2::timestamptz, 'infinity'), $3)
		ORDER BY created_at DESC, id DESC LIMIT $4 + 1`, user, page.After, page.AfterID, page.Limit)
}

// orders gives those of a clause, with their items. The two are read one after the other: items change
// but once, and their prices are of no use to anybody who sees an order before that.
func (s Store) orders(ctx context.Context, clause string, args ...any) ([]order.Order, error) {
	rows, err := s.Pool.Query(ctx, `SELECT `+orderColumns+` FROM orders `+clause, args...)
	if err != nil {
		return nil, fmt.Errorf("orders: %w", err)
	}
	found, err := pgx.CollectRows(rows, scanOrder)
	if err != nil {
		return nil, fmt.Errorf("orders: %w", err)
	}
	ids := make([]uuid.UUID, len(found))
	position := map[uuid.UUID]int{}
	for i, o := range found {
		ids[i], position[o.ID] = o.ID, i
	}
	rows, err = s.Pool.Query(ctx, `
		SELECT order_id, ticket_type_id, quantity, coalesce(unit_price_minor, 0) FROM order_items
		WHERE order_id = ANY ($1) ORDER BY order_id, ticket_type_id`, ids)
	if err != nil {
		return nil, fmt.Errorf("items of orders: %w", err)
	}
	var id uuid.UUID
	var item order.Item
	_, err = pgx.ForEachRow(rows, []any{&id, &item.TicketTypeID, &item.Quantity, &item.UnitPrice.Minor}, func() error {
		o := &found[position[id]]
		item.UnitPrice.Currency = o.Total.Currency
		o.Items = append(o.Items, item)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("items of orders: %w", err)
	}
	return found, nil
}

// value gives what p points at, the zero value for NULL.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// History gives an order's saga events in their order.
func (s Store) History(ctx context.Context, id uuid.UUID) ([]order.SagaEvent, error) {
	rows, err := s.Pool.Query(ctx, `
		SELECT id, event_type, payload, status, timestamp FROM saga_events WHERE saga_id = $1 ORDER BY position`, id)
	if err != nil {
		return nil, fmt.Errorf("history of order %s: %w", id, err)
	}
	history, err := pgx.CollectRows(rows, pgx.RowToStructByPos[order.SagaEvent])
	if err != nil {
		return nil, fmt.Errorf("history of order %s: %w", id, err)
	}
	return history, nil
}
