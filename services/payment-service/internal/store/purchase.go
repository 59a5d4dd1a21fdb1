package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
	"github.com/eventbooking/eventbooking/services/internal/messaging/outbox"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
)

// Reserved moves RESERVE to CHARGE and stores the names and prices of the held tickets. From then on a charge may have
// been made.
func (s *Store) Reserved(
	ctx context.Context, id uuid.UUID, items []order.Item, total money.Amount, expiresAt time.Time,
) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		moved, err := moveTx(ctx, tx, id, order.Reserve, order.Charge,
			`, total_minor = $5, currency = $6, charge_since = now()`, total.Minor, total.Currency)
		if err != nil || !moved {
			return err
		}
		var prices pgx.Batch
		for _, i := range items {
			prices.Queue(`
				UPDATE order_items SET unit_price_minor = $3, name = $4 WHERE order_id = $1 AND ticket_type_id = $2`,
				id, i.TicketTypeID, i.UnitPrice.Minor, i.Name)
		}
		if err := tx.SendBatch(ctx, &prices).Close(); err != nil {
			return fmt.Errorf("prices of items: %w", err)
		}
		if err := recordTx(ctx, tx, id, "TICKETS_RESERVED", order.SagaCompleted, ticketsReserved{
			ExpiresAt: expiresAt.UTC(), TotalAmount: total.Decimal(), Currency: total.Currency,
		}); err != nil {
			return err
		}
		return recordTx(ctx, tx, id, "PAYMENT_STARTED", order.SagaPending,
			chargeAttempt{AttemptKey: order.Order{ID: id}.AttemptKey()})
	})
}

// StopCharging records that an order at CHARGE is not charged any more from now on. It changes nothing if that is
// recorded already.
func (s *Store) StopCharging(ctx context.Context, id uuid.UUID) error {
	if _, err := s.pool.Exec(ctx, `
		UPDATE orders SET asking_since = now() WHERE id = $1 AND step = $2 AND asking_since IS NULL`,
		id, order.Charge); err != nil {
		return fmt.Errorf("stop charging order %s: %w", id, err)
	}
	return nil
}

