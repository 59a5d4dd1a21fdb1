// Package store keeps orders and the history of their sagas in PostgreSQL. Each exported method is one
// transaction.
//
// The methods that move a saga on (Reserved, Paid, Fail, ...) name the step that they move it from, and
// do nothing to an order that stands elsewhere: a second driver, or a late answer, changes nothing.
// They write the change, its saga_events and the events that it causes in one transaction.
package store

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations creates this service's tables.
func Migrations() postgres.Migrations {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	return postgres.Migrations{VersionTable: "payment_service_version", Files: files}
}

const (
	source   = "payment-service" // the CloudEvents source of what this service publishes
	sagaType = "TICKET_PURCHASE"

	// lease is how long a driver has for one step before another may take the saga over: longer than
	// any call that a step makes.
	lease = time.Minute
)

// Store is the database of payment-service.
type Store struct {
	Pool *pgxpool.Pool
}

// Create stores a new order and leases its saga to the caller. If the user has used the idempotency key
// before, it gives the order of that time and false instead. It returns order.ErrKeyReused when that
// order was another request, as their hashes tell.
func (s Store) Create(ctx context.Context, o order.Order, idempotencyKey string, requestHash []byte) (id uuid.UUID, created bool, err error) {
	err = postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		id, created = o.ID, true
		err := tx.QueryRow(ctx, `
			INSERT INTO orders (id, number, user_id, event_id, holder_name, idempotency_key, request_hash,
			                    reservation_id, payment_method, payment_token, leased_until)
			VALUES ($1, next_order_number(), $2, $3, $4, $5, $6, $7, $8, $9, now() + $10)
			ON CONFLICT ON CONSTRAINT orders_idempotency_key DO NOTHING RETURNING id`,
			o.ID, o.UserID, o.EventID, o.HolderName, idempotencyKey, requestHash,
			o.ReservationID, o.Method, o.PaymentToken, lease).Scan(nil)
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
		for _, i := range o.Items {
			if _, err := tx.Exec(ctx, `INSERT INTO order_items (order_id, ticket_type_id, quantity) VALUES ($1, $2, $3)`,
				o.ID, i.TicketTypeID, i.Quantity); err != nil {
				return fmt.Errorf("create order item: %w", err)
			}
		}
		return recordTx(ctx, tx, o.ID, "ORDER_CREATED", order.SagaCompleted,
			map[string]any{"reservationId": o.ReservationID})
	})
	return id, created, err
}

// Lease takes the saga of one order, if nobody else holds it.
func (s Store) Lease(ctx context.Context, id uuid.UUID) (bool, error) {
	tag, err := s.Pool.Exec(ctx, `
		UPDATE orders SET leased_until = now() + $2 WHERE id = $1 AND leased_until < now()`, id, lease)
	if err != nil {
		return false, fmt.Errorf("lease order %s: %w", id, err)
	}
	return tag.RowsAffected() == 1, nil
}

