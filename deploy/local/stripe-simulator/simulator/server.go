package simulator

import (
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Server is the simulated Stripe. Open creates one, and Handler serves it.
type Server struct {
	log    *slog.Logger
	now    func() time.Time
	faults injector
	base   string // URL of this server, for links to the bank's page

	mu           sync.Mutex
	journal      *journal
	intents      map[string]*storedIntent
	intentOrder  []string // ids, oldest first
	refunds      map[string]*storedRefund
	refundOrder  []string // ids, oldest first
	disputes     map[string]*dispute
	disputeOrder []string // ids, oldest first
	unsettled    idSet    // intents and refunds with a later change
	answers      map[string]savedAnswer
	inFlight     map[string]bool // the keys in use
	counters     map[string]int64
	events       chan<- event // to the webhook endpoint; nil without one
}

// outcome is what executing a POST changed, and its answer.
type outcome struct {
	entry   entry
	status  int
	body    any
	counter string // the counter to increment; empty for none
}

// Open opens the state in dir, and creates it if dir has none. Base is the URL at which Handler is served; links to the
// bank's page begin with it. Open returns an error when the journal is damaged before its last line, or when another
// process has it open.
func Open(dir, base string, log *slog.Logger) (*Server, error) {
	s := &Server{
		base:      base,
		log:       log,
		now:       time.Now,
		intents:   map[string]*storedIntent{},
		refunds:   map[string]*storedRefund{},
		disputes:  map[string]*dispute{},
		unsettled: idSet{},
		answers:   map[string]savedAnswer{},
		inFlight:  map[string]bool{},
		counters:  map[string]int64{},
	}
	journal, err := openJournal(dir, s.apply)
	if err != nil {
		return nil, err
	}
	s.journal = journal
	return s, nil
}

// Close closes the journal. Later requests fail.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.journal.close()
}

// Handler serves Stripe's API under /v1/, and the simulator's own under /_ and /healthz.
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
	stripe.HandleFunc("GET /v1/disputes", s.get(s.listDisputes))
	stripe.HandleFunc("GET /v1/disputes/{id}", s.get(s.retrieveDispute))
	stripe.HandleFunc("POST /v1/disputes/{id}", s.post(s.updateDispute))
	stripe.HandleFunc("POST /v1/disputes/{id}/close", s.post(s.closeDispute))
	stripe.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		e := invalidRequest("", "",
			"Unrecognized request URL (%s: %s). This simulator has only a part of Stripe's API.", r.Method, r.URL.Path)
		e.status = http.StatusNotFound
		s.replyError(w, r, newID("req"), e)
	})

	mux := http.NewServeMux()
	mux.Handle("/v1/", s.authenticated(stripe))
	s.registerControl(mux)
	s.registerBank(mux)
	return mux
}

// authenticated requires a secret test key, as a bearer token or as the user of basic authentication.
func (s *Server) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !bearer {
			key, _, _ = r.BasicAuth()
		}
		var e *apiError
		switch {
		case key == "":
			e = invalidRequest("", "", "You did not provide an API key. "+
				"You need to provide your API key in the Authorization header, using Bearer auth.")
		case strings.HasPrefix(key, "sk_live_"), strings.HasPrefix(key, "rk_live_"), strings.HasPrefix(key, "pk_"):
			e = invalidRequest("api_key_expired", "",
				"Invalid API Key provided: this simulator accepts secret test keys only.")
		default:
			next.ServeHTTP(w, r)
			return
		}
		e.status = http.StatusUnauthorized
		s.replyError(w, r, newID("req"), e)
	})
}

// post serves a request that changes state, under its idempotency key.
func (s *Server) post(execute func(p params, id string) (outcome, *apiError)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		requestID := newID("req")
		refuse := func(e *apiError) { s.replyError(w, r, requestID, e) }
		fault := s.faults.request(r)
		if fault.failStatus != 0 {
			s.count("failed")
			refuse(internalError(fault.failStatus))
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

		digest := fingerprint(r.URL.Path, form)
		answer, replayed, apiErr := s.claim(key, digest)
		if apiErr != nil {
			refuse(apiErr)
			return
		}
		if !replayed {
			// From here on the request is executed even if the caller disconnects, as Stripe does.
			time.Sleep(fault.delay)
			answer = savedAnswer{Fingerprint: digest, RequestID: requestID}
			answer, apiErr = s.execute(r, params{form}, key, answer, execute)
			if apiErr != nil {
				refuse(apiErr)
				return
			}
		}
		time.Sleep(fault.delayAnswer)
		if s.faults.losesAnswer(r) {
			s.count("lost")
			s.log.Info("answer dropped by injected fault",
				"method", r.Method, "path", r.URL.Path, "requestId", answer.RequestID)
			drop(w)
			return
		}
		s.reply(w, r, answer, replayed)
	}
}

// get serves a request that changes nothing.
func (s *Server) get(read func(p params, id string) (any, *apiError)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer := savedAnswer{Status: http.StatusOK, RequestID: newID("req")}
		fault := s.faults.request(r)
		if fault.failStatus != 0 {
			s.count("failed")
			s.replyError(w, r, answer.RequestID, internalError(fault.failStatus))
			return
		}
		time.Sleep(fault.delay)
		s.mu.Lock()
		s.settle()
		body, apiErr := read(params{r.URL.Query()}, r.PathValue("id"))
		if apiErr != nil {
			answer.Status, body = apiErr.status, errorBody{apiErr}
		}
		answer.Body = marshal(body)
		s.mu.Unlock()
		time.Sleep(fault.delayAnswer)
		s.reply(w, r, answer, false)
	}
}

func (s *Server) count(counter string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counters[counter]++
}
