package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
)

// CreateRefund admits a refund that a person requested, stores it with the trace of ctx and leases its saga to the
// caller. The order is locked, so that concurrent refunds of it are admitted one after the other. If the person has
// used the idempotency key for this order before, CreateRefund returns the id of that refund and false instead. It
// returns order.ErrNotFound, order.ErrKeyReused and the errors of refund.Ledger's Admit.
func (s *Store) CreateRefund(
	ctx context.Context, r refund.Refund, idempotencyKey string, requestHash []byte,
) (id uuid.UUID, created bool, err error) {
	return s.createRefund(ctx, r, idempotencyKey, requestHash, func(pgx.Tx, order.Order) error { return nil })
}

// createRefund is CreateRefund with an additional check of the locked order.
func (s *Store) createRefund(
	ctx context.Context, r refund.Refund, idempotencyKey string, requestHash []byte,
	check func(pgx.Tx, order.Order) error,
) (id uuid.UUID, created bool, err error) {
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		id, created = r.ID, true
		o, err := lockTx(ctx, tx, r.OrderID)
		if err != nil {
			return err
		}
		earlier, repeated, err := earlierRefund(ctx, tx, r.OrderID, r.RequestedBy, idempotencyKey, requestHash)
		if err != nil {
			return err
		}
		if repeated {
			id, created = earlier, false
			return nil
		}
		if err := check(tx, o); err != nil {
			return err
		}
		ledger, err := ledgerTx(ctx, tx, o)
		if err != nil {
			return err
		}
		admitted, err := ledger.Admit(r)
		if err != nil {
			return err
		}
		admitted.Trace = telemetry.From(ctx)
		if err := insertRefundTx(ctx, tx, admitted); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `
			UPDATE refunds SET requested_by = $2, idempotency_key = $3, request_hash = $4, leased_until = now() + $5
			WHERE id = $1`, r.ID, r.RequestedBy, idempotencyKey, requestHash, leaseDuration); err != nil {
			return fmt.Errorf("key of refund %s: %w", r.ID, err)
		}
		return nil
	})
	return id, created, err
}

// EarlierRefund returns the refund of an order that a person requested with the idempotency key, and false if there is
// none. It returns order.ErrKeyReused if the request was another one.
func (s *Store) EarlierRefund(
	ctx context.Context, orderID, person uuid.UUID, idempotencyKey string, requestHash []byte,
) (id uuid.UUID, found bool, err error) {
	return earlierRefund(ctx, s.pool, orderID, person, idempotencyKey, requestHash)
}

// querier is a pool or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func earlierRefund(
	ctx context.Context, db querier, orderID, person uuid.UUID, idempotencyKey string, requestHash []byte,
) (id uuid.UUID, found bool, err error) {
	var sameRequest bool
	err = db.QueryRow(ctx, `
		SELECT id, request_hash = $4 FROM refunds
		WHERE order_id = $1 AND requested_by = $2 AND idempotency_key = $3`,
		orderID, person, idempotencyKey, requestHash).Scan(&id, &sameRequest)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return uuid.Nil, false, nil
	case err != nil:
		return uuid.Nil, false, fmt.Errorf("earlier refund of order %s: %w", orderID, err)
	case !sameRequest:
		return uuid.Nil, false, order.ErrKeyReused
	}
	return id, true, nil
}

// ledgerTx returns the ledger of a locked order.
func ledgerTx(ctx context.Context, tx pgx.Tx, o order.Order) (refund.Ledger, error) {
	l := refund.Ledger{Order: o, Refunding: money.Of(0, o.Total.Currency)}
	if err := tx.QueryRow(ctx, `
		SELECT coalesce(sum(amount_minor), 0)::bigint, coalesce(bool_or(whole OR amount_minor > 0), false)
		FROM refunds WHERE order_id = $1 AND status <> 'FAILED'`,
		o.ID).Scan(&l.Refunding.Minor, &l.HasRefund); err != nil {
		return l, fmt.Errorf("refunds of order %s: %w", o.ID, err)
	}
	rows, err := tx.Query(ctx, `
		SELECT t.ticket_id, i.unit_price_minor, t.refund_id IS NOT NULL
		FROM order_tickets t JOIN order_items i USING (order_id, ticket_type_id)
		WHERE order_id = $1 ORDER BY t.ticket_id`, o.ID)
	if err != nil {
		return l, fmt.Errorf("tickets of order %s: %w", o.ID, err)
	}
	l.Tickets, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (refund.Ticket, error) {
		t := refund.Ticket{Price: money.Of(0, o.Total.Currency)}
		err := row.Scan(&t.ID, &t.Price.Minor, &t.Refunded)
		return t, err
	})
	if err != nil {
		return l, fmt.Errorf("tickets of order %s: %w", o.ID, err)
	}
	return l, nil
}

