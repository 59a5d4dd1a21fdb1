// Package store keeps orders, their refunds and the history of both sagas in PostgreSQL. Each exported method is one
// transaction.
//
// # Steps
//
// The methods that move a saga on (Reserved, Paid, RefundFailed, ...) are named after the outcome that they record.
// Each names the step that it moves from. If the order or refund is at another step, the method changes nothing, so a
// second driver or a late response is harmless. The new step, its saga_events and the events that it publishes are
// committed in one transaction. A method that changes an order and a refund of it locks the order first.
//
// # Leases
//
// A driver works on an order or refund while it holds the lease, which is the column leased_until. The column resume_at
// is when the sweeper takes up a saga that has no driver. Both are compared with the database's clock, which all
// replicas share.
package store

import (
	"context"
	"embed"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the migrations that create this service's tables.
func Migrations() postgres.Migrations {
	return postgres.Embedded(migrations, "payment_service_version")
}

const (
	source = "payment-service" // the CloudEvents source of the events that this service publishes

	// The types of sagas in saga_events.
	purchaseSaga = "TICKET_PURCHASE"
	refundSaga   = "ORDER_REFUND"
	disputeSaga  = "PAYMENT_DISPUTE"
)

// Store is the database of payment-service.
type Store struct {
	pool *pgxpool.Pool
}

// New returns the Store in the database of pool, which has this package's migrations.
func New(pool *pgxpool.Pool) *Store { return &Store{pool: pool} }

// Create stores a new order with the trace of ctx and leases its saga to the caller. If the user has used the
// idempotency key before, Create returns the id of that order and false instead. It returns order.ErrKeyReused if the
// hash of that request was another.
func (s *Store) Create(
	ctx context.Context, o order.Order, idempotencyKey string, requestHash []byte,
) (id uuid.UUID, created bool, err error) {
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		id, created = o.ID, true
		trace := telemetry.From(ctx)
		err := tx.QueryRow(ctx, `
			INSERT INTO orders (id, number, user_id, event_id, holder_name, idempotency_key, request_hash,
			    reservation_id, payment_method, payment_token, return_url, expected_total,
			    correlation_id, traceparent, leased_until)
			VALUES ($1, next_order_number(), $2, $3, $4, $5, $6, $7, $8, $9, nullif($10, ''), nullif($11, ''),
			    $12, $13, now() + $14)
			ON CONFLICT ON CONSTRAINT orders_idempotency_key DO NOTHING RETURNING id`,
			o.ID, o.UserID, o.EventID, o.HolderName, idempotencyKey, requestHash,
			o.ReservationID, o.Method, o.PaymentToken, o.ReturnURL, o.ExpectedTotal,
			trace.CorrelationID, trace.Parent, leaseDuration).Scan(nil)
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
			items.Queue(`INSERT INTO order_items (order_id, ticket_type_id, quantity) VALUES ($1, $2, $3)`,
				o.ID, i.TicketTypeID, i.Quantity)
		}
		if err := tx.SendBatch(ctx, &items).Close(); err != nil {
			return fmt.Errorf("create order items: %w", err)
		}
		return recordTx(ctx, tx, o.ID, "ORDER_CREATED", order.SagaCompleted,
			orderCreated{ReservationID: o.ReservationID})
	})
	return id, created, err
}
