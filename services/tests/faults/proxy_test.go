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

// proxies are the proxies between the sidecars and their apps. Calls of other services and deliveries of events pass
// them, and interceptions inject faults there.
type proxies struct {
	// log records the outcome of every delivery of an event. Neither the sidecars nor the apps log all of them.
	log *slog.Logger

	mu            sync.Mutex
	interceptions map[string][]*interception // by the app's name
}

// newProxies creates the log of the deliveries, next to the other logs of a stack.
func newProxies(dataDir string) (*proxies, error) {
	dir := filepath.Join(dataDir, "logs")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("create the log of deliveries: %w", err)
	}
	file, err := os.Create(filepath.Join(dir, "deliveries.log"))
	if err != nil {
		return nil, fmt.Errorf("create the log of deliveries: %w", err)
	}
	return &proxies{log: slog.New(slog.NewJSONHandler(file, nil))}, nil // the file is open until the process ends
}

// interception is a fault and the requests that it applies to.
type interception struct {
	path     string                                  // the end of the requests' path
	contains string                                  // a part of the requests' path
	event    string                                  // the type of the delivered event; empty for any request
	matches  func(r *http.Request, body []byte) bool // a further condition, unless nil
	left     int                                     // how many more requests it applies to; a negative number means all

	before    func() // called before the request is sent to the app
	after     func() // called after the app has answered, before the sidecar gets the answer
	drop      bool   // the app does not get the request
	duplicate bool   // the app gets the request a second time, after it has answered the first
	lose      bool   // the sidecar gets no answer
}

func (i *interception) appliesTo(r *http.Request, body []byte) bool {
	return i.left != 0 &&
		strings.HasSuffix(r.URL.Path, i.path) && strings.Contains(r.URL.Path, i.contains) &&
		(i.event == "" || i.event == delivery(r, body).Type) &&
		(i.matches == nil || i.matches(r, body))
}

// add intercepts requests to an app.
func (p *proxies) add(app string, i *interception) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.interceptions == nil {
		p.interceptions = map[string][]*interception{}
	}
	p.interceptions[app] = append(p.interceptions[app], i)
}

// clear removes all interceptions.
func (p *proxies) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.interceptions = nil
}

// take returns the first interception that applies to a request, and counts the request. It returns nil if there is
// none.
func (p *proxies) take(app string, r *http.Request, body []byte) *interception {
	if strings.HasPrefix(r.URL.Path, "/actuator/") { // the sidecar's health checks
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, i := range p.interceptions[app] {
		if i.appliesTo(r, body) {
			i.left--
			return i
		}
	}
	return nil
}

// eventsPath is the route to which sidecars deliver events.
const eventsPath = "/events"

type event struct{ ID, Type string }

// delivery returns the event that a request delivers. It returns an empty event for other requests.
func delivery(r *http.Request, body []byte) (e event) {
	if r.URL.Path == eventsPath {
		_ = json.Unmarshal(body, &e)
	}
	return e
}

// interpose starts the proxy of an app and returns its port. It is the Interpose of the stack's configuration.
func (p *proxies) interpose(app, to string) (port int, err error) {
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
		// The sidecar sees a closed connection, as if the app had died.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		Transport:    faultyTransport{p, app, transport},
	}
	server := &http.Server{Handler: proxy, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = server.Serve(l) }() // until the process ends
	return l.Addr().(*net.TCPAddr).Port, nil
}

// faultyTransport sends requests to one app, with the faults of the interceptions.
type faultyTransport struct {
	*proxies
	app  string
	next http.RoundTripper
}

var errLost = errors.New("lost by an injected fault")

func (t faultyTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, fmt.Errorf("read the request: %w", err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	res, err := t.send(r, body)
	if r.URL.Path == eventsPath {
		event := delivery(r, body)
		outcome := fmt.Sprint(err)
		if err == nil {
			outcome = res.Status
		}
		t.log.Info("delivery attempted", "app", t.app, "type", event.Type, "eventId", event.ID, "outcome", outcome)
	}
	return res, err
}

// send sends a request with the faults of the interception that applies to it.
func (t faultyTransport) send(r *http.Request, body []byte) (*http.Response, error) {
	i := t.take(t.app, r, body)
	if i == nil {
		return t.next.RoundTrip(r)
	}
	if i.before != nil {
		i.before()
	}
	if i.drop {
		return nil, errLost
	}
	times := 1
	if i.duplicate {
		times = 2
	}
	var res *http.Response
	var err error
	for range times {
		if res != nil {
			res.Body.Close()
		}
		// A request in transit reaches the app, even if its sender has died or given up meanwhile.
		sent := r.Clone(context.WithoutCancel(r.Context()))
		sent.Body, sent.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		if res, err = t.next.RoundTrip(sent); err != nil {
			return nil, err
		}
	}
	if i.after != nil {
		i.after()
	}
	if i.lose {
		res.Body.Close()
		return nil, errLost
	}
	return res, nil
}
