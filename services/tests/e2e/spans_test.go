package e2e_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// spans is what the apps and their sidecars tell of their work.
var spans collected

// collected is a collector of OTLP over HTTP that keeps what it gets.
type collected struct {
	mu      sync.Mutex
	byTrace map[string][]span
}

// span is one step of an app or, as by says, of its sidecar.
type span struct {
	by, name   string
	id, parent string
	told       string // all that it says
}

// collect listens from now on, and gives the URL to send spans to.
func (c *collected) collect(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("collect spans: %w", err)
	}
	c.byTrace = map[string][]span{}
	server := &http.Server{Handler: http.HandlerFunc(c.take), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }() // to the end of the process
	return "http://" + listener.Addr().String(), nil
}

func (c *collected) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var request collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &request)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, fmt.Sprint("not spans: ", r.URL.Path, err), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range request.GetResourceSpans() {
		service := "?"
		for _, attribute := range of.GetResource().GetAttributes() {
			if attribute.GetKey() == "service.name" {
				service = attribute.GetValue().GetStringValue()
			}
		}
		for _, scope := range of.GetScopeSpans() {
			by := service
			if scope.GetScope().GetName() == "dapr-diagnostics" {
				by += "-sidecar"
			}
			for _, s := range scope.GetSpans() {
				trace := hex.EncodeToString(s.GetTraceId())
				c.byTrace[trace] = append(c.byTrace[trace], newSpan(by, s))
			}
		}
	}
}

func newSpan(by string, s *otlp.Span) span {
	told := []string{s.GetName(), s.GetStatus().GetMessage(), s.GetTraceState()}
	for _, attribute := range s.GetAttributes() {
		// A sidecar tells of each header dapr-* of its callers' (daprd 1.18.2) but the token that it wants itself. It wants none
		// here, only our attackers send one, and a collector drops it.
		if attribute.GetKey() != "dapr-api-token" {
			told = append(told, attribute.GetKey()+"="+attribute.GetValue().String())
		}
	}
	for _, event := range s.GetEvents() {
		told = append(told, event.String())
	}
	return span{
		by: by, name: s.GetName(), id: hex.EncodeToString(s.GetSpanId()), parent: hex.EncodeToString(s.GetParentSpanId()),
		told: strings.Join(told, "\n"),
	}
}

// of gives what has come of a trace so far.
func (c *collected) of(trace string) []span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.byTrace[trace])
}

// all gives what has come of all traces so far.
func (c *collected) all() []span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Concat(slices.Collect(maps.Values(c.byTrace))...)
}
