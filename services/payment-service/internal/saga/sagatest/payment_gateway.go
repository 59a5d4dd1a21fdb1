package sagatest

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// The payment tokens of cards. A charge of any other token is declined.
const (
	GoodCard     = "pm_card_visa"
	DeclinedCard = "pm_card_visa_chargeDeclinedInsufficientFunds"
	PendingCard  = "pm_card_pending" // its charges are pending until SettleCharges is called
	SecuredCard  = "pm_card_secured" // its charges wait until Authenticate is called
)

// GenuineSignature is the only signature of a webhook that is verified.
const GenuineSignature = "genuine"

type charge struct {
	request calls.ChargeRequest
	answer  calls.ChargeAnswer
}

type refund struct {
	transactionID string
	amount        money.Decimal
	answer        calls.RefundAnswer
}

// SettleCharges makes all pending charges succeed.
func (s *Services) SettleCharges() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.charges {
		if c.answer.Status == calls.GatewayPending {
			c.answer.Status = calls.GatewaySucceeded
		}
	}
}

// Money returns the amounts that were charged for an order and the amounts that were refunded.
func (s *Services) Money(orderID uuid.UUID) (charged, refunded []money.Decimal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.charges {
		if c.request.OrderID != orderID.String() || c.answer.Status != calls.GatewaySucceeded {
			continue
		}
		charged = append(charged, c.request.Amount)
		for _, r := range s.refunds {
			if r.transactionID == c.answer.TransactionID {
				refunded = append(refunded, r.amount)
			}
		}
	}
	return charged, refunded
}

// TransactionID returns the transaction id of the charge for an order, or "" if there is none.
func (s *Services) TransactionID(orderID uuid.UUID) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.charges {
		if c.request.OrderID == orderID.String() {
			return c.answer.TransactionID
		}
	}
	return ""
}

func (s *Services) charge(in calls.ChargeRequest) (calls.ChargeAnswer, error) {
	if c, known := s.charges[in.AttemptKey]; known {
		if c.request != in {
			return calls.ChargeAnswer{}, problem.New(problem.Conflict, "KEY_REUSED", "This key was used before")
		}
		return c.answer, nil
	}
	if err := validate(in); err != nil {
		return calls.ChargeAnswer{}, err
	}
	c := &charge{request: in, answer: calls.ChargeAnswer{AttemptKey: in.AttemptKey, TransactionID: newID("pi_")}}
	amount, err := in.Amount.In(in.Currency)
	if err != nil {
		return calls.ChargeAnswer{}, problem.Field("amount", "amount %s", err)
	}
	if _, err := amount.ChargeUnits(); err != nil { // the real one declines it, which is easier for the caller
		return calls.ChargeAnswer{}, problem.New(problem.Invalid, "UNSUPPORTED_AMOUNT", "The amount %s", err)
	}
	switch in.PaymentToken {
	case GoodCard:
		c.answer.Status = calls.GatewaySucceeded
	case PendingCard:
		c.answer.Status = calls.GatewayPending
	case SecuredCard:
		c.answer.Status = calls.GatewayRequiresAction
		c.answer.Action = &calls.PaymentAction{ClientSecret: "pi_secret", RedirectURL: in.ReturnURL}
	case DeclinedCard:
		c.answer.Status = calls.GatewayDeclined
		c.answer.DeclineCode, c.answer.Message = "INSUFFICIENT_FUNDS", "Your card has insufficient funds."
	default:
		c.answer = calls.ChargeAnswer{
			AttemptKey: in.AttemptKey, Status: calls.GatewayDeclined, DeclineCode: "UNKNOWN_PAYMENT_METHOD",
			Message: "The card processor does not know this payment method",
		}
	}
	s.charges[in.AttemptKey] = c
	return c.answer, nil
}

// maxText is the maximum length, in characters, of a text that Stripe stores.
const maxText = 500

// validate returns the refusal of a request that payment-gateway, or Stripe, rejects.
func validate(in calls.ChargeRequest) error {
	if utf8.RuneCountInString(in.Description) > maxText {
		return problem.Field("description", "description must be at most %d characters", maxText)
	}
	if utf8.RuneCountInString(in.ReturnURL) > maxText {
		return problem.Field("returnUrl", "returnUrl must be at most %d characters", maxText)
	}
	notASCII := func(r rune) bool { return r > unicode.MaxASCII }
	if strings.ContainsFunc(in.ReturnURL, notASCII) { // Stripe wants it encoded
		return problem.New(problem.Unprocessable, "PAYMENT_REQUEST_REFUSED", "The card processor refused the request")
	}
	return nil
}

