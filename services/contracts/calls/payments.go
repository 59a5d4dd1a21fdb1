package calls

import (
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// OrderInfo returns an order. It is the only internal route of payment-service.
var OrderInfo = Endpoint[None, OrderInfoAnswer]{Route{
	App: paymentService, Method: http.MethodGet, Path: "/api/payments/internal/orders/{orderId}",
	Callers:  []string{notificationService},
	Refusals: []problem.Kind{problem.NotFound},
}}

// PaymentStatus is the status of an order: PENDING, REQUIRES_ACTION, COMPLETED, FAILED or REFUNDED.
type PaymentStatus string

// PaymentRequiresAction is the status of an order whose buyer has to authenticate at the bank. It is beyond the
// contract.
const PaymentRequiresAction PaymentStatus = "REQUIRES_ACTION"

// PaymentMethod is how an order is paid, such as CREDIT_CARD.
type PaymentMethod string

// OrderInfoAnswer is the answer of [OrderInfo]. Amounts are missing until the tickets are reserved, because
// the price is not known before. RefundedAmount, the failure and the dispute are beyond the contract.
type OrderInfoAnswer struct {
	OrderID        uuid.UUID      `json:"orderId"`
	OrderNumber    string         `json:"orderNumber"`
	UserID         uuid.UUID      `json:"userId"`
	EventID        uuid.UUID      `json:"eventId"`
	TotalAmount    money.Decimal  `json:"totalAmount,omitempty"`
	Currency       money.Currency `json:"currency,omitempty"`
	RefundedAmount money.Decimal  `json:"refundedAmount,omitempty"`
	PaymentStatus  PaymentStatus  `json:"paymentStatus"`
	PaymentMethod  PaymentMethod  `json:"paymentMethod"`
	Items          []OrderItem    `json:"items"`
	FailureReason  string         `json:"failureReason,omitempty"`
	FailureMessage string         `json:"failureMessage,omitempty"`
	// DisputeStatus is empty if the payment is not disputed. DisputedAmount is what the bank has taken because of that.
	DisputeStatus  DisputeStatus `json:"disputeStatus,omitempty"`
	DisputedAmount money.Decimal `json:"disputedAmount,omitempty"`
	CreatedAt      time.Time     `json:"createdAt"`
	CompletedAt    *time.Time    `json:"completedAt,omitempty"`
}

// OrderItem is the tickets of one type in an order.
type OrderItem struct {
	TicketTypeID   uuid.UUID     `json:"ticketTypeId"`
	TicketTypeName string        `json:"ticketTypeName,omitempty"` // beyond the contract, for people
	Quantity       int           `json:"quantity"`
	UnitPrice      money.Decimal `json:"unitPrice,omitempty"`
	TotalPrice     money.Decimal `json:"totalPrice,omitempty"`
}
