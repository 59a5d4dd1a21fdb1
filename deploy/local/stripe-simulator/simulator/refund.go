package simulator

import (
	"net/http"
	"slices"
)

// refund is a Refund as Stripe renders it.
type refund struct {
	ID            string            `json:"id"`
	Object        string            `json:"object"`
	Amount        int64             `json:"amount"`
	Charge        string            `json:"charge"`
	Created       int64             `json:"created"`
	Currency      string            `json:"currency"`
	Metadata      map[string]string `json:"metadata"`
	PaymentIntent string            `json:"payment_intent"`
	Reason        *string           `json:"reason"`
	ReceiptNumber *string           `json:"receipt_number"`
	FailureReason *string           `json:"failure_reason,omitempty"`
	Status        string            `json:"status"`
}

// The statuses of a refund, besides statusSucceeded.
const (
	refundPending = "pending"
	refundFailed  = "failed"
)

// storedRefund is a refund with what Stripe knows about it but does not show.
type storedRefund struct {
	refund
	// Later is the status that the refund takes.
	Later *later `json:"later,omitempty"`
}

// createRefund executes POST /v1/refunds.
func (s *Server) createRefund(p params, _ string) (outcome, *apiError) {
	if apiErr := p.only("payment_intent", "charge", "amount", "reason", "metadata"); apiErr != nil {
		return outcome{}, apiErr
	}
	old, apiErr := s.refunded(p)
	if apiErr != nil {
		return outcome{}, apiErr
	}
	pi := *old
	if pi.Intent.Status != statusSucceeded {
		return outcome{}, invalidRequest("", "payment_intent",
			"This PaymentIntent (%s) does not have a successful charge to refund.", pi.Intent.ID)
	}
	if s.disputed(pi.Intent.ID) > 0 {
		return outcome{}, invalidRequest("charge_disputed", "",
			"Charge %s has been charged back; cannot issue a refund.", *pi.Intent.LatestCharge)
	}
	left := pi.Intent.AmountReceived - pi.Refunded
	if left == 0 {
		return outcome{}, invalidRequest("charge_already_refunded", "",
			"Charge %s has already been refunded.", *pi.Intent.LatestCharge)
	}
	amount, given, apiErr := p.integer("amount")
	if apiErr != nil {
		return outcome{}, apiErr
	}
	if !given {
		amount = left
	}
	reason := p.optional("reason")
	switch {
	case amount < 1:
		return outcome{}, invalidRequest("parameter_invalid_integer", "amount",
			"This value must be greater than or equal to 1.")
	case amount > left:
		return outcome{}, invalidRequest("", "amount",
			"Refund amount (%d) is greater than unrefunded amount on charge (%d)", amount, left)
	case reason != nil && !slices.Contains([]string{"duplicate", "fraudulent", "requested_by_customer"}, *reason):
		return outcome{}, invalidRequest("", "reason",
			"Invalid reason: must be one of duplicate, fraudulent, or requested_by_customer")
	}
	metadata, apiErr := p.metadata()
	if apiErr != nil {
		return outcome{}, apiErr
	}
	if s.faults.lacksBalance() {
		return outcome{}, invalidRequest("balance_insufficient", "",
			"Your account does not have enough available balance to make this refund.")
	}
	pi.Refunded += amount
	re := storedRefund{refund: refund{
		ID:            newID("re"),
		Object:        "refund",
		Amount:        amount,
		Charge:        *pi.Intent.LatestCharge,
		Created:       s.now().Unix(),
		Currency:      pi.Intent.Currency,
		Metadata:      metadata,
		PaymentIntent: pi.Intent.ID,
		Reason:        reason,
		Status:        statusSucceeded,
	}}
	status := testMethods[pi.TestMethod].refundsLater
	if status == "" && s.faults.failsRefund() {
		status = refundFailed
	}
	if status != "" {
		re.Later = s.later(status)
	}
	if status == statusSucceeded {
		re.Status = refundPending
	}
	return outcome{
		entry: entry{Intent: &pi, Refund: &re, news: []announcement{
			{"refund.created", re.refund}, {"charge.refunded", chargeOf(pi)},
		}},
		status: http.StatusOK, body: re.refund, counter: "refunded",
	}, nil
}

// chargeOf returns the charge of an intent as its events show it.
func chargeOf(pi storedIntent) refundedCharge {
	return refundedCharge{
		ID: *pi.Intent.LatestCharge, Object: "charge", Status: statusSucceeded, PaymentIntent: pi.Intent.ID,
		Metadata: pi.Intent.Metadata, Amount: pi.Intent.Amount, Currency: pi.Intent.Currency,
		AmountRefunded: pi.Refunded, Refunded: pi.Refunded == pi.Intent.AmountReceived,
	}
}

// refunded returns the intent that a refund is for, by its id or by the id of its charge.
func (s *Server) refunded(p params) (*storedIntent, *apiError) {
	id, charge := p.Get("payment_intent"), p.Get("charge")
	switch {
	case id == "" && charge == "":
		return nil, invalidRequest("parameter_missing", "charge",
			"One of the following params should be provided for this request: payment_intent or charge.")
	case id != "":
		if pi, ok := s.intents[id]; ok {
			return pi, nil
		}
		return nil, noSuch(http.StatusNotFound, "payment_intent", "payment_intent", id)
	}
	for _, pi := range s.intents {
		if pi.Intent.LatestCharge != nil && *pi.Intent.LatestCharge == charge {
			return pi, nil
		}
	}
	return nil, noSuch(http.StatusNotFound, "charge", "charge", charge)
}
