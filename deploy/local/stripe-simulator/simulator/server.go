package simulator

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// keyLifetime is how long Stripe remembers an idempotency key at least.
const keyLifetime = 24 * time.Hour

// Server is the simulated Stripe. Open makes one; Handler serves it.
type Server struct {
	log      *slog.Logger
	now      func() time.Time
	switches board

	mu          sync.Mutex
	journal     *journal
	intents     map[string]*storedIntent
	intentOrder []string
	refunds     map[string]*refund
	refundOrder []string
	answers     map[string]savedAnswer
	inFlight    map[string]bool
	counters    map[string]int64
	events      chan<- event // to the endpoint for webhooks; nil without one
}

// savedAnswer is what an idempotency key replays.
type savedAnswer struct {
	Fingerprint string          `json:"fingerprint"`
	Status      int             `json:"status"`
	Body        json.RawMessage `json:"body"`
	RequestID   string          `json:"requestId"`
	At          time.Time       `json:"at"`
}

// outcome is what executing a POST changed, and its answer.
type outcome struct {
	entry   entry
	status  int
	body    any
	counter string
}

// errorBody wraps an error as Stripe's responses do.
type errorBody struct {
	Error *apiError `json:"error"`
}

// Open opens the state in dir, creating it where there is none. It fails when
// the journal is damaged beyond a torn last line or held by another process.
func Open(dir string, log *slog.Logger) (*Server, error) {
	s := &Server{
		log:      log,
		now:      time.Now,
		intents:  map[string]*storedIntent{},
		refunds:  map[string]*refund{},
		answers:  map[string]savedAnswer{},
		inFlight: map[string]bool{},
		counters: map[string]int64{},
	}
	journal, err := openJournal(dir, s.apply)
	if err != nil {
		return nil, err
	}
	s.journal = journal
	return s, nil
}

// Close closes the journal; requests after it fail.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.journal.close()
}

// Handler is the API of Stripe and, under /_ and /healthz, the simulator's own.
func (s *Server) Handler() http.Handler {
	stripe := http.NewServeMux()
	stripe.HandleFunc("POST /v1/payment_intents", s.post(s.createIntent))
	stripe.HandleFunc("POST /v1/payment_intents/{id}/confirm", s.post(s.confirmIntent))
	stripe.HandleFunc("POST /v1/payment_intents/{id}/cancel", s.post(s.cancelIntent))
	stripe.HandleFunc("GET /v1/payment_intents", s.get(s.listIntents))
	stripe.HandleFunc("GET /v1/payment_intents/search", s.get(s.searchIntents))
	stripe.HandleFunc("GET /v1/payment_intents/{id}", s.get(s.retrieveIntent))
	stripe.HandleFunc("POST /v1/refunds", s.post(s.createRefund))
	stripe.HandleFunc("GET /v1/refunds", s.get(s.listRefunds))
	stripe.HandleFunc("GET /v1/refunds/{id}", s.get(s.retrieveRefund))
	stripe.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		e := invalidRequest("", "", "Unrecognized request URL (%s: %s). This simulator has only a part of Stripe's API.", r.Method, r.URL.Path)
		e.status = http.StatusNotFound
		s.reply(w, r, savedAnswer{Status: e.status, Body: marshal(errorBody{e}), RequestID: newID("req")}, false)
	})

	mux := http.NewServeMux()
	mux.Handle("/v1/", s.authenticated(stripe))
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
	mux.HandleFunc("GET /_switches", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, marshal(s.switches.get()))
	})
	mux.HandleFunc("PUT /_switches", s.putSwitches)
	mux.HandleFunc("DELETE /_switches", func(w http.ResponseWriter, _ *http.Request) {
		s.switches.put(Switches{})
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

// authenticated demands a secret test key, as bearer token or basic user.
func (s *Server) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !bearer {
			key, _, _ = r.BasicAuth()
		}
		var e *apiError
		switch {
		case key == "":
			e = invalidRequest("", "", "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth.")
		case strings.HasPrefix(key, "sk_live_"), strings.HasPrefix(key, "rk_live_"), strings.HasPrefix(key, "pk_"):
			e = invalidRequest("api_key_expired", "", "Invalid API Key provided: this simulator takes secret test keys only.")
		default:
			next.ServeHTTP(w, r)
			return
		}
		e.status = http.StatusUnauthorized
		s.reply(w, r, savedAnswer{Status: e.status, Body: marshal(errorBody{e}), RequestID: newID("req")}, false)
	})
}

