package simulator

import "net/http"

// dispute is a Dispute as Stripe renders it.
type dispute struct {
	ID                 string            `json:"id"`
	Object             string            `json:"object"`
	Amount             int64             `json:"amount"`
	Charge             string            `json:"charge"`
	Created            int64             `json:"created"`
	Currency           string            `json:"currency"`
	IsChargeRefundable bool              `json:"is_charge_refundable"`
	Livemode           bool              `json:"livemode"`
	Metadata           map[string]string `json:"metadata"`
	PaymentIntent      string            `json:"payment_intent"`
	Reason             string            `json:"reason"`
	Status             string            `json:"status"`
}

// The statuses of a dispute that the simulator uses.
const (
	disputeNeedsResponse = "needs_response"
	disputeWon           = "won"
	disputeLost          = "lost"
)

// openDispute returns the entry in which the cardholder disputes the charge of pi, for what is not refunded. A charge
// that is refunded in full cannot be disputed.
func (s *Server) openDispute(pi storedIntent) entry {
	reason := pi.Dispute.To
	pi.Dispute = nil
	amount := pi.Intent.AmountReceived - pi.Refunded
	if amount == 0 {
		return entry{Intent: &pi}
	}
	d := dispute{
		ID: newID("dp"), Object: "dispute", Amount: amount, Charge: *pi.Intent.LatestCharge, Created: s.now().Unix(),
		Currency: pi.Intent.Currency, Metadata: map[string]string{}, PaymentIntent: pi.Intent.ID, Reason: reason,
		Status: disputeNeedsResponse,
	}
	return entry{Intent: &pi, Dispute: &d, news: []announcement{
		{"charge.dispute.created", d}, {"charge.dispute.funds_withdrawn", d},
	}}
}

// disputed returns the amount of an intent's charge that the bank has taken because of disputes that are open or lost.
// Such a charge cannot be refunded.
func (s *Server) disputed(intentID string) int64 {
	var amount int64
	for _, id := range s.disputeOrder {
		if d := s.disputes[id]; d.PaymentIntent == intentID && d.Status != disputeWon {
			amount += d.Amount
		}
	}
	return amount
}

// updateDispute executes POST /v1/disputes/{id}. As with Stripe's test cards, the text winning_evidence or
// losing_evidence decides the dispute.
func (s *Server) updateDispute(p params, id string) (outcome, *apiError) {
	if apiErr := p.only("evidence", "submit", "metadata"); apiErr != nil {
		return outcome{}, apiErr
	}
	submit, apiErr := p.boolean("submit")
	if apiErr != nil {
		return outcome{}, apiErr
	}
	switch p.Get("evidence[uncategorized_text]") {
	case "winning_evidence":
		return s.decideDispute(id, disputeWon)
	case "losing_evidence":
		return s.decideDispute(id, disputeLost)
	}
	if submit {
		return outcome{}, invalidRequest("", "evidence",
			"evidence[uncategorized_text] must be winning_evidence or losing_evidence: this simulator reads no other evidence")
	}
	return s.decideDispute(id, disputeNeedsResponse)
}

// closeDispute executes POST /v1/disputes/{id}/close, which accepts that the dispute is lost.
func (s *Server) closeDispute(p params, id string) (outcome, *apiError) {
	if apiErr := p.only(); apiErr != nil {
		return outcome{}, apiErr
	}
	return s.decideDispute(id, disputeLost)
}

func (s *Server) decideDispute(id, status string) (outcome, *apiError) {
	old, ok := s.disputes[id]
	if !ok {
		return outcome{}, noSuch(http.StatusNotFound, "dispute", "dispute", id)
	}
	if old.Status != disputeNeedsResponse {
		return outcome{}, invalidRequest("", "", "This dispute is already closed: its status is %s.", old.Status)
	}
	d := *old
	d.Status = status
	var news []announcement
	switch status {
	case disputeWon:
		news = []announcement{{"charge.dispute.closed", d}, {"charge.dispute.funds_reinstated", d}}
	case disputeLost:
		news = []announcement{{"charge.dispute.closed", d}}
	default:
		news = []announcement{{"charge.dispute.updated", d}}
	}
	return outcome{entry: entry{Dispute: &d, news: news}, status: http.StatusOK, body: d}, nil
}

// retrieveDispute answers GET /v1/disputes/{id}.
func (s *Server) retrieveDispute(p params, id string) (any, *apiError) {
	if apiErr := p.only(); apiErr != nil {
		return nil, apiErr
	}
	d, ok := s.disputes[id]
	if !ok {
		return nil, noSuch(http.StatusNotFound, "dispute", "id", id)
	}
	return *d, nil
}
