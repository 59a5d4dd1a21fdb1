package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
)

// leaseDuration is how long a driver has for one step before another may take over the saga. It is longer than the
// calls of a step take under the sidecars' policies. A step that takes longer still may be repeated by another driver,
// which is safe because calls are idempotent and only the first outcome is recorded.
const leaseDuration = time.Minute

// The tables with sagas, and the condition for the rows of each that the sweeper has to resume. The conditions name
// constants, so that the planner can use the partial indexes on unfinished rows. A query for one row passes steps as
// arguments instead, because with such a condition the planner might scan the partial index and not look up the id.
const (
	orderTable, unfinishedOrders   = "orders", "step NOT IN ('DONE', 'REFUND')"
	refundTable, unfinishedRefunds = "refunds", "step <> 'DONE'"
)

// Lease leases the saga of an order to the caller. It returns false if another driver holds the lease or no call is
// left to make. An order at FULFIL is left to the sweeper: a buyer who polls it must not keep the sweeper from it.
func (s *Store) Lease(ctx context.Context, id uuid.UUID) (bool, error) {
	return s.lease(ctx, orderTable, id, string(order.Done), string(order.Refund), string(order.Fulfil))
}

// LeaseRefund leases the saga of a refund to the caller. It returns false if another driver holds the lease or the
// refund is done.
func (s *Store) LeaseRefund(ctx context.Context, id uuid.UUID) (bool, error) {
	return s.lease(ctx, refundTable, id, string(refund.Done))
}

// lease leases a saga that is at none of the given steps.
func (s *Store) lease(ctx context.Context, table string, id uuid.UUID, except ...string) (bool, error) {
	tag, err := s.pool.Exec(ctx, `
		UPDATE `+table+` SET leased_until = now() + $2
		WHERE id = $1 AND leased_until < now() AND step <> ALL ($3)`, id, leaseDuration, except)
	if err != nil {
		return false, fmt.Errorf("lease %s of %s: %w", id, table, err)
	}
	return tag.RowsAffected() == 1, nil
}

// LeaseDue leases to the caller up to limit orders that have no driver and are due to be resumed, and returns their
// ids. Concurrent calls skip each other's orders.
func (s *Store) LeaseDue(ctx context.Context, limit int) ([]uuid.UUID, error) {
	return s.leaseDue(ctx, orderTable, unfinishedOrders, limit)
}

// LeaseDueRefunds is LeaseDue for refunds.
func (s *Store) LeaseDueRefunds(ctx context.Context, limit int) ([]uuid.UUID, error) {
	return s.leaseDue(ctx, refundTable, unfinishedRefunds, limit)
}

func (s *Store) leaseDue(ctx context.Context, table, unfinished string, limit int) ([]uuid.UUID, error) {
	rows, err := s.pool.Query(ctx, `
		UPDATE `+table+` SET leased_until = now() + $2
		WHERE id IN (
			SELECT id FROM `+table+`
			WHERE `+unfinished+` AND resume_at <= now() AND leased_until < now()
			ORDER BY resume_at LIMIT $1 FOR UPDATE SKIP LOCKED)
		RETURNING id`, limit, leaseDuration)
	if err != nil {
		return nil, fmt.Errorf("lease due %s: %w", table, err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("lease due %s: %w", table, err)
	}
	return ids, nil
}

// moveTx moves an order from one step to the next and renews its driver's lease for that, or ends the lease if the next
// step has no driver. At FULFIL ticket-service has two minutes before the sweeper announces the order again. An order
// that moves is not stuck any more. The clause set has the other columns that change; its arguments start at $5. moveTx
// returns false if the order is at another step.
func moveTx(
	ctx context.Context, tx pgx.Tx, id uuid.UUID, from, to order.Step, set string, args ...any,
) (bool, error) {
	tag, err := tx.Exec(ctx, `
		UPDATE orders SET step = $3, tries = 0,
		    resume_at = now() + CASE WHEN $3 = 'FULFIL' THEN interval '2 minutes' ELSE interval '0' END,
		    alerted_at = CASE WHEN $3 = 'DONE' THEN alerted_at END,
		    leased_until = CASE WHEN $3 IN ('FULFIL', 'REFUND', 'DONE') THEN '-infinity'
		                        ELSE now() + $4::interval END`+set+`
		WHERE id = $1 AND step = $2`, append([]any{id, from, to, leaseDuration}, args...)...)
	if err != nil {
		return false, fmt.Errorf("move order %s from %s to %s: %w", id, from, to, err)
	}
	return tag.RowsAffected() == 1, nil
}

// moveRefundTx is moveTx for a refund.
func moveRefundTx(
	ctx context.Context, tx pgx.Tx, id uuid.UUID, from, to refund.Step, set string, args ...any,
) (bool, error) {
	tag, err := tx.Exec(ctx, `
		UPDATE refunds SET step = $3, tries = 0, resume_at = now(),
		    leased_until = CASE WHEN $3 = 'DONE' THEN '-infinity' ELSE now() + $4::interval END`+set+`
		WHERE id = $1 AND step = $2`, append([]any{id, from, to, leaseDuration}, args...)...)
	if err != nil {
		return false, fmt.Errorf("move refund %s from %s to %s: %w", id, from, to, err)
	}
	return tag.RowsAffected() == 1, nil
}

// BackOff ends the lease of an order whose step failed and schedules the next attempt: after 5 s, and twice as long
// after each further failure, up to a limit. The limit is 30 s or a tenth of the order's age, whichever is longer, and
// at most five minutes; so a buyer does not wait for long once an outage has ended. A RESERVE is retried after a
// minute, in which the buyer may repeat the request. BackOff changes nothing if the order has moved on.
//
// After order.MaxTries failed releases, BackOff publishes COMPENSATION_FAILED once and returns true. The attempts
// continue.
//
// The back-off is in the database and not in a sidecar's retry policy because it has to survive the process and apply
// to all replicas; see services/decisions/leases-and-a-sweeper.md.
func (s *Store) BackOff(ctx context.Context, o order.Order) (alerted bool, err error) {
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if err := backOffTx(ctx, tx, orderTable, o.ID, string(o.Step)); err != nil {
			return err
		}
		var err error
		alerted, err = alertTx(ctx, tx, purchaseSaga, "RESERVATION_NOT_RELEASED", `
			UPDATE orders SET alerted_at = now()
			WHERE id = $1 AND alerted_at IS NULL AND step = $3 AND tries >= $2
			RETURNING id, reservation_id, step, tries`, o.ID, order.MaxTries, order.Release)
		return err
	})
	return alerted, err
}