// post serves a request that changes something, under its idempotency key.
func (s *Server) post(execute func(p params, id string) (outcome, *apiError)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		requestID := newID("req")
		refuse := func(e *apiError) {
			s.reply(w, r, savedAnswer{Status: e.status, Body: marshal(errorBody{e}), RequestID: requestID}, false)
		}
		strike := s.switches.arriving(r)
		if strike.failStatus != 0 {
			s.count("failed")
			refuse(internalError(strike.failStatus))
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			refuse(invalidRequest("", "", "The request body could not be read."))
			return
		}
		form, err := url.ParseQuery(string(body))
		if err != nil {
			refuse(invalidRequest("", "", "The request body is not form-encoded."))
			return
		}
		key := r.Header.Get("Idempotency-Key")
		if len(key) > 255 {
			refuse(invalidRequest("", "", "Idempotency keys may be at most 255 characters."))
			return
		}
		// Encode sorts by name, so that the order of a form does not matter.
		digest := sha256.Sum256([]byte(r.URL.Path + "?" + form.Encode()))
		fingerprint := hex.EncodeToString(digest[:])

		answer, replayed, apiErr := s.claim(key, fingerprint)
		if apiErr != nil {
			refuse(apiErr)
			return
		}
		if !replayed {
			// From here on the caller's patience does not matter: Stripe finishes
			// what it began, whether or not anybody still listens.
			time.Sleep(strike.delay)
			answer, apiErr = s.execute(r, params{form}, key, savedAnswer{Fingerprint: fingerprint, RequestID: requestID}, execute)
			if apiErr != nil {
				refuse(apiErr)
				return
			}
		}
		time.Sleep(strike.delayAnswer)
		if s.switches.losesAnswer(r) {
			s.count("lost")
			s.log.Info("answer lost on purpose", "method", r.Method, "path", r.URL.Path, "requestId", answer.RequestID)
			drop(w)
			return
		}
		s.reply(w, r, answer, replayed)
	}
}

// claim takes key for a new request, or finds the answer saved under it.
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
				status:  http.StatusBadRequest,
				Type:    "idempotency_error",
				Message: "Keys for idempotent requests can only be used with the same parameters they were first used with.",
			}
		}
		s.counters["replayed"]++
		return saved, true, nil
	}
	s.inFlight[key] = true
	return savedAnswer{}, false, nil
}

// execute runs a claimed request, makes its effects and its answer durable in
// one journal line, and gives the key back. Nothing is saved for a request that
// failed validation.
func (s *Server) execute(r *http.Request, p params, key string, answer savedAnswer,
	execute func(params, string) (outcome, *apiError),
) (savedAnswer, *apiError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer delete(s.inFlight, key)

	done, apiErr := execute(p, r.PathValue("id"))
	if apiErr != nil {
		return savedAnswer{}, apiErr
	}
	answer.Status, answer.Body, answer.At = done.status, marshal(done.body), s.now()
	if s.switches.failsAfter(r) {
		s.counters["failedAfter"]++
		answer.Status = http.StatusInternalServerError
		answer.Body = marshal(errorBody{internalError(answer.Status)})
	}
	if key != "" {
		done.entry.Key, done.entry.Answer = key, &answer
	}
	if err := s.journal.append(done.entry); err != nil {
		s.log.Error("journal", "error", err)
		return savedAnswer{}, internalError(http.StatusInternalServerError)
	}
	s.apply(done.entry)
	s.announce(done.entry, answer.RequestID)
	if done.counter != "" {
		s.counters[done.counter]++
	}
	return answer, nil
}

// apply makes a committed entry part of the state; a start replays the journal
// through it. The caller holds the lock, or is alone.
func (s *Server) apply(e entry) {
	if e.Intent != nil {
		id := e.Intent.Intent.ID
		if _, known := s.intents[id]; !known {
			s.intentOrder = append(s.intentOrder, id)
		}
		s.intents[id] = e.Intent
	}
	if e.Refund != nil {
		s.refunds[e.Refund.ID] = e.Refund
		s.refundOrder = append(s.refundOrder, e.Refund.ID)
	}
	if e.Answer != nil {
		s.answers[e.Key] = *e.Answer
	}
}

