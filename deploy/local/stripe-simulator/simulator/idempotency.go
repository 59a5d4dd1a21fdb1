package simulator

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// keyLifetime is the shortest time for which Stripe remembers an idempotency key.
const keyLifetime = 24 * time.Hour

// savedAnswer is the answer that is replayed for an idempotency key.
type savedAnswer struct {
	Fingerprint string          `json:"fingerprint"`
	Status      int             `json:"status"`
	Body        json.RawMessage `json:"body"`
	RequestID   string          `json:"requestId"`
	At          time.Time       `json:"at"`
}

// fingerprint identifies a request's path and parameters. The order of the parameters does not matter, because Encode
// sorts them by name.
func fingerprint(path string, form url.Values) string {
	digest := sha256.Sum256([]byte(path + "?" + form.Encode()))
	return hex.EncodeToString(digest[:])
}

// claim marks key as in use by a new request, or returns the answer saved under it. It refuses a key that is in use,
// and one that was used with other parameters.
func (s *Server) claim(key, fingerprint string) (answer savedAnswer, replayed bool, apiErr *apiError) {
	if key == "" {
		return savedAnswer{}, false, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inFlight[key] {
		s.counters["keysInUse"]++
		return savedAnswer{}, false, &apiError{
			status:  http.StatusConflict,
			Type:    "invalid_request_error",
			Code:    "idempotency_key_in_use",
			Message: "There is currently another in-progress request using this Idempotent Key.",
		}
	}
	if saved, ok := s.answers[key]; ok && s.now().Sub(saved.At) < keyLifetime {
		if saved.Fingerprint != fingerprint {
			s.counters["keysMisused"]++
			return savedAnswer{}, false, &apiError{
				status: http.StatusBadRequest,
				Type:   "idempotency_error",
				Message: "Keys for idempotent requests can only be used " +
					"with the same parameters they were first used with.",
			}
		}
		s.counters["replayed"]++
		return saved, true, nil
	}
	s.inFlight[key] = true
	return savedAnswer{}, false, nil
}

// execute runs a claimed request, writes its effects and its answer to the journal as one line, and releases the key.
// It saves nothing for a request that fails validation.
func (s *Server) execute(r *http.Request, p params, key string, answer savedAnswer,
	execute func(params, string) (outcome, *apiError),
) (savedAnswer, *apiError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer delete(s.inFlight, key)

	s.settle()
	done, apiErr := execute(p, r.PathValue("id"))
	if apiErr != nil {
		return savedAnswer{}, apiErr
	}
	answer.Status, answer.Body, answer.At = done.status, marshal(done.body), s.now()
	if s.faults.failsAfter(r) {
		s.counters["failedAfter"]++
		answer.Status = http.StatusInternalServerError
		answer.Body = marshal(errorBody{internalError(answer.Status)})
	}
	if key != "" {
		done.entry.Key, done.entry.Answer = key, &answer
	}
	if err := s.commit(done.entry, answer.RequestID); err != nil {
		return savedAnswer{}, internalError(http.StatusInternalServerError)
	}
	if done.counter != "" {
		s.counters[done.counter]++
	}
	return answer, nil
}

// commit makes a change durable, applies it, and queues its webhook events. The request id is empty for a change that
// no request made. The caller holds the lock.
func (s *Server) commit(e entry, requestID string) error {
	if err := s.journal.append(e); err != nil {
		s.log.Error("append to journal failed", "error", err)
		return err
	}
	s.apply(e)
	s.announce(e, requestID)
	return nil
}

// apply applies a committed entry to the state in memory. Open replays the journal through it; any other caller holds
// the lock.
func (s *Server) apply(e entry) {
	if e.Intent != nil {
		id := e.Intent.Intent.ID
		if _, known := s.intents[id]; !known {
			s.intentOrder = append(s.intentOrder, id)
		}
		s.intents[id] = e.Intent
		s.unsettled.set(id, e.Intent.Later != nil || e.Intent.Dispute != nil)
	}
	if e.Refund != nil {
		id := e.Refund.ID
		if _, known := s.refunds[id]; !known {
			s.refundOrder = append(s.refundOrder, id)
		}
		s.refunds[id] = e.Refund
		s.unsettled.set(id, e.Refund.Later != nil)
	}
	if e.Dispute != nil {
		if _, known := s.disputes[e.Dispute.ID]; !known {
			s.disputeOrder = append(s.disputeOrder, e.Dispute.ID)
		}
		s.disputes[e.Dispute.ID] = e.Dispute
	}
	if e.Answer != nil {
		s.answers[e.Key] = *e.Answer
	}
}