// LeaseDue takes up to limit sagas that stopped moving and are due to be resumed. Replicas pass over
// each other's.
func (s Store) LeaseDue(ctx context.Context, limit int) ([]uuid.UUID, error) {
	rows, err := s.Pool.Query(ctx, `
		UPDATE orders SET leased_until = now() + $2
		WHERE id IN (
			SELECT id FROM orders
			WHERE step NOT IN ('DONE', 'FULFIL') AND resume_at <= now() AND leased_until < now()
			ORDER BY resume_at LIMIT $1 FOR UPDATE SKIP LOCKED)
		RETURNING id`, limit, lease)
	if err != nil {
		return nil, fmt.Errorf("lease due orders: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("lease due orders: %w", err)
	}
	return ids, nil
}

// Postpone ends the lease of a step that got no answer. The sweeper comes back to it later each time:
// after 5 s, 10 s, 20 s and so on, five minutes at most. A reserve it leaves alone for a minute, in which
// the buyer may come back for it.
func (s Store) Postpone(ctx context.Context, id uuid.UUID) error {
	_, err := s.Pool.Exec(ctx, `
		UPDATE orders SET leased_until = '-infinity', tries = tries + 1,
		    resume_at = now() + CASE WHEN step = 'RESERVE' THEN interval '1 minute'
		        ELSE least(interval '5 seconds' * 2 ^ least(tries, 10), interval '5 minutes') END
		WHERE id = $1`, id)
	if err != nil {
		return fmt.Errorf("postpone order %s: %w", id, err)
	}
	return nil
}

// moveTx takes an order from one step to the next and extends its driver's lease to that; a step that no
// driver stands ready for is free to take. What else changes is set's to say, whose arguments start at
// $5. It reports false when the order stands elsewhere.
func moveTx(ctx context.Context, tx pgx.Tx, id uuid.UUID, from, to order.Step, set string, args ...any) (bool, error) {
	tag, err := tx.Exec(ctx, `
		UPDATE orders SET step = $3, tries = 0, resume_at = now(),
		    leased_until = CASE WHEN $3 IN ('FULFIL', 'REFUND', 'DONE') THEN '-infinity' ELSE now() + $4::interval END`+set+`
		WHERE id = $1 AND step = $2`, append([]any{id, from, to, lease}, args...)...)
	if err != nil {
		return false, fmt.Errorf("order %s from %s to %s: %w", id, from, to, err)
	}
	return tag.RowsAffected() == 1, nil
}

// recordTx adds a line to the saga's history.
func recordTx(ctx context.Context, tx pgx.Tx, id uuid.UUID, eventType string, status order.SagaStatus, payload any) error {
	body, err := json.Marshal(payload)
	if err != nil {
		return fmt.Errorf("saga event %s: %w", eventType, err)
	}
	if _, err := tx.Exec(ctx, `
		INSERT INTO saga_events (saga_id, saga_type, event_type, payload, status) VALUES ($1, $2, $3, $4, $5)`,
		id, sagaType, eventType, body, status); err != nil {
		return fmt.Errorf("saga event %s: %w", eventType, err)
	}
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
		for _, i := range items {
			if _, err := tx.Exec(ctx, `
				UPDATE order_items SET unit_price_minor = $3 WHERE order_id = $1 AND ticket_type_id = $2`,
				id, i.TicketTypeID, i.UnitPrice.Minor); err != nil {
				return fmt.Errorf("price of item: %w", err)
			}
		}
		if err := recordTx(ctx, tx, id, "TICKETS_RESERVED", order.SagaCompleted,
			map[string]any{"expiresAt": expiresAt.UTC(), "totalAmount": total.Decimal(), "currency": total.Currency}); err != nil {
			return err
		}
		return recordTx(ctx, tx, id, "PAYMENT_STARTED", order.SagaPending,
			map[string]any{"attemptKey": order.Order{ID: id}.AttemptKey()})
	})
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
	return moveTx(ctx, tx, id, from, to,
		`, status = 'FAILED', payment_token = NULL, failure_code = $5, failure_message = $6, retryable = $7`,
		f.Code, f.Message, f.Retryable)
}

// Declined moves CHARGE to RELEASE and announces PAYMENT_FAILED, at which ticket-service releases the
// hold too, should our own call be lost.
func (s Store) Declined(ctx context.Context, o order.Order, f order.Failure) error {
	return postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		moved, err := failTx(ctx, tx, o.ID, order.Charge, order.Release, f)
		if err != nil || !moved {
			return err
		}
		if err := recordTx(ctx, tx, o.ID, "PAYMENT_DECLINED", order.SagaFailed, map[string]string{"reason": f.Code}); err != nil {
			return err
		}
		return messaging.AddTx(ctx, tx, source, events.PaymentFailed{
			OrderID: o.ID, UserID: o.UserID, EventID: o.EventID, ReservationID: o.ReservationID,
			FailureReason: f.Code, ErrorMessage: f.Message, Retryable: f.Retryable,
		})
	})
}

// Paid moves CHARGE to FULFIL and announces PAYMENT_COMPLETED, at which ticket-service makes the tickets.
func (s Store) Paid(ctx context.Context, o order.Order, transactionID string) error {
	return postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		moved, err := moveTx(ctx, tx, o.ID, order.Charge, order.Fulfil,
			`, status = 'COMPLETED', completed_at = now(), payment_token = NULL, transaction_id = $5`, transactionID)
		if err != nil || !moved {
			return err
		}
		if err := recordTx(ctx, tx, o.ID, "PAYMENT_COMPLETED", order.SagaCompleted,
			map[string]string{"transactionId": transactionID}); err != nil {
			return err
		}
		announced := events.PaymentCompleted{
			OrderID: o.ID, OrderNumber: o.Number, UserID: o.UserID, EventID: o.EventID, ReservationID: o.ReservationID,
			HolderName: o.HolderName, TotalAmount: o.Total.Decimal(), Currency: o.Total.Currency,
			PaymentMethod: string(o.Method), TransactionID: transactionID,
		}
		for _, i := range o.Items {
			announced.Items = append(announced.Items, events.OrderItem{
				TicketTypeID: i.TicketTypeID, Quantity: i.Quantity, UnitPrice: i.UnitPrice.Decimal(),
			})
		}
		return messaging.AddTx(ctx, tx, source, announced)
	})
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

