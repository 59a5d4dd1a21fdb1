package gateway

import (
	"encoding/json"
	"fmt"

	"github.com/stripe/stripe-go/v85"
	"github.com/stripe/stripe-go/v85/webhook"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// ErrForged reports a webhook that Stripe did not sign, or not within the last five minutes: somebody may
// have kept it to send it again.
var ErrForged = problem.New(problem.Invalid, "INVALID_SIGNATURE", "The signature is not the card processor's")

// Webhooks reads what Stripe sends on its own.
type Webhooks struct {
	Secret string // of the endpoint that is registered with Stripe: whsec_...
}

// Event is something that happened at Stripe.
type Event struct {
	ID   string // the same each time that Stripe sends it
	Type string // in Stripe's words, such as payment_intent.succeeded
	// Charge is what it says of a charge of ours. Its TransactionID alone is set where the event is about
	// something else of that transaction, and of a refund the Status too.
	Charge  Charge
	OrderID string
}

// Read checks a webhook's body, as it came, against the header Stripe-Signature, and reads it. It returns
// ErrForged. An event about nothing of ours has no more than an ID and a Type.
func (w Webhooks) Read(body []byte, signature string) (Event, error) {
	// Not ConstructEvent: it also refuses every API version but stripe-go's own, and an account's endpoint
	// has the version of the day that it was made. What is read below is the same in all of them.
	if err := webhook.ValidatePayload(body, signature, w.Secret); err != nil {
		return Event{}, ErrForged.Because(err)
	}
	var sent struct {
		ID   string
		Type string
		Data struct{ Object json.RawMessage }
	}
	if err := json.Unmarshal(body, &sent); err != nil {
		return Event{}, fmt.Errorf("webhook: %w", err)
	}
	event := Event{ID: sent.ID, Type: sent.Type}
	var kind struct{ Object string }
	if len(sent.Data.Object) == 0 { // a thin event, which has only a reference
		return event, nil
	}
	err := json.Unmarshal(sent.Data.Object, &kind)
	if err == nil {
		err = event.read(kind.Object, sent.Data.Object)
	}
	if err != nil {
		return Event{}, fmt.Errorf("webhook %s: %w", sent.ID, err)
	}
	return event, nil
}

func (e *Event) read(kind string, object json.RawMessage) error {
	switch kind {
	case "payment_intent":
		var intent stripe.PaymentIntent
		if err := json.Unmarshal(object, &intent); err != nil {
			return err
		}
		e.Charge, e.OrderID = chargeOf(intent.Metadata[attemptKey], &intent), intent.Metadata[orderID]
	case "charge":
		var charge stripe.Charge
		if err := json.Unmarshal(object, &charge); err != nil {
			return err
		}
		if charge.PaymentIntent != nil {
			e.Charge.TransactionID, e.OrderID = charge.PaymentIntent.ID, charge.Metadata[orderID]
		}
	case "refund":
		var refund stripe.Refund
		if err := json.Unmarshal(object, &refund); err != nil {
			return err
		}
		if refund.PaymentIntent != nil {
			e.Charge.TransactionID, e.Charge.Status = refund.PaymentIntent.ID, refundOf("", &refund).Status
		}
	}
	return nil
}