// AwaitBuyer stores what the buyer has to do to complete the charge of an order at CHARGE. It changes nothing if that
// is stored already.
func (s *Store) AwaitBuyer(ctx context.Context, o order.Order, action calls.PaymentAction) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			UPDATE orders SET action_client_secret = $3, action_redirect_url = nullif($4, '')
			WHERE id = $1 AND step = $2
			    AND (action_client_secret, coalesce(action_redirect_url, '')) IS DISTINCT FROM ($3, $4)`,
			o.ID, order.Charge, action.ClientSecret, action.RedirectURL)
		if err != nil {
			return fmt.Errorf("await the buyer of order %s: %w", o.ID, err)
		}
		if tag.RowsAffected() == 0 {
			return nil
		}
		return recordTx(ctx, tx, o.ID, "AUTHENTICATION_REQUIRED", order.SagaPending, struct{}{})
	})
}

// Refused moves RESERVE to DONE. There are no tickets for this order, and nothing to compensate.
func (s *Store) Refused(ctx context.Context, id uuid.UUID, f order.Failure) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		moved, err := failTx(ctx, tx, id, order.Reserve, order.Done, f)
		if err != nil || !moved {
			return err
		}
		return recordTx(ctx, tx, id, "RESERVATION_REFUSED", order.SagaFailed, failureReason{Reason: f.Code})
	})
}

// GiveUp moves RESERVE to RELEASE. The response was lost and the buyer did not retry, so the tickets may be held and
// have to be released.
func (s *Store) GiveUp(ctx context.Context, id uuid.UUID, f order.Failure) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		moved, err := failTx(ctx, tx, id, order.Reserve, order.Release, f)
		if err != nil || !moved {
			return err
		}
		return recordTx(ctx, tx, id, "RESERVATION_ABANDONED", order.SagaFailed, failureReason{Reason: f.Code})
	})
}

// failTx moves an order to a step of its compensation and makes it FAILED. It returns false if the order is at another
// step.
func failTx(ctx context.Context, tx pgx.Tx, id uuid.UUID, from, to order.Step, f order.Failure) (bool, error) {
	var currentTotal *int64
	if f.CurrentTotal.Currency != "" {
		currentTotal = &f.CurrentTotal.Minor
	}
	moved, err := moveTx(ctx, tx, id, from, to, `,
		status = 'FAILED', payment_token = NULL, action_client_secret = NULL,
		failure_code = $5, failure_message = $6, retryable = $7,
		current_total_minor = $8, current_currency = nullif($9, '')`,
		f.Code, f.Message, f.Retryable, currentTotal, f.CurrentTotal.Currency)
	if moved {
		postgres.AfterCommit(tx, func() { orderFailures.WithLabelValues(f.Code).Inc() })
	}
	return moved, err
}

// Declined moves CHARGE to RELEASE and publishes PAYMENT_FAILED. ticket-service releases the hold on that too, in case
// the release call is lost.
func (s *Store) Declined(ctx context.Context, o order.Order, f order.Failure) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		_, err := declinedTx(ctx, tx, o, f)
		return err
	})
}

func declinedTx(ctx context.Context, tx pgx.Tx, o order.Order, f order.Failure) (moved bool, err error) {
	if moved, err = failTx(ctx, tx, o.ID, order.Charge, order.Release, f); err != nil || !moved {
		return moved, err
	}
	if err := recordTx(ctx, tx, o.ID, "PAYMENT_DECLINED", order.SagaFailed,
		failureReason{Reason: f.Code}); err != nil {
		return moved, err
	}
	return moved, outbox.AddTx(ctx, tx, source, events.PaymentFailed{
		OrderID: o.ID, UserID: o.UserID, EventID: o.EventID, ReservationID: o.ReservationID,
		FailureReason: f.Code, ErrorMessage: f.Message, Retryable: f.Retryable,
	})
}

// Paid moves CHARGE to FULFIL and publishes PAYMENT_COMPLETED, on which ticket-service generates the tickets. If the
// order had failed before, its charge is refunded.
func (s *Store) Paid(ctx context.Context, o order.Order, transactionID string) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		_, err := paidTx(ctx, tx, o, transactionID)
		return err
	})
}

func paidTx(ctx context.Context, tx pgx.Tx, o order.Order, transactionID string) (moved bool, err error) {
	if moved, err = moveTx(ctx, tx, o.ID, order.Charge, order.Fulfil,
		`, status = 'COMPLETED', completed_at = now(), payment_token = NULL, action_client_secret = NULL,
		   transaction_id = $5`,
		transactionID); err != nil {
		return moved, err
	}
	if !moved {
		return moved, refundLateChargeTx(ctx, tx, o.ID, transactionID)
	}
	if err := recordTx(ctx, tx, o.ID, "PAYMENT_COMPLETED", order.SagaCompleted,
		chargeTransaction{TransactionID: transactionID}); err != nil {
		return moved, err
	}
	o.TransactionID = transactionID
	return moved, outbox.AddTx(ctx, tx, source, paymentCompleted(o))
}

func paymentCompleted(o order.Order) events.PaymentCompleted {
	completed := events.PaymentCompleted{
		OrderID: o.ID, OrderNumber: o.Number, UserID: o.UserID, EventID: o.EventID, ReservationID: o.ReservationID,
		HolderName: o.HolderName, TotalAmount: o.Total.Decimal(), Currency: o.Total.Currency,
		PaymentMethod: string(o.Method), TransactionID: o.TransactionID,
	}
	for _, i := range o.Items {
		completed.Items = append(completed.Items, events.OrderItem{
			TicketTypeID: i.TicketTypeID, Quantity: i.Quantity, UnitPrice: i.UnitPrice.Decimal(),
		})
	}
	return completed
}

// refundLateChargeTx refunds a charge that succeeded after its order had failed without one. The order stays FAILED. It
// changes nothing if the order has not failed, or if its charge is known already.
func refundLateChargeTx(ctx context.Context, tx pgx.Tx, id uuid.UUID, transactionID string) error {
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
		chargeTransaction{TransactionID: transactionID}); err != nil {
		return err
	}
	return refundAllTx(ctx, tx, id, order.CodePaymentTooLate, refund.ReturnMoney)
}

// Notified records the effect of a card processor's notice on its order, once per notice, and reports whether the order
// moved. Like the response to a charge, a notice moves CHARGE to FULFIL or to RELEASE, and a charge that succeeded
// after its order had failed is refunded. A notice about a refund that failed after it had succeeded reopens it. A
// notice about anything else than a charge makes the unfinished refunds of its transaction due now. Any other notice is
// recorded as received and has no effect.
func (s *Store) Notified(ctx context.Context, n order.Notice, o order.Order) (moved bool, err error) {
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		moved = false
		if first, err := inbox.FirstTx(ctx, tx, n.ID, n.Type); err != nil || !first {
			return err
		}
		var err error
		failedRefund, ours := refund.IDOfKey(n.RefundKey)
		switch {
		case ours && n.Outcome == calls.GatewayFailed:
			err = refundSentBackTx(ctx, tx, failedRefund, n.Failure)
		case n.AttemptKey == "" && n.TransactionID != "":
			if _, err = tx.Exec(ctx, `
				UPDATE refunds SET resume_at = now()
				WHERE step <> $2 AND order_id IN (SELECT id FROM orders WHERE transaction_id = $1)`,
				n.TransactionID, refund.Done); err != nil {
				err = fmt.Errorf("make the refunds of %s due: %w", n.TransactionID, err)
			}
		case n.AttemptKey != o.AttemptKey():
		case n.Outcome == calls.GatewaySucceeded:
			moved, err = paidTx(ctx, tx, o, n.TransactionID)
		case n.Outcome == calls.GatewayDeclined:
			moved, err = declinedTx(ctx, tx, o, n.Failure)
		}
		return err
	})
	return moved, err
}

// Released moves RELEASE to DONE. The tickets are on sale again.
func (s *Store) Released(ctx context.Context, id uuid.UUID, tickets int) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		moved, err := moveTx(ctx, tx, id, order.Release, order.Done, "")
		if err != nil || !moved {
			return err
		}
		return recordTx(ctx, tx, id, "RESERVATION_RELEASED", order.SagaCompensated,
			ticketsReleased{TicketsReleased: tickets})
	})
}
