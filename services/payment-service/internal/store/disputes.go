package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/messaging/outbox"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
)

// Disputed records what the card processor reports about a dispute, and reports whether that is new. If an order has
// the transaction, its history and PAYMENT_DISPUTED report a new status. Otherwise the dispute is stored, and
// MatchDisputes finds its order later. An inquiry is not recorded, because the bank takes no money for it.
//
// Reports may be repeated and arrive in any order: a dispute that was won or lost does not become open again. A bank
// may change its decision, so WON and LOST replace each other.
//
// A dispute that was won releases the refunds that it had stopped, and the refund of a cancelled event.
func (s *Store) Disputed(ctx context.Context, d calls.Dispute) (changed bool, err error) {
	if d.Status == calls.DisputeInquiry {
		return false, nil
	}
	amount, err := d.Amount.In(d.Currency)
	if err != nil {
		return false, fmt.Errorf("amount of dispute %s: %w", d.DisputeID, err)
	}
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		changed, err = disputedTx(ctx, tx, d, amount)
		return err
	})
	return changed, err
}

func disputedTx(ctx context.Context, tx pgx.Tx, d calls.Dispute, amount money.Amount) (changed bool, err error) {
	o, known, err := lockByTransactionTx(ctx, tx, d.TransactionID)
	if err != nil {
		return false, err
	}
	var before calls.DisputeStatus
	var revision int
	if err := tx.QueryRow(ctx, `
		INSERT INTO disputes (id, transaction_id, amount_minor, currency, reason, status, opened_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (id) DO UPDATE SET checked_at = now()
		RETURNING status, revision`,
		d.DisputeID, d.TransactionID, amount.Minor, amount.Currency, d.Reason, d.Status, d.OpenedAt).
		Scan(&before, &revision); err != nil {
		return false, fmt.Errorf("dispute %s: %w", d.DisputeID, err)
	}
	if d.Status == calls.DisputeOpen {
		d.Status = before // a decision is never replaced
	}
	announced := before
	if revision == 0 {
		announced = ""
	}
	if d.Status == announced || !known && d.Status == before {
		return false, nil
	}
	var orderID *uuid.UUID
	if known {
		orderID = &o.ID
		revision++
	}
	if _, err := tx.Exec(ctx, `UPDATE disputes SET status = $2, order_id = $3, revision = $4 WHERE id = $1`,
		d.DisputeID, d.Status, orderID, revision); err != nil {
		return false, fmt.Errorf("dispute %s: %w", d.DisputeID, err)
	}
	if !known {
		return true, nil
	}
	if amount.Currency != o.Total.Currency { // the order has one currency only, as have the figures of its event
		amount = o.Total
	}
	return true, announceDisputeTx(ctx, tx, o, events.PaymentDisputed{
		DisputeID: d.DisputeID, OrderID: o.ID, UserID: o.UserID, EventID: o.EventID,
		Amount: amount.Decimal(), Currency: amount.Currency, Reason: d.Reason,
		Status: string(d.Status), PreviousStatus: string(announced), Revision: revision,
	})
}

