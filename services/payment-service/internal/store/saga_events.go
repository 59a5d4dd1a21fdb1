package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
)

// The payloads of saga events of purchases.
type (
	orderCreated struct {
		ReservationID uuid.UUID `json:"reservationId"`
	}
	ticketsReserved struct {
		ExpiresAt   time.Time      `json:"expiresAt"`
		TotalAmount money.Decimal  `json:"totalAmount"`
		Currency    money.Currency `json:"currency"`
	}
	chargeAttempt struct {
		AttemptKey string `json:"attemptKey"`
	}
	chargeTransaction struct {
		TransactionID string `json:"transactionId"`
	}
	failureReason struct {
		Reason string `json:"reason"`
	}
	ticketsReleased struct {
		TicketsReleased int `json:"ticketsReleased"`
	}
	ticketsGenerated struct {
		Tickets int `json:"tickets"`
	}
	announced struct {
		Announcements int `json:"announcements"` // of the payment so far
	}
	retryRequested struct {
		RequestedBy uuid.UUID `json:"requestedBy"`
	}
	compensationFailed struct {
		Reason   string `json:"reason"`
		Step     string `json:"step"`
		Attempts int    `json:"attempts"`
	}
)

// disputeReported is the payload of saga events of disputes.
type disputeReported struct {
	DisputeID string         `json:"disputeId"`
	Amount    money.Decimal  `json:"amount"`
	Currency  money.Currency `json:"currency"`
	Reason    string         `json:"reason"`
}

// refundDetails is the part that all payloads of saga events of refunds have.
type refundDetails struct {
	RefundID uuid.UUID      `json:"refundId"`
	Amount   money.Decimal  `json:"amount"`
	Currency money.Currency `json:"currency"`
}

func detailsOf(r refund.Refund) refundDetails {
	return refundDetails{RefundID: r.ID, Amount: r.Amount.Decimal(), Currency: r.Amount.Currency}
}

// The payloads of saga events of refunds.
type (
	refundRequested struct {
		refundDetails
		Reason  string `json:"reason"`
		Tickets int    `json:"tickets"`
	}
	ticketsCancelled struct {
		refundDetails
		Tickets int `json:"tickets"`
	}
	paymentRefunded struct {
		refundDetails
		GatewayRefundID string `json:"gatewayRefundId"`
	}
	refundFailed struct {
		refundDetails
		Reason string `json:"reason"`
	}
)

// recordTx adds an event of the purchase to an order's history.
func recordTx(
	ctx context.Context, tx pgx.Tx, id uuid.UUID, eventType string, status order.SagaStatus, payload any,
) error {
	return recordSagaTx(ctx, tx, purchaseSaga, id, eventType, status, payload)
}

// recordSagaTx adds an event of a saga to an order's history, and counts it when tx has committed.
func recordSagaTx(
	ctx context.Context, tx pgx.Tx, sagaType string, id uuid.UUID,
	eventType string, status order.SagaStatus, payload any,
) error {
	body, err := json.Marshal(payload)
	if err != nil {
		return fmt.Errorf("saga event %s: %w", eventType, err)
	}
	if _, err := tx.Exec(ctx, `
		INSERT INTO saga_events (saga_id, saga_type, event_type, payload, status) VALUES ($1, $2, $3, $4, $5)`,
		id, sagaType, eventType, body, status); err != nil {
		return fmt.Errorf("saga event %s: %w", eventType, err)
	}
	postgres.AfterCommit(tx, func() { sagaEvents.WithLabelValues(sagaType, eventType).Inc() })
	return nil
}

// maxHistory is how many events History returns.
const maxHistory = 1000

// History returns the last maxHistory saga events of an order, the oldest first.
func (s *Store) History(ctx context.Context, id uuid.UUID) ([]order.SagaEvent, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT id, event_type, payload, status, timestamp FROM (
			SELECT * FROM saga_events WHERE saga_id = $1 ORDER BY position DESC LIMIT $2) latest
		ORDER BY position`, id, maxHistory)
	if err != nil {
		return nil, fmt.Errorf("history of order %s: %w", id, err)
	}
	history, err := pgx.CollectRows(rows, pgx.RowToStructByPos[order.SagaEvent])
	if err != nil {
		return nil, fmt.Errorf("history of order %s: %w", id, err)
	}
	return history, nil
}
