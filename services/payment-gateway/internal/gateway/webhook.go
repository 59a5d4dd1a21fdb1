package gateway

import (
	"encoding/json"
	"fmt"

	"github.com/stripe/stripe-go/v85"
	"github.com/stripe/stripe-go/v85/webhook"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// ErrForged reports a webhook event that is not signed with the endpoint's secret, or whose signature is more than five
// minutes old and may be a replay.
var ErrForged = problem.New(problem.Invalid, "INVALID_SIGNATURE", "The signature is not the card processor's")

// Webhooks parses the webhook events that Stripe sends.
type Webhooks struct {
	Secret string // signing secret of the endpoint that is registered with Stripe: whsec_...
}

// Event is a webhook event.
type Event struct {
	ID   string // the same each time that Stripe delivers the event
	Type string // Stripe's event type, such as payment_intent.succeeded
	// Charge is the state of a charge of ours. Of an event about another object of the transaction, it has the
	// TransactionID only; of one about a refund, also the refund's Status and, if it failed, the DeclineCode and Message.
	Charge    Charge
	RefundKey string // of an event about a refund of ours
	OrderID   string
	Dispute   *calls.Dispute // of an event about a dispute; otherwise nil
}

// Parse verifies the signature of a webhook event and parses it. The body must be as received, byte by byte, and
// signature is the header Stripe-Signature. Parse returns ErrForged if the signature does not verify, and any other
// error if a genuine event cannot be parsed. An event about an object that is not ours has only an ID and a Type.
func (w Webhooks) Parse(body []byte, signature string) (Event, error) {
	// Not webhook.ConstructEvent: it accepts only stripe-go's own API version, and an account's endpoint keeps the
	// version of the day on which it was created. The fields read below are the same in all versions.
	if err := webhook.ValidatePayload(body, signature, w.Secret); err != nil {
		return Event{}, ErrForged.Because(err)
	}
	var payload struct {
		ID   string
		Type string
		Data struct{ Object json.RawMessage }
	}
	if err := json.Unmarshal(body, &payload); err != nil {
		return Event{}, fmt.Errorf("webhook: %w", err)
	}
	event := Event{ID: payload.ID, Type: payload.Type}
	if len(payload.Data.Object) == 0 { // a thin event, which has only a reference to its object
		return event, nil
	}
	var object struct{ Object string }
	err := json.Unmarshal(payload.Data.Object, &object)
	if err == nil {
		err = event.parseObject(object.Object, payload.Data.Object)
	}
	if err != nil {
		return Event{}, fmt.Errorf("webhook %s: %w", payload.ID, err)
	}
	return event, nil
}

// parseObject sets what e reports about the Stripe object of the given type.
func (e *Event) parseObject(objectType string, object json.RawMessage) error {
	switch objectType {
	case "payment_intent":
		var intent stripe.PaymentIntent
		if err := json.Unmarshal(object, &intent); err != nil {
			return err
		}
		e.Charge = chargeOf(intent.Metadata[metadataAttemptKey], &intent)
		e.OrderID = intent.Metadata[metadataOrderID]
	case "charge":
		var charge stripe.Charge
		if err := json.Unmarshal(object, &charge); err != nil {
			return err
		}
		if charge.PaymentIntent != nil {
			e.Charge.TransactionID, e.OrderID = charge.PaymentIntent.ID, charge.Metadata[metadataOrderID]
		}
	case "refund":
		var refund stripe.Refund
		if err := json.Unmarshal(object, &refund); err != nil {
			return err
		}
		if refund.PaymentIntent != nil {
			e.RefundKey = refund.Metadata[metadataRefundKey]
			made := refundOf(e.RefundKey, &refund)
			e.Charge.TransactionID, e.Charge.Status = refund.PaymentIntent.ID, made.Status
			e.Charge.DeclineCode, e.Charge.Message = made.FailureCode, made.Message
		}
	case "dispute":
		var dispute stripe.Dispute
		if err := json.Unmarshal(object, &dispute); err != nil {
			return err
		}
		var err error
		if e.Dispute, err = disputeOf(&dispute); err != nil {
			return err
		}
		if e.Dispute != nil {
			e.Charge.TransactionID = e.Dispute.TransactionID
		}
	}
	return nil
}