// BackOffRefused is BackOff for an order whose step was refused with a code, which the next attempt would be too. After
// order.MaxTries failed attempts there is no further one: BackOffRefused publishes COMPENSATION_FAILED once, with the
// code as the reason, and returns true. Retry makes the order due again. A notice of the card processor or a repeated
// request of the buyer also continues it.
func (s *Store) BackOffRefused(ctx context.Context, o order.Order, code string) (alerted bool, err error) {
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		alerted = false
		if err := backOffTx(ctx, tx, orderTable, o.ID, string(o.Step)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `
			UPDATE orders SET resume_at = 'infinity' WHERE id = $1 AND step = $2 AND tries >= $3`,
			o.ID, o.Step, order.MaxTries); err != nil {
			return fmt.Errorf("end the attempts at order %s: %w", o.ID, err)
		}
		var err error
		alerted, err = alertTx(ctx, tx, purchaseSaga, code, `
			UPDATE orders SET alerted_at = now()
			WHERE id = $1 AND alerted_at IS NULL AND step = $3 AND tries >= $2
			RETURNING id, reservation_id, step, tries`, o.ID, order.MaxTries, o.Step)
		return err
	})
	return alerted, err
}

// BackOffRefund is BackOff for a refund. A refund that is pending at the bank has not failed, so it raises no alert.
func (s *Store) BackOffRefund(ctx context.Context, r refund.Refund, pending bool) (alerted bool, err error) {
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		alerted = false
		if err := backOffTx(ctx, tx, refundTable, r.ID, string(r.Step)); err != nil || pending {
			return err
		}
		reason := "MONEY_NOT_RETURNED"
		if r.Step == refund.CancelTickets {
			reason = "TICKETS_NOT_CANCELLED"
		}
		var err error
		alerted, err = alertTx(ctx, tx, refundSaga, reason, `
			UPDATE refunds r SET alerted_at = now() FROM orders o
			WHERE r.id = $1 AND o.id = r.order_id AND r.alerted_at IS NULL AND r.step <> $3 AND r.tries >= $2
			RETURNING r.order_id, o.reservation_id, r.step, r.tries`, r.ID, order.MaxTries, refund.Done)
		return err
	})
	return alerted, err
}

func backOffTx(ctx context.Context, tx pgx.Tx, table string, id uuid.UUID, step string) error {
	_, err := tx.Exec(ctx, `
		UPDATE `+table+` SET leased_until = '-infinity', tries = tries + 1,
		    resume_at = now() + CASE WHEN step = 'RESERVE' THEN interval '1 minute'
		        ELSE least(interval '5 seconds' * 2 ^ least(tries, 10),
		            greatest(interval '30 seconds', (now() - created_at) / 10), interval '5 minutes') END
		WHERE id = $1 AND step = $2`, id, step)
	if err != nil {
		return fmt.Errorf("back off %s of %s: %w", id, table, err)
	}
	return nil
}
