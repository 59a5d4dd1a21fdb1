package simulator

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"time"
)

// registerControl registers the simulator's own API, for tests and the audit.
func (s *Server) registerControl(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		broken := s.journal.broken
		s.mu.Unlock()
		if broken != nil {
			http.Error(w, "the journal cannot be written", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("GET /_charges", s.charges)
	mux.HandleFunc("GET /_counters", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		counters := maps.Clone(s.counters)
		counters["inFlight"] = int64(len(s.inFlight))
		s.mu.Unlock()
		writeJSON(w, http.StatusOK, marshal(counters))
	})
	mux.HandleFunc("GET /_faults", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, marshal(s.faults.get()))
	})
	mux.HandleFunc("PUT /_faults", s.putFaults)
	mux.HandleFunc("DELETE /_faults", func(w http.ResponseWriter, _ *http.Request) {
		s.faults.set(Faults{})
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /_webhooks", s.resend)
}

// Charge is one item of GET /_charges, which the audit compares with the orders.
type Charge struct {
	ID             string            `json:"id"`
	Status         string            `json:"status"`
	Amount         int64             `json:"amount"`
	AmountReceived int64             `json:"amountReceived"`
	AmountRefunded int64             `json:"amountRefunded"`    // without refunds that failed
	Dispute        string            `json:"dispute,omitempty"` // the status of the charge's last dispute
	AmountDisputed int64             `json:"amountDisputed"`    // of disputes that are open or lost
	Currency       string            `json:"currency"`
	Metadata       map[string]string `json:"metadata"`
	Created        time.Time         `json:"created"`
}

func (s *Server) charges(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	s.settle()
	disputes := map[string]string{}
	for _, id := range s.disputeOrder {
		disputes[s.disputes[id].PaymentIntent] = s.disputes[id].Status
	}
	charges := make([]Charge, 0, len(s.intentOrder))
	for _, id := range s.intentOrder {
		pi := s.intents[id]
		charges = append(charges, Charge{
			ID:             id,
			Status:         pi.Intent.Status,
			Amount:         pi.Intent.Amount,
			AmountReceived: pi.Intent.AmountReceived,
			AmountRefunded: pi.Refunded,
			Dispute:        disputes[id],
			AmountDisputed: s.disputed(id),
			Currency:       pi.Intent.Currency,
			Metadata:       pi.Intent.Metadata,
			Created:        time.UnixMilli(pi.CreatedMs).UTC(),
		})
	}
	s.mu.Unlock()
	writeJSON(w, http.StatusOK, marshal(struct {
		Charges []Charge `json:"charges"`
	}{charges}))
}

// resend sends the events again that report the failure of a refund. A lost one has no other trace for the system, and
// Stripe sends it for three days.
func (s *Server) resend(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	var answer struct {
		Sent int `json:"sent"`
	}
	for _, id := range s.refundOrder {
		if re := s.refunds[id]; re.Status == refundFailed {
			s.announce(entry{news: []announcement{{"refund.failed", re.refund}}}, "")
			answer.Sent++
		}
	}
	writeJSON(w, http.StatusAccepted, marshal(answer))
}

func (s *Server) putFaults(w http.ResponseWriter, r *http.Request) {
	var faults Faults
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&faults); err != nil {
		writeJSON(w, http.StatusBadRequest, marshal(errorBody{invalidRequest("", "", "faults: %v", err)}))
		return
	}
	if apiErr := faults.validate(); apiErr != nil {
		writeJSON(w, apiErr.status, marshal(errorBody{apiErr}))
		return
	}
	s.faults.set(faults)
	s.log.Info("faults set", "faults", faults)
	writeJSON(w, http.StatusOK, marshal(faults))
}