// announceDisputeTx records and publishes a new status of a dispute of a locked order, and continues what a dispute
// that is not open any more had stopped.
func announceDisputeTx(ctx context.Context, tx pgx.Tx, o order.Order, disputed events.PaymentDisputed) error {
	if _, err := tx.Exec(ctx, `
		UPDATE orders SET (dispute, disputed_minor) = (
			SELECT CASE WHEN bool_or(status = 'OPEN') THEN 'OPEN' WHEN bool_or(status = 'LOST') THEN 'LOST' ELSE 'WON' END,
			       coalesce(sum(CASE WHEN currency = $2 THEN amount_minor ELSE $3 END) FILTER (WHERE status <> 'WON'), 0)
			FROM disputes WHERE order_id = $1)
		WHERE id = $1`, o.ID, o.Total.Currency, o.Total.Minor); err != nil {
		return fmt.Errorf("disputes of order %s: %w", o.ID, err)
	}
	status := map[string]order.SagaStatus{
		events.DisputeOpen: order.SagaPending, events.DisputeWon: order.SagaCompleted, events.DisputeLost: order.SagaFailed,
	}[disputed.Status]
	if err := recordSagaTx(ctx, tx, disputeSaga, o.ID, "DISPUTE_"+disputed.Status, status, disputeReported{
		DisputeID: disputed.DisputeID, Amount: disputed.Amount, Currency: disputed.Currency, Reason: disputed.Reason,
	}); err != nil {
		return err
	}
	if err := outbox.AddTx(ctx, tx, source, disputed); err != nil {
		return err
	}
	o, err := lockTx(ctx, tx, o.ID)
	if err != nil || o.Dispute == calls.DisputeOpen {
		return err
	}
	if o.Dispute == calls.DisputeWon {
		if err := releaseRefundsTx(ctx, tx, o); err != nil {
			return err
		}
	}
	return refundIfCancelledTx(ctx, tx, o.ID)
}

// releaseRefundsTx repeats the refunds that failed because of a dispute which was won. Meanwhile something else may
// have been refunded, so that one of them is not possible any more.
func releaseRefundsTx(ctx context.Context, tx pgx.Tx, o order.Order) error {
	stopped, err := failedRefundsTx(ctx, tx, o, disputedRefund)
	if err != nil {
		return err
	}
	for _, failed := range stopped {
		err := retryRefundTx(ctx, tx, o, failed)
		if err != nil && !errors.Is(err, refund.ErrNotRefundable) && !errors.Is(err, refund.ErrExceedsPayment) {
			return err
		}
	}
	return nil
}

// disputedRefund is the SQL condition for a refund r that a dispute stopped and that was not repeated since.
const disputedRefund = `(r.status = 'FAILED' AND r.failure_code = '` + calls.FailureChargeDisputed + `'
	AND NOT EXISTS (SELECT FROM refunds again WHERE again.retry_of = r.id))`

// RefundDisputed handles a refund at REFUND that the card processor refuses because of a dispute. If that is known to
// be open or lost, it moves the refund to DONE with the status FAILED and returns true. It sends no alert: the dispute
// was reported, the bank has returned the money if it is lost, and Disputed repeats the refund if it is won. If no such
// dispute is known, it changes nothing and returns false.
func (s *Store) RefundDisputed(ctx context.Context, r refund.Refund) (stopped bool, err error) {
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		stopped = false
		o, err := lockTx(ctx, tx, r.OrderID)
		if err != nil || o.Dispute != calls.DisputeOpen && o.Dispute != calls.DisputeLost {
			return err
		}
		f := refund.Failure{Code: calls.FailureChargeDisputed, Message: "The payment is disputed at the bank"}
		stopped, err = moveRefundTx(ctx, tx, r.ID, refund.ReturnMoney, refund.Done,
			`, status = 'FAILED', failure_code = $5, failure_message = $6`, f.Code, f.Message)
		if err != nil || !stopped {
			return err
		}
		if err := undoRefundTx(ctx, tx, r, f); err != nil {
			return err
		}
		_, err = moveTx(ctx, tx, o.ID, order.Refund, order.Done, "")
		return err
	})
	return stopped, err
}

// lockByTransactionTx returns the order with the transaction and locks it until tx ends. It returns false if there is
// none yet.
func lockByTransactionTx(ctx context.Context, tx pgx.Tx, transactionID string) (order.Order, bool, error) {
	var id uuid.UUID
	err := tx.QueryRow(ctx, `SELECT id FROM orders WHERE transaction_id = $1`, transactionID).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return order.Order{}, false, nil
	}
	if err != nil {
		return order.Order{}, false, fmt.Errorf("order of transaction %s: %w", transactionID, err)
	}
	o, err := lockTx(ctx, tx, id)
	return o, err == nil, err
}

