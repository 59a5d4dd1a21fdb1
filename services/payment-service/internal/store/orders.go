package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
)

// orderColumns are the columns that scanOrder reads, in its order.
const orderColumns = `id, number, user_id, event_id, holder_name, status, step, reservation_id,
	total_minor, refunded_minor, currency, payment_method, payment_token,
	charge_since, coalesce(now() - charge_since, '0'), asking_since IS NOT NULL, coalesce(return_url, ''),
	action_client_secret, action_redirect_url,
	transaction_id, failure_code, failure_message, retryable,
	coalesce(expected_total, ''), coalesce(current_total_minor, 0), coalesce(current_currency, ''),
	coalesce(dispute, ''), disputed_minor,
	correlation_id, traceparent, created_at, completed_at`

// scanOrder reads an order without its items.
func scanOrder(row pgx.CollectableRow) (order.Order, error) {
	var o order.Order
	var (
		total                      *int64
		refunded, disputed         int64
		currency                   *string
		token, transaction         *string
		secret, redirect           *string
		code, message              *string
		chargeSince, completedTime *time.Time
	)
	err := row.Scan(&o.ID, &o.Number, &o.UserID, &o.EventID, &o.HolderName, &o.Status, &o.Step, &o.ReservationID,
		&total, &refunded, &currency, &o.Method, &token,
		&chargeSince, &o.ChargeAge, &o.Settling, &o.ReturnURL, &secret, &redirect,
		&transaction, &code, &message, &o.Failure.Retryable,
		&o.ExpectedTotal, &o.Failure.CurrentTotal.Minor, &o.Failure.CurrentTotal.Currency,
		&o.Dispute, &disputed,
		&o.Trace.CorrelationID, &o.Trace.Parent, &o.CreatedAt, &completedTime)
	o.Total = money.Of(value(total), money.Currency(value(currency)))
	o.Refunded, o.Disputed = money.Of(refunded, o.Total.Currency), money.Of(disputed, o.Total.Currency)
	o.PaymentToken, o.TransactionID = value(token), value(transaction)
	o.Failure.Code, o.Failure.Message = value(code), value(message)
	if secret != nil {
		o.Action = &calls.PaymentAction{ClientSecret: *secret, RedirectURL: value(redirect)}
	}
	o.ChargeSince, o.CompletedAt = value(chargeSince), value(completedTime)
	return o, err
}

// value returns what p points to, or the zero value if p is nil, which stands for NULL.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// Order returns an order. It returns order.ErrNotFound.
func (s *Store) Order(ctx context.Context, id uuid.UUID) (order.Order, error) {
	found, err := s.orders(ctx, `WHERE id = $1`, id)
	if err != nil {
		return order.Order{}, err
	}
	if len(found) == 0 {
		return order.Order{}, order.ErrNotFound
	}
	return found[0], nil
}

// OrdersOf returns a page of a user's orders, the newest first, and one more order if there is a next page.
func (s *Store) OrdersOf(ctx context.Context, user uuid.UUID, page paging.Page) ([]order.Order, error) {
	return s.orders(ctx, `
		WHERE user_id = $1 AND (created_at, id) < (coalesce($2::timestamptz, 'infinity'), $3)
		ORDER BY created_at DESC, id DESC LIMIT $4 + 1`, user, page.After, page.AfterID, page.Limit)
}

// orders returns the orders that a clause selects, with their items. It reads them and their items in two queries
// without a transaction. Items change only when they are reserved, and an order that was read before that does not show
// prices.
func (s *Store) orders(ctx context.Context, clause string, args ...any) ([]order.Order, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+orderColumns+` FROM orders `+clause, args...)
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
	rows, err = s.pool.Query(ctx, `
		SELECT order_id, ticket_type_id, name, quantity, coalesce(unit_price_minor, 0) FROM order_items
		WHERE order_id = ANY ($1) ORDER BY order_id, ticket_type_id`, ids)
	if err != nil {
		return nil, fmt.Errorf("items of orders: %w", err)
	}
	var id uuid.UUID
	var item order.Item
	_, err = pgx.ForEachRow(rows, []any{
		&id, &item.TicketTypeID, &item.Name, &item.Quantity, &item.UnitPrice.Minor,
	}, func() error {
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

// lockTx returns an order without its items and locks it until tx ends. It returns order.ErrNotFound.
func lockTx(ctx context.Context, tx pgx.Tx, id uuid.UUID) (order.Order, error) {
	rows, err := tx.Query(ctx, `SELECT `+orderColumns+` FROM orders WHERE id = $1 FOR UPDATE`, id)
	if err != nil {
		return order.Order{}, fmt.Errorf("lock order %s: %w", id, err)
	}
	o, err := pgx.CollectExactlyOneRow(rows, scanOrder)
	if errors.Is(err, pgx.ErrNoRows) {
		return o, order.ErrNotFound
	}
	if err != nil {
		return o, fmt.Errorf("lock order %s: %w", id, err)
	}
	return o, nil
}
