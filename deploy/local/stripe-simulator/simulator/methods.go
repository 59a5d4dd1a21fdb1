package simulator

import "net/http"

// paymentMethod is a PaymentMethod as Stripe renders it.
type paymentMethod struct {
	ID       string `json:"id"`
	Object   string `json:"object"`
	Type     string `json:"type"`
	Created  int64  `json:"created"`
	Livemode bool   `json:"livemode"`
	Card     card   `json:"card"`
}

type card struct {
	Brand    string `json:"brand"`
	Last4    string `json:"last4"`
	ExpMonth int    `json:"exp_month"`
	ExpYear  int    `json:"exp_year"`
	Funding  string `json:"funding"`
}

// testMethod is one of Stripe's published test payment methods: its card, and the outcome of charging it. A charge
// succeeds unless the method is declined or authenticates.
type testMethod struct {
	brand, last4  string
	declined      decline
	authenticates bool
	disputes      string // the reason of the dispute that follows a charge; empty for none
	refundsLater  string // the status that a refund takes after a while; empty if it succeeds at once and stays so
}

// decline is the reason why a card is declined. It is empty for a card that is not.
type decline struct{ code, declineCode, message string }

const declinedMessage = "Your card was declined."

var (
	genericDecline    = decline{"card_declined", "generic_decline", declinedMessage}
	insufficientFunds = decline{"card_declined", "insufficient_funds", "Your card has insufficient funds."}
	lostCard          = decline{"card_declined", "lost_card", declinedMessage}
	stolenCard        = decline{"card_declined", "stolen_card", declinedMessage}
	expiredCard       = decline{"expired_card", "", "Your card has expired."}
	incorrectCVC      = decline{"incorrect_cvc", "", "Your card's security code is incorrect."}
	processingError   = decline{
		"processing_error", "", "An error occurred while processing your card. Try again in a little bit.",
	}
	velocityExceeded = decline{
		"card_declined", "card_velocity_exceeded",
		"Your card was declined for making repeated attempts too frequently or exceeding its amount limit.",
	}
)

// testMethods has the names and outcomes of Stripe's documentation, https://docs.stripe.com/testing.
var testMethods = map[string]testMethod{
	"pm_card_visa":             {brand: "visa", last4: "4242"},
	"pm_card_visa_debit":       {brand: "visa", last4: "5556"},
	"pm_card_mastercard":       {brand: "mastercard", last4: "4444"},
	"pm_card_mastercard_debit": {brand: "mastercard", last4: "3222"},
	"pm_card_amex":             {brand: "amex", last4: "8431"},
	"pm_card_discover":         {brand: "discover", last4: "1117"},

	"pm_card_chargeDeclined":                           {brand: "visa", last4: "0002", declined: genericDecline},
	"pm_card_visa_chargeDeclined":                      {brand: "visa", last4: "0002", declined: genericDecline},
	"pm_card_chargeDeclinedInsufficientFunds":          {brand: "visa", last4: "9995", declined: insufficientFunds},
	"pm_card_visa_chargeDeclinedInsufficientFunds":     {brand: "visa", last4: "9995", declined: insufficientFunds},
	"pm_card_visa_chargeDeclinedLostCard":              {brand: "visa", last4: "9987", declined: lostCard},
	"pm_card_visa_chargeDeclinedStolenCard":            {brand: "visa", last4: "9979", declined: stolenCard},
	"pm_card_chargeDeclinedExpiredCard":                {brand: "visa", last4: "0069", declined: expiredCard},
	"pm_card_visa_chargeDeclinedExpiredCard":           {brand: "visa", last4: "0069", declined: expiredCard},
	"pm_card_chargeDeclinedIncorrectCvc":               {brand: "visa", last4: "0127", declined: incorrectCVC},
	"pm_card_chargeDeclinedProcessingError":            {brand: "visa", last4: "0119", declined: processingError},
	"pm_card_visa_chargeDeclinedProcessingError":       {brand: "visa", last4: "0119", declined: processingError},
	"pm_card_visa_chargeDeclinedVelocityLimitExceeded": {brand: "visa", last4: "6975", declined: velocityExceeded},

	"pm_card_authenticationRequired": {brand: "visa", last4: "3184", authenticates: true},
	"pm_card_threeDSecure2Required":  {brand: "visa", last4: "3220", authenticates: true},

	"pm_card_createDispute":                   {brand: "visa", last4: "0259", disputes: "fraudulent"},
	"pm_card_createDisputeProductNotReceived": {brand: "visa", last4: "2685", disputes: "product_not_received"},

	"pm_card_pendingRefund": {brand: "visa", last4: "7726", refundsLater: statusSucceeded},
	"pm_card_refundFail":    {brand: "visa", last4: "5126", refundsLater: refundFailed},
}

// cardError returns the card_error of charging m, or nil if m is not declined.
func (m testMethod) cardError() *apiError {
	if m.declined.code == "" {
		return nil
	}
	return &apiError{
		status:      http.StatusPaymentRequired,
		Type:        "card_error",
		Code:        m.declined.code,
		DeclineCode: m.declined.declineCode,
		DocURL:      "https://stripe.com/docs/error-codes",
		Message:     m.declined.message,
	}
}