// Fulfilled is TICKETS_GENERATED's effect, once per message: FULFIL to its end.
func (s Store) Fulfilled(ctx context.Context, messageID uuid.UUID, generated events.TicketsGenerated) error {
	return postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		if first, err := messaging.FirstTx(ctx, tx, messageID, generated.Type()); err != nil || !first {
			return err
		}
		moved, err := moveTx(ctx, tx, generated.OrderID, order.Fulfil, order.Done, "")
		if err != nil || !moved {
			return err
		}
		return recordTx(ctx, tx, generated.OrderID, generated.Type(), order.SagaCompleted,
			map[string]int{"tickets": len(generated.Tickets)})
	})
}

// Unfulfillable is TICKET_GENERATION_FAILED's effect, once per message: FULFIL to REFUND. The intent to
// refund is thereby stored; the sweeper carries it out.
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
		return recordTx(ctx, tx, failed.OrderID, failed.Type(), order.SagaFailed, map[string]string{"reason": failed.Reason})
	})
}

// Refunded moves REFUND to its end and announces REFUND_PROCESSED.
func (s Store) Refunded(ctx context.Context, o order.Order, refundID string) error {
	return postgres.InTx(ctx, s.Pool, func(tx pgx.Tx) error {
		moved, err := moveTx(ctx, tx, o.ID, order.Refund, order.Done, `, status = 'REFUNDED'`)
		if err != nil || !moved {
			return err
		}
		if err := recordTx(ctx, tx, o.ID, "PAYMENT_REFUNDED", order.SagaCompensated, map[string]string{"refundId": refundID}); err != nil {
			return err
		}
		return messaging.AddTx(ctx, tx, source, events.RefundProcessed{
			OrderID: o.ID, UserID: o.UserID, EventID: o.EventID, RefundID: refundID,
			Amount: o.Total.Decimal(), RefundedTotal: o.Total.Decimal(), Currency: o.Total.Currency,
			Reason: o.Failure.Code, OrderRefunded: true,
		})
	})
}

// Order gives an order. It returns order.ErrNotFound.
func (s Store) Order(ctx context.Context, id uuid.UUID) (order.Order, error) {
	o := order.Order{ID: id}
	var (
		total                      *int64
		currency                   *string
		token, transaction         *string
		code, message              *string
		chargeSince, completedTime *time.Time
	)
	err := s.Pool.QueryRow(ctx, `
		SELECT number, user_id, event_id, holder_name, status, step, reservation_id, total_minor, currency,
		       payment_method, payment_token, charge_since, coalesce(now() - charge_since, '0'),
		       transaction_id, failure_code, failure_message, retryable, created_at, completed_at
		FROM orders WHERE id = $1`, id).
		Scan(&o.Number, &o.UserID, &o.EventID, &o.HolderName, &o.Status, &o.Step, &o.ReservationID, &total, &currency,
			&o.Method, &token, &chargeSince, &o.ChargeAge,
			&transaction, &code, &message, &o.Failure.Retryable, &o.CreatedAt, &completedTime)
	if errors.Is(err, pgx.ErrNoRows) {
		return o, order.ErrNotFound
	}
	if err != nil {
		return o, fmt.Errorf("order %s: %w", id, err)
	}
	o.Total = money.Of(value(total), money.Currency(value(currency)))
	o.PaymentToken, o.TransactionID = value(token), value(transaction)
	o.Failure.Code, o.Failure.Message = value(code), value(message)
	o.ChargeSince, o.CompletedAt = value(chargeSince), value(completedTime)

	rows, err := s.Pool.Query(ctx, `
		SELECT ticket_type_id, quantity, unit_price_minor FROM order_items WHERE order_id = $1 ORDER BY ticket_type_id`, id)
	if err != nil {
		return o, fmt.Errorf("items of order %s: %w", id, err)
	}
	o.Items, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (order.Item, error) {
		var i order.Item
		var minor *int64
		err := row.Scan(&i.TicketTypeID, &i.Quantity, &minor)
		i.UnitPrice = money.Of(value(minor), o.Total.Currency)
		return i, err
	})
	if err != nil {
		return o, fmt.Errorf("items of order %s: %w", id, err)
	}
	return o, nil
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
