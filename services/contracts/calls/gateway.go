package calls

import (
	"net/http"
	"net/url"
	"time"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// The internal routes of payment-gateway.
var (
	// Charge charges a card. It is idempotent by the attempt key.
	Charge = Endpoint[ChargeRequest, ChargeAnswer]{Route{
		App: paymentGateway, Method: http.MethodPost, Path: "/api/gateway/internal/charges",
		Callers: []string{paymentService},
		// Only Unprocessable means that nothing was charged. A gateway that cannot read the request (Invalid), or whose key
		// belongs to another request (Conflict), does not know about earlier attempts under the key.
		Refusals: []problem.Kind{problem.Unprocessable, problem.Invalid, problem.Conflict},
	}}
	// SettleCharge ends the attempt to make a charge: it returns the outcome, and a charge that was not made is never
	// made.
	SettleCharge = Endpoint[ChargeRequest, ChargeAnswer]{Route{
		App: paymentGateway, Method: http.MethodPost, Path: "/api/gateway/internal/charges/settle",
		Callers: []string{paymentService},
		// After a refusal it is still unknown whether the charge was made.
		Refusals: []problem.Kind{problem.Invalid, problem.NotFound, problem.Conflict, problem.Unprocessable},
	}}
	// Refund refunds a charge or a part of it. It is idempotent by the refund key.
	Refund = Endpoint[RefundRequest, RefundAnswer]{Route{
		App: paymentGateway, Method: http.MethodPost, Path: "/api/gateway/internal/refunds",
		Callers:  []string{paymentService},
		Refusals: []problem.Kind{problem.Invalid, problem.NotFound, problem.Conflict, problem.Unprocessable},
	}}
	// ListDisputes returns a page of the disputes of charges, the newest first.
	ListDisputes = Endpoint[DisputesQuery, DisputesAnswer]{Route{
		App: paymentGateway, Method: http.MethodGet, Path: "/api/gateway/internal/disputes",
		Callers: []string{paymentService},
	}}
	// VerifyWebhook checks the signature of a webhook and reads it.
	VerifyWebhook = Endpoint[VerifyWebhookRequest, VerifyWebhookAnswer]{Route{
		App: paymentGateway, Method: http.MethodPost, Path: "/api/gateway/internal/webhooks/verify",
		Callers: []string{paymentService},
	}}
)

// GatewayStatus is the outcome of a charge or of a refund.
type GatewayStatus string

// The statuses. Only a charge is GatewayDeclined or GatewayNotFound, only a refund is GatewayFailed.
const (
	GatewaySucceeded GatewayStatus = "SUCCEEDED"
	GatewayDeclined  GatewayStatus = "DECLINED"
	GatewayPending   GatewayStatus = "PENDING"
	// GatewayRequiresAction is a charge that waits for the buyer, who has to authenticate at the bank.
	GatewayRequiresAction GatewayStatus = "REQUIRES_ACTION"
	GatewayNotFound       GatewayStatus = "NOT_FOUND" // only an answer of [SettleCharge]
	GatewayFailed         GatewayStatus = "FAILED"
	// GatewayDeferred is a refund that was not made and may be made later, such as one that the account's balance does not
	// cover. Only a refund is GatewayDeferred.
	GatewayDeferred GatewayStatus = "DEFERRED"
)

// The FailureCodes of refunds that callers act on.
const (
	// FailureAlreadyRefunded means that the amount was returned in another way.
	FailureAlreadyRefunded = "ALREADY_REFUNDED"
	// FailureChargeDisputed means that the buyer disputes the charge at the bank, which decides who gets the money.
	FailureChargeDisputed = "CHARGE_DISPUTED"
)

// ChargeRequest is the request of [Charge] and [SettleCharge].
type ChargeRequest struct {
	AttemptKey     string         `json:"attemptKey"`
	AttemptedSince string         `json:"attemptedSince"` // RFC 3339, the time of the first attempt
	OrderID        string         `json:"orderId"`
	Amount         money.Decimal  `json:"amount"`
	Currency       money.Currency `json:"currency"`
	PaymentToken   string         `json:"paymentToken"`
	Description    string         `json:"description"`
	ReturnURL      string         `json:"returnUrl,omitempty"` // where the bank sends the buyer after authentication
}

// PaymentAction is what a buyer does to complete a charge that requires authentication: visit the bank's page, or let
// Stripe.js do the rest with the client secret.
type PaymentAction struct {
	ClientSecret string `json:"clientSecret"`
	RedirectURL  string `json:"redirectUrl,omitempty"` // only with a ReturnURL
}

// ChargeAnswer is the answer of [Charge] and [SettleCharge].
type ChargeAnswer struct {
	AttemptKey    string        `json:"attemptKey"`
	Status        GatewayStatus `json:"status"`
	TransactionID string        `json:"transactionId,omitempty"`
	DeclineCode   string        `json:"declineCode,omitempty"`
	Message       string        `json:"message,omitempty"`
	Retryable     bool          `json:"retryable"` // of a declined charge: another attempt may succeed
	// Action is set if the Status is GatewayRequiresAction.
	Action *PaymentAction `json:"action,omitempty"`
}

// RefundRequest is the request of [Refund].
type RefundRequest struct {
	RefundKey     string         `json:"refundKey"`
	TransactionID string         `json:"transactionId"`
	Amount        money.Decimal  `json:"amount"`
	Currency      money.Currency `json:"currency"`
	Reason        string         `json:"reason"`
}

// RefundAnswer is the answer of [Refund].
type RefundAnswer struct {
	RefundKey   string        `json:"refundKey"`
	RefundID    string        `json:"refundId,omitempty"`
	Status      GatewayStatus `json:"status"`
	FailureCode string        `json:"failureCode,omitempty"`
	Message     string        `json:"message,omitempty"`
}

// DisputeStatus is the status of a dispute.
type DisputeStatus string

// The statuses. The bank takes the money when it opens a dispute, and gives it back when the dispute is won.
const (
	DisputeInquiry DisputeStatus = "INQUIRY" // the bank only asks, or the matter ended without a dispute
	DisputeOpen    DisputeStatus = "OPEN"
	DisputeWon     DisputeStatus = "WON"
	DisputeLost    DisputeStatus = "LOST"
)

// Dispute is a charge that its buyer disputes at the bank.
type Dispute struct {
	DisputeID     string         `json:"disputeId"`
	TransactionID string         `json:"transactionId"`
	Amount        money.Decimal  `json:"amount"`
	Currency      money.Currency `json:"currency"`
	Reason        string         `json:"reason"` // a code such as FRAUDULENT
	Status        DisputeStatus  `json:"status"`
	OpenedAt      time.Time      `json:"openedAt"`
}

// DisputesQuery is the request of [ListDisputes]. It selects the disputes of one transaction, or all since a time.
type DisputesQuery struct {
	TransactionID string // all disputes if empty
	Since         string // RFC 3339, when they were opened at the earliest; any time if empty
	After         string // the DisputeID that the page before ended with; empty for the first page
}

func (q DisputesQuery) query() url.Values {
	values := url.Values{}
	for name, value := range map[string]string{
		"transactionId": q.TransactionID, "since": q.Since, "after": q.After,
	} {
		if value != "" {
			values.Set(name, value)
		}
	}
	return values
}

// DisputesAnswer is the answer of [ListDisputes].
type DisputesAnswer struct {
	Disputes []Dispute `json:"disputes"`
	// Next is the After of the next page. It is empty on the last page.
	Next string `json:"next,omitempty"`
}

// VerifyWebhookRequest is the request of [VerifyWebhook].
type VerifyWebhookRequest struct {
	Payload   string `json:"payload"`   // the body of the webhook
	Signature string `json:"signature"` // its header Stripe-Signature
}

// VerifyWebhookAnswer is the answer of [VerifyWebhook].
type VerifyWebhookAnswer struct {
	Verified bool          `json:"verified"`
	Event    *WebhookEvent `json:"event,omitempty"` // nil if not Verified
}

// WebhookEvent is what a webhook reports. Only ID and Type are set if it is not about an order.
type WebhookEvent struct {
	ID            string        `json:"id"`
	Type          string        `json:"type"` // Stripe's, such as payment_intent.succeeded
	AttemptKey    string        `json:"attemptKey,omitempty"`
	RefundKey     string        `json:"refundKey,omitempty"` // of an event about a refund
	OrderID       string        `json:"orderId,omitempty"`
	TransactionID string        `json:"transactionId,omitempty"`
	Status        GatewayStatus `json:"status,omitempty"`
	DeclineCode   string        `json:"declineCode,omitempty"`
	Message       string        `json:"message,omitempty"`
	Retryable     bool          `json:"retryable,omitempty"`
	Dispute       *Dispute      `json:"dispute,omitempty"` // of an event about a dispute
}