// get serves a request that changes nothing.
func (s *Server) get(read func(p params, id string) (any, *apiError)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer := savedAnswer{Status: http.StatusOK, RequestID: newID("req")}
		strike := s.switches.arriving(r)
		if strike.failStatus != 0 {
			s.count("failed")
			answer.Status, answer.Body = strike.failStatus, marshal(errorBody{internalError(strike.failStatus)})
			s.reply(w, r, answer, false)
			return
		}
		time.Sleep(strike.delay)
		s.mu.Lock()
		body, apiErr := read(params{r.URL.Query()}, r.PathValue("id"))
		if apiErr != nil {
			answer.Status, body = apiErr.status, errorBody{apiErr}
		}
		answer.Body = marshal(body)
		s.mu.Unlock()
		time.Sleep(strike.delayAnswer)
		s.reply(w, r, answer, false)
	}
}

func (s *Server) retrieveIntent(p params, id string) (any, *apiError) {
	if apiErr := p.only("client_secret"); apiErr != nil {
		return nil, apiErr
	}
	pi, ok := s.intents[id]
	if !ok {
		return nil, noSuch(http.StatusNotFound, "payment_intent", "intent", id)
	}
	return pi.Intent, nil
}

func (s *Server) retrieveRefund(p params, id string) (any, *apiError) {
	if apiErr := p.only(); apiErr != nil {
		return nil, apiErr
	}
	re, ok := s.refunds[id]
	if !ok {
		return nil, noSuch(http.StatusNotFound, "refund", "id", id)
	}
	return re, nil
}

// Charge is one line of GET /_charges: what an auditor holds against the orders.
type Charge struct {
	ID             string            `json:"id"`
	Status         string            `json:"status"`
	Amount         int64             `json:"amount"`
	AmountReceived int64             `json:"amountReceived"`
	AmountRefunded int64             `json:"amountRefunded"`
	Currency       string            `json:"currency"`
	Metadata       map[string]string `json:"metadata"`
	Created        time.Time         `json:"created"`
}

func (s *Server) charges(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	charges := make([]Charge, 0, len(s.intentOrder))
	for _, id := range s.intentOrder {
		pi := s.intents[id]
		charges = append(charges, Charge{
			ID:             id,
			Status:         pi.Intent.Status,
			Amount:         pi.Intent.Amount,
			AmountReceived: pi.Intent.AmountReceived,
			AmountRefunded: pi.Refunded,
			Currency:       pi.Intent.Currency,
			Metadata:       pi.Intent.Metadata,
			Created:        time.UnixMilli(pi.CreatedMs).UTC(),
		})
	}
	s.mu.Unlock()
	writeJSON(w, http.StatusOK, marshal(map[string]any{"charges": charges}))
}

func (s *Server) putSwitches(w http.ResponseWriter, r *http.Request) {
	var set Switches
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&set); err != nil {
		writeJSON(w, http.StatusBadRequest, marshal(errorBody{invalidRequest("", "", "switches: %v", err)}))
		return
	}
	if apiErr := set.valid(); apiErr != nil {
		writeJSON(w, apiErr.status, marshal(errorBody{apiErr}))
		return
	}
	s.switches.put(set)
	s.log.Info("switches set", "switches", set)
	writeJSON(w, http.StatusOK, marshal(set))
}

// reply writes an answer of the Stripe API and logs it: its path and status,
// never a parameter.
func (s *Server) reply(w http.ResponseWriter, r *http.Request, answer savedAnswer, replayed bool) {
	header := w.Header()
	header.Set("Request-Id", answer.RequestID)
	if key := r.Header.Get("Idempotency-Key"); key != "" {
		header.Set("Idempotency-Key", key)
	}
	if replayed {
		// A replay has a request id of its own and names the one it repeats.
		header.Set("Request-Id", newID("req"))
		header.Set("Original-Request", answer.RequestID)
		header.Set("Idempotent-Replayed", "true")
	}
	writeJSON(w, answer.Status, answer.Body)
	s.log.Info("answered", "method", r.Method, "path", r.URL.Path, "status", answer.Status,
		"requestId", answer.RequestID, "replayed", replayed)
}

func (s *Server) count(counter string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counters[counter]++
}

// drop breaks the connection in the middle of the status line. A connection
// closed before its first byte would not do: net/http's client repeats a request
// that carries an Idempotency-Key by itself when a reused connection dies so.
func drop(w http.ResponseWriter) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, _ = io.WriteString(connection, "HTTP/1.1 ")
	_ = connection.Close()
}

// marshal encodes our own types, which cannot fail.
func marshal(body any) json.RawMessage {
	encoded, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return encoded
}

func writeJSON(w http.ResponseWriter, status int, body json.RawMessage) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
