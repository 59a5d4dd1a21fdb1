package faults_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// hops are the last hops to the apps, each from a sidecar: calls of other services and deliveries of events pass here. What
// passes can be meddled with.
type hops struct {
	// log is told what became of each event that was brought to an app, which no sidecar and no app tells of all of them.
	log *slog.Logger

	mu        sync.Mutex
	meddlings map[string][]*meddling // by the app's name
}

// newHops writes its log to the other logs of a stack.
func newHops(dataDir string) (*hops, error) {
	dir := filepath.Join(dataDir, "logs")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("log what passes: %w", err)
	}
	file, err := os.Create(filepath.Join(dir, "hops.log"))
	if err != nil {
		return nil, fmt.Errorf("log what passes: %w", err)
	}
	return &hops{log: slog.New(slog.NewJSONHandler(file, nil))}, nil // the file is closed with the process
}

// meddling is what is done to requests.
type meddling struct {
	path   string                                  // how the requests' path ends
	event  string                                  // the type of the event that is delivered; empty for other requests
	within string                                  // what else their path contains
	left   int                                     // how many requests it is done to; less than 0 means all
	about  func(r *http.Request, body []byte) bool // of which requests besides; nil means any

	before func() // called with the request here, not yet with the app
	after  func() // called with the answer here, not yet with the sidecar
	drop   bool   // the app does not get the request
	twice  bool   // the app gets the request a second time, after it answered the first
	lose   bool   // the sidecar gets no answer
}

// add begins to meddle with what an app gets.
func (h *hops) add(app string, m *meddling) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.meddlings == nil {
		h.meddlings = map[string][]*meddling{}
	}
	h.meddlings[app] = append(h.meddlings[app], m)
}

// clear ends all meddling.
func (h *hops) clear() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.meddlings = nil
}

// take gives the meddling that a request is to suffer, or nil.
func (h *hops) take(app string, r *http.Request, body []byte) *meddling {
	path := r.URL.Path
	if strings.HasPrefix(path, "/actuator/") { // whether it is well, a sidecar asks all the time
		return nil
	}
	delivered := delivery(r, body)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.meddlings[app] {
		if m.left != 0 && strings.HasSuffix(path, m.path) && (m.event == "" || m.event == delivered.Type) && strings.Contains(path, m.within) && (m.about == nil || m.about(r, body)) {
			m.left--
			return m
		}
	}
	return nil
}

// eventsPath is where sidecars deliver events.
const eventsPath = "/events"

type event struct{ ID, Type string }

// delivery returns the event that a request delivers; it is empty for other requests.
func delivery(r *http.Request, body []byte) (e event) {
	if r.URL.Path == eventsPath {
		_ = json.Unmarshal(body, &e)
	}
	return e
}

// interpose is the stack's Interpose.
func (h *hops) interpose(app, to string) (port int, err error) {
	target, err := url.Parse(to)
	if err != nil {
		return 0, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 100
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		// To the sidecar it looks as if the app had died.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		Transport:    hop{h, app, transport},
	}
	server := &http.Server{Handler: proxy, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = server.Serve(l) }() // until the test ends
	return l.Addr().(*net.TCPAddr).Port, nil
}

// hop is the way to one app.
type hop struct {
	*hops
	app string
	to  http.RoundTripper
}

var errLost = errors.New("lost")

func (h hop) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, fmt.Errorf("read the request: %w", err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	res, err := h.pass(r, body)
	if r.URL.Path == eventsPath {
		event := delivery(r, body)
		outcome := fmt.Sprint(err)
		if err == nil {
			outcome = res.Status
		}
		h.log.Info("delivery", "app", h.app, "type", event.Type, "eventId", event.ID, "outcome", outcome)
	}
	return res, err
}

// pass hands a request on as meddled with.
func (h hop) pass(r *http.Request, body []byte) (*http.Response, error) {
	m := h.take(h.app, r, body)
	if m == nil {
		return h.to.RoundTrip(r)
	}
	if m.before != nil {
		m.before()
	}
	if m.drop {
		return nil, errLost
	}
	times := 1
	if m.twice {
		times = 2
	}
	var res *http.Response
	var err error
	for range times {
		if res != nil {
			res.Body.Close()
		}
		// What is on its way arrives, also when nobody waits for the answer any more.
		again := r.Clone(context.WithoutCancel(r.Context()))
		again.Body, again.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		if res, err = h.to.RoundTrip(again); err != nil {
			return nil, err
		}
	}
	if m.after != nil {
		m.after()
	}
	if m.lose {
		res.Body.Close()
		return nil, errLost
	}
	return res, nil
}
