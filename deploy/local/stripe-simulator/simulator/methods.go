package simulator

import "net/http"

// paymentMethod is what Stripe shows of a card.
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

// testMethod is one of Stripe's published test payment methods: its card, and
// what charging it does. One without code and without authenticates succeeds.
type testMethod struct {
	brand, last4               string
	code, declineCode, message string
	authenticates              bool
}

const declined = "Your card was declined."

// testMethods are the names and outcomes of Stripe's testing documentation.
var testMethods = map[string]testMethod{
	"pm_card_visa":             {brand: "visa", last4: "4242"},
	"pm_card_visa_debit":       {brand: "visa", last4: "5556"},
	"pm_card_mastercard":       {brand: "mastercard", last4: "4444"},
	"pm_card_mastercard_debit": {brand: "mastercard", last4: "3222"},
	"pm_card_amex":             {brand: "amex", last4: "8431"},
	"pm_card_discover":         {brand: "discover", last4: "1117"},

	"pm_card_chargeDeclined":                           {brand: "visa", last4: "0002", code: "card_declined", declineCode: "generic_decline", message: declined},
	"pm_card_visa_chargeDeclined":                      {brand: "visa", last4: "0002", code: "card_declined", declineCode: "generic_decline", message: declined},
	"pm_card_chargeDeclinedInsufficientFunds":          {brand: "visa", last4: "9995", code: "card_declined", declineCode: "insufficient_funds", message: "Your card has insufficient funds."},
	"pm_card_visa_chargeDeclinedInsufficientFunds":     {brand: "visa", last4: "9995", code: "card_declined", declineCode: "insufficient_funds", message: "Your card has insufficient funds."},
	"pm_card_visa_chargeDeclinedLostCard":              {brand: "visa", last4: "9987", code: "card_declined", declineCode: "lost_card", message: declined},
	"pm_card_visa_chargeDeclinedStolenCard":            {brand: "visa", last4: "9979", code: "card_declined", declineCode: "stolen_card", message: declined},
	"pm_card_chargeDeclinedExpiredCard":                {brand: "visa", last4: "0069", code: "expired_card", message: "Your card has expired."},
	"pm_card_visa_chargeDeclinedExpiredCard":           {brand: "visa", last4: "0069", code: "expired_card", message: "Your card has expired."},
	"pm_card_chargeDeclinedIncorrectCvc":               {brand: "visa", last4: "0127", code: "incorrect_cvc", message: "Your card's security code is incorrect."},
	"pm_card_chargeDeclinedProcessingError":            {brand: "visa", last4: "0119", code: "processing_error", message: "An error occurred while processing your card. Try again in a little bit."},
	"pm_card_visa_chargeDeclinedProcessingError":       {brand: "visa", last4: "0119", code: "processing_error", message: "An error occurred while processing your card. Try again in a little bit."},
	"pm_card_visa_chargeDeclinedVelocityLimitExceeded": {brand: "visa", last4: "6975", code: "card_declined", declineCode: "card_velocity_exceeded", message: "Your card was declined for making repeated attempts too frequently or exceeding its amount limit."},

	"pm_card_authenticationRequired": {brand: "visa", last4: "3184", authenticates: true},
	"pm_card_threeDSecure2Required":  {brand: "visa", last4: "3220", authenticates: true},
}

// decline is the card_error of charging m, nil where charging it succeeds.
func (m testMethod) decline() *apiError {
	if m.code == "" {
		return nil
	}
	return &apiError{
		status:      http.StatusPaymentRequired,
		Type:        "card_error",
		Code:        m.code,
		DeclineCode: m.declineCode,
		DocURL:      "https://stripe.com/docs/error-codes",
		Message:     m.message,
	}
}

// minimumAmounts are the currencies taken, each with Stripe's smallest charge in minor units.
var minimumAmounts = map[string]int64{
	"aed": 200, "aud": 50, "bgn": 100, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250,
	"eur": 50, "gbp": 30, "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000, "myr": 200,
	"nok": 300, "nzd": 50, "pln": 200, "ron": 200, "sek": 300, "sgd": 50, "thb": 1000, "usd": 50,
}

// maximumAmount is Stripe's eight digits.
const maximumAmount = 99_999_999