// MatchDisputes applies up to limit disputes that were reported before their orders were paid.
func (s *Store) MatchDisputes(ctx context.Context, limit int) error {
	rows, err := s.pool.Query(ctx, `
		SELECT d.id, d.transaction_id, d.amount_minor, d.currency, d.reason, d.status, d.opened_at
		FROM disputes d JOIN orders o ON o.transaction_id = d.transaction_id
		WHERE d.order_id IS NULL LIMIT $1`, limit)
	if err != nil {
		return fmt.Errorf("disputes without an order: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (calls.Dispute, error) {
		var d calls.Dispute
		var minor int64
		err := row.Scan(&d.DisputeID, &d.TransactionID, &minor, &d.Currency, &d.Reason, &d.Status, &d.OpenedAt)
		d.Amount = money.Of(minor, d.Currency).Decimal()
		return d, err
	})
	if err != nil {
		return fmt.Errorf("disputes without an order: %w", err)
	}
	for _, d := range found {
		if _, err := s.Disputed(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// pollInterval is the time between two readings of the list of disputes. A webhook usually reports a dispute sooner.
const pollInterval = 2 * time.Minute

// LeaseDisputePoll leases to the caller the reading of a page of the list of disputes, which are to be read since a
// time and after a dispute. It returns false if another replica reads it or if it was read a short time ago.
func (s *Store) LeaseDisputePoll(ctx context.Context) (since time.Time, after string, leased bool, err error) {
	err = s.pool.QueryRow(ctx, `
		UPDATE dispute_polls
		SET next_at = now() + $1::interval, started_at = CASE after WHEN '' THEN now() ELSE started_at END
		WHERE next_at <= now() RETURNING since, after`, pollInterval).Scan(&since, &after)
	if errors.Is(err, pgx.ErrNoRows) {
		return since, after, false, nil
	}
	if err != nil {
		return since, after, false, fmt.Errorf("lease the list of disputes: %w", err)
	}
	return since, after, true, nil
}

// DisputesPolled records that a page was read and all its disputes are stored. The next page begins after the dispute
// next; if that is empty, the list was read completely. The following reading repeats an hour of it, because clocks
// differ.
func (s *Store) DisputesPolled(ctx context.Context, next string) error {
	if _, err := s.pool.Exec(ctx, `
		UPDATE dispute_polls SET after = $1,
		    since = CASE $1 WHEN '' THEN greatest(since, started_at - interval '1 hour') ELSE since END,
		    next_at = CASE $1 WHEN '' THEN next_at ELSE now() END`, next); err != nil {
		return fmt.Errorf("record the reading of disputes: %w", err)
	}
	return nil
}

// DisputePollFailed makes the next reading begin with the first page.
func (s *Store) DisputePollFailed(ctx context.Context) error {
	if _, err := s.pool.Exec(ctx, `UPDATE dispute_polls SET after = ''`); err != nil {
		return fmt.Errorf("restart the reading of disputes: %w", err)
	}
	return nil
}

// LeaseOpenDisputes leases to the caller up to limit open disputes that are due to be looked up, and returns their
// transactions. Webhooks of decisions may be lost, and the list shows disputes by the time at which they were opened. A
// dispute is looked up whenever its age has grown by a tenth, at most every two minutes and at least every six hours.
func (s *Store) LeaseOpenDisputes(ctx context.Context, limit int) ([]string, error) {
	rows, err := s.pool.Query(ctx, `
		UPDATE disputes SET checked_at = now()
		WHERE id IN (
			SELECT id FROM disputes
			WHERE status = 'OPEN' AND checked_at <= now() - interval '2 minutes'
			    AND checked_at <= now() - least((now() - opened_at) / 10, interval '6 hours')
			ORDER BY checked_at LIMIT $1 FOR UPDATE SKIP LOCKED)
		RETURNING transaction_id`, limit)
	if err != nil {
		return nil, fmt.Errorf("lease open disputes: %w", err)
	}
	transactions, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("lease open disputes: %w", err)
	}
	return transactions, nil
}