// insertRefundTx stores the intent of a refund. A constraint of the database rejects it if the refunds of the order
// would exceed its charge.
func insertRefundTx(ctx context.Context, tx pgx.Tx, r refund.Refund) error {
	if _, err := tx.Exec(ctx, `
		INSERT INTO refunds (id, order_id, whole, ticket_ids, keep_used, amount_minor, reason, step,
		    correlation_id, traceparent, holder_id)
		VALUES ($1, $2, $3, coalesce($4::uuid[], '{}'), $5, $6, $7, $8, $9, $10, $11)`,
		r.ID, r.OrderID, r.Whole, r.TicketIDs, r.KeepUsed, r.Amount.Minor, r.Reason, r.Step,
		r.Trace.CorrelationID, r.Trace.Parent, uuid.NullUUID{UUID: r.HolderID, Valid: r.HolderID != uuid.Nil}); err != nil {
		return fmt.Errorf("create refund: %w", err)
	}
	if _, err := tx.Exec(ctx, `UPDATE orders SET refunding_minor = refunding_minor + $2 WHERE id = $1`,
		r.OrderID, r.Amount.Minor); err != nil {
		return fmt.Errorf("refunding sum of order %s: %w", r.OrderID, err)
	}
	if _, err := tx.Exec(ctx, `UPDATE order_tickets SET refund_id = $2 WHERE order_id = $1 AND ticket_id = ANY ($3)`,
		r.OrderID, r.ID, r.TicketIDs); err != nil {
		return fmt.Errorf("tickets of refund: %w", err)
	}
	return recordSagaTx(ctx, tx, refundSaga, r.OrderID, "REFUND_REQUESTED", order.SagaPending,
		refundRequested{detailsOf(r), r.Reason, len(r.TicketIDs)})
}

// refundAllTx creates a refund of a whole order that has no other refund. The refund begins at step and has the trace
// of the purchase.
func refundAllTx(ctx context.Context, tx pgx.Tx, id uuid.UUID, reason string, step refund.Step) error {
	o, err := lockTx(ctx, tx, id)
	if err != nil {
		return err
	}
	return insertRefundTx(ctx, tx, refund.Refund{
		ID: uuid.New(), OrderID: id, Whole: true, Amount: o.Total, Reason: reason, Step: step, Trace: o.Trace,
	})
}

// Refund returns a refund. It returns order.ErrNotFound if there is none with this id.
func (s *Store) Refund(ctx context.Context, id uuid.UUID) (refund.Refund, error) {
	found, err := s.refunds(ctx, `WHERE r.id = $1`, id)
	if err != nil {
		return refund.Refund{}, err
	}
	if len(found) == 0 {
		return refund.Refund{}, order.ErrNotFound
	}
	return found[0], nil
}

// RefundsOf returns a page of an order's refunds, the oldest first, and one more refund if there is a next page.
func (s *Store) RefundsOf(ctx context.Context, orderID uuid.UUID, page paging.Page) ([]refund.Refund, error) {
	return s.refunds(ctx, `
		WHERE r.order_id = $1 AND (r.created_at, r.id) > (coalesce($2::timestamptz, '-infinity'), $3)
		ORDER BY r.created_at, r.id LIMIT $4 + 1`, orderID, page.After, page.AfterID, page.Limit)
}

// refunds returns the refunds that a clause selects.
func (s *Store) refunds(ctx context.Context, clause string, args ...any) ([]refund.Refund, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT r.id, r.order_id, r.requested_by, r.holder_id, r.whole, r.ticket_ids, r.keep_used,
		       r.amount_minor, o.currency, r.reason, r.status, r.step, r.failure_code, r.failure_message,
		       r.correlation_id, r.traceparent, r.created_at,
		       coalesce(o.transaction_id, '')
		FROM refunds r JOIN orders o ON o.id = r.order_id `+clause, args...)
	if err != nil {
		return nil, fmt.Errorf("refunds: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (refund.Refund, error) {
		var r refund.Refund
		var person, holder *uuid.UUID
		err := row.Scan(&r.ID, &r.OrderID, &person, &holder, &r.Whole, &r.TicketIDs, &r.KeepUsed,
			&r.Amount.Minor, &r.Amount.Currency, &r.Reason, &r.Status, &r.Step, &r.Failure.Code, &r.Failure.Message,
			&r.Trace.CorrelationID, &r.Trace.Parent, &r.CreatedAt, &r.TransactionID)
		r.RequestedBy, r.HolderID = value(person), value(holder)
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("refunds: %w", err)
	}
	return found, nil
}