// settle returns the outcome of a charge. It makes sure that a charge that was not made is never made, and cancels one
// that waits for the buyer.
func (s *Services) settle(in calls.ChargeRequest) (calls.ChargeAnswer, error) {
	c, known := s.charges[in.AttemptKey]
	switch {
	case !known: // the request differs from any request to charge, which is refused from now on
		c = &charge{answer: calls.ChargeAnswer{AttemptKey: in.AttemptKey, Status: calls.GatewayNotFound}}
		s.charges[in.AttemptKey] = c
	case c.answer.Status == calls.GatewayRequiresAction:
		c.answer.Status, c.answer.Action, c.answer.DeclineCode = calls.GatewayDeclined, nil, "CANCELED"
	}
	return c.answer, nil
}

// Authenticate completes the charge of an order that waits for its buyer.
func (s *Services) Authenticate(orderID uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.charges {
		if c.request.OrderID == orderID.String() && c.answer.Status == calls.GatewayRequiresAction {
			c.answer.Status, c.answer.Action = calls.GatewaySucceeded, nil
		}
	}
}

// Dispute opens a dispute of the charge of an order, or changes the status of the one that the order has, and returns
// it.
func (s *Services) Dispute(orderID uuid.UUID, status calls.DisputeStatus) calls.Dispute {
	transactionID := s.TransactionID(orderID)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, d := range s.disputes {
		if d.TransactionID == transactionID {
			s.disputes[i].Status = status
			return s.disputes[i]
		}
	}
	d := calls.Dispute{
		DisputeID: newID("dp_"), TransactionID: transactionID, Amount: "100.00", Currency: "USD", Reason: "FRAUDULENT",
		Status: status, OpenedAt: time.Now().UTC().Truncate(time.Second),
	}
	s.disputes = append([]calls.Dispute{d}, s.disputes...)
	return d
}

// listDisputes returns pages of one dispute each.
func (s *Services) listDisputes(query url.Values) (calls.DisputesAnswer, error) {
	var found []calls.Dispute
	since, _ := time.Parse(time.RFC3339, query.Get("since"))
	for _, d := range s.disputes {
		if transactionID := query.Get("transactionId"); transactionID != "" && d.TransactionID != transactionID {
			continue
		}
		if !d.OpenedAt.Before(since) {
			found = append(found, d)
		}
	}
	if after := query.Get("after"); after != "" {
		i := slices.IndexFunc(found, func(d calls.Dispute) bool { return d.DisputeID == after })
		found = found[i+1:]
	}
	if len(found) < 2 {
		return calls.DisputesAnswer{Disputes: found}, nil
	}
	return calls.DisputesAnswer{Disputes: found[:1], Next: found[0].DisputeID}, nil
}

func (s *Services) refund(in calls.RefundRequest) (calls.RefundAnswer, error) {
	if r, known := s.refunds[in.RefundKey]; known {
		return r.answer, nil
	}
	if slices.ContainsFunc(s.disputes, func(d calls.Dispute) bool {
		return d.TransactionID == in.TransactionID && (d.Status == calls.DisputeOpen || d.Status == calls.DisputeLost)
	}) {
		return calls.RefundAnswer{
			RefundKey: in.RefundKey, Status: calls.GatewayFailed, FailureCode: calls.FailureChargeDisputed,
		}, nil
	}
	for _, c := range s.charges {
		if c.answer.TransactionID == in.TransactionID && c.answer.Status == calls.GatewaySucceeded {
			r := &refund{transactionID: in.TransactionID, amount: in.Amount, answer: calls.RefundAnswer{
				RefundKey: in.RefundKey, RefundID: newID("re_"), Status: calls.GatewaySucceeded,
			}}
			s.refunds[in.RefundKey] = r
			return r.answer, nil
		}
	}
	return calls.RefundAnswer{}, problem.New(problem.NotFound, "UNKNOWN_TRANSACTION",
		"The card processor does not know this transaction")
}

// verify reads the payload of a genuine webhook as a calls.WebhookEvent, and not as an event of Stripe.
func verify(in calls.VerifyWebhookRequest) (calls.VerifyWebhookAnswer, error) {
	if in.Signature != GenuineSignature {
		return calls.VerifyWebhookAnswer{}, nil
	}
	var event calls.WebhookEvent
	err := json.Unmarshal([]byte(in.Payload), &event)
	return calls.VerifyWebhookAnswer{Verified: true, Event: &event}, err
}

// newID returns a new id of an object of Stripe.
func newID(prefix string) string { return prefix + strings.ReplaceAll(uuid.NewString(), "-", "") }
