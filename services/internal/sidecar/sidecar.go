// Package sidecar talks to the service's own Dapr sidecar.
//
// Calls to other services go over plain HTTP, because the sidecar's resiliency policies tell a
// retryable status from another only there (the SDK's InvokeMethod hides the status). Everything
// else goes through the Dapr Go SDK.
package sidecar

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	dapr "github.com/dapr/go-sdk/client"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"google.golang.org/grpc"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// Component names, the same in every environment.
const (
	secretStore = "secretstore"
	// PubSub is the component that events are published through.
	PubSub = "pubsub"
)

// ErrUnavailable is what Call wraps when it cannot say whether the callee did what was asked: no
// answer, an empty one, a 5xx, or an answer that is not the contract's; or when it was not done for now,
// of which the callee's 429 is the cause, a *problem.Error. Any other cause is for logs.
var ErrUnavailable = problem.New(problem.Unavailable, "SERVICE_UNAVAILABLE", "A service that is needed does not answer")

// callTimeout is a last bound on a call. The real limits are the sidecar's resiliency policies,
// which end well before it.
const callTimeout = 45 * time.Second

// maxAnswer bounds how long an answer may be.
const maxAnswer = 16 << 20

// Client is a connection to the sidecar. It is safe for concurrent use.
type Client struct {
	// Dapr is the SDK's client, for publishing and state.
	Dapr dapr.Client
	// HTTP is a client for the sidecar's addresses (see [Client.URL]), of whose requests no spans are made.
	HTTP *http.Client

	service string
	invoke  string // base URL of service invocation
	traced  *http.Client
	token   func() (string, error) // signs a service token; nil until Authenticate
}

// quiet has the SDK log as we do, where it would write lines of its own otherwise.
var quiet = sync.OnceFunc(func() { dapr.SetLogger(slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug)) })

// Connect opens the connection of the service with this app-id to its sidecar. The sidecar may still
// be starting: Connect waits for its API, bounded by ctx and by a minute. Where the sidecar lets in only
// who shows its token, the token is in DAPR_API_TOKEN, which is Dapr's own name for it.
func Connect(ctx context.Context, service string, httpPort, grpcPort int) (*Client, error) {
	quiet()
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	connect := func() (dapr.Client, error) {
		return dapr.NewClientWithAddressContext(starting, "127.0.0.1:"+strconv.Itoa(grpcPort),
			grpc.WithStatsHandler(otelgrpc.NewClientHandler()))
	}
	client, err := connect()
	for errors.Is(err, context.DeadlineExceeded) && starting.Err() == nil { // the SDK's own five seconds
		client, err = connect()
	}
	if err != nil {
		return nil, fmt.Errorf("the sidecar does not answer (DAPR_GRPC_PORT=%d): %w", grpcPort, err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 256 // the sidecar is the only host there is
	transport.MaxIdleConns = 256
	var sidecar http.RoundTripper = transport
	if token := os.Getenv("DAPR_API_TOKEN"); token != "" { // the SDK looks there as well
		sidecar = tokenBearer{token: token, next: transport}
	}
	return &Client{
		Dapr:    client,
		HTTP:    &http.Client{Transport: sidecar},
		service: service,
		invoke:  "http://127.0.0.1:" + strconv.Itoa(httpPort) + "/v1.0/invoke/",
		traced:  &http.Client{Transport: otelhttp.NewTransport(sidecar, spanName), Timeout: callTimeout},
	}, nil
}

// tokenBearer shows the sidecar its API token with every request.
type tokenBearer struct {
	token string
	next  http.RoundTripper
}

// RoundTrip sends a copy of the request, since it may not change the caller's.
func (b tokenBearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("dapr-api-token", b.token)
	return b.next.RoundTrip(r)
}

// spanName names a call after the callee. Its path has ids in it.
var spanName = otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string {
	_, path, _ := strings.Cut(r.URL.Path, "/invoke/")
	callee, _, _ := strings.Cut(path, "/")
	return r.Method + " " + callee
})

// Close ends the connection.
func (c *Client) Close() { c.Dapr.Close() }

// Authenticate makes every later call carry a service token of sign's.
func (c *Client) Authenticate(sign func() (string, error)) { c.token = sign }

// Secret reads a secret that the service cannot do without.
func (c *Client) Secret(ctx context.Context, key string) (string, error) {
	values, err := c.Dapr.GetSecret(ctx, secretStore, key, nil)
	if err != nil {
		return "", fmt.Errorf("secret %s: %w", key, err)
	}
	if values[key] == "" {
		return "", fmt.Errorf("secret %s: missing or empty in the secret store", key)
	}
	return values[key], nil
}

// URL gives the address at which the sidecar takes calls of another app's path.
func (c *Client) URL(app, path string) string {
	return c.invoke + url.PathEscape(app) + "/method" + path
}

// Call calls another service and reads its answer into out, unless out is nil.
//
// A refusal in the contract's form (a 4xx with an error code) is returned as a *problem.Error with
// that code and the kind of its status: the callee is known to have refused. Every other failure is
// ErrUnavailable: the callee may or may not have acted.
func (c *Client) Call(ctx context.Context, app, method, path string, in, out any) error {
	body, err := c.do(ctx, app, method, path, in)
	if err != nil {
		return err
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return ErrUnavailable.Because(fmt.Errorf("%s answered something else than JSON of ours: %w", app, err))
	}
	return nil
}

// Fetch gets a resource of another service as it is, such as a PDF. Its errors are Call's.
func (c *Client) Fetch(ctx context.Context, app, path string) ([]byte, error) {
	return c.do(ctx, app, http.MethodGet, path, nil)
}

func (c *Client) do(ctx context.Context, app, method, path string, in any) (answer []byte, err error) {
	defer func(began time.Time) {
		telemetry.ObserveCall(app, method+" "+path, !errors.Is(err, ErrUnavailable), began)
	}(time.Now())
	var body []byte
	if in != nil {
		if body, err = json.Marshal(in); err != nil {
			return nil, fmt.Errorf("call %s: %w", app, err)
		}
	}
	// A body of known length: the sidecar does not retry a chunked one.
	req, err := http.NewRequestWithContext(ctx, method, c.URL(app, path), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", app, err)
	}
	req.Header.Set("Prefer", web.PreferStatusInHeader)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != nil {
		token, err := c.token()
		if err != nil {
			return nil, fmt.Errorf("sign a service token: %w", err)
		}
		req.Header.Set("X-Service-Token", token)
		req.Header.Set("X-Service-Name", c.service)
	}
	if id := telemetry.From(ctx).CorrelationID; id != "" {
		req.Header.Set(web.CorrelationHeader, id)
	}
	res, err := c.traced.Do(req)
	if err != nil {
		return nil, ErrUnavailable.Because(fmt.Errorf("call %s: %w", app, err))
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(http.MaxBytesReader(nil, res.Body, maxAnswer))
	if err != nil {
		return nil, ErrUnavailable.Because(fmt.Errorf("read the answer of %s: %w", app, err))
	}
	status := res.StatusCode
	if moved := res.Header.Get(web.StatusHeader); moved != "" {
		status, _ = strconv.Atoi(moved) // a word that is no number is no status of ours either
	}
	if status < 200 || status >= 300 {
		return nil, refusal(app, status, answer)
	}
	if len(answer) == 0 {
		// No service of ours answers nothing. The callee's sidecar may, of an app that is dead (tools/daprd/patch says why).
		return nil, ErrUnavailable.Because(fmt.Errorf("%s answered %d and nothing", app, status))
	}
	return answer, nil
}

var kindOf = map[int]problem.Kind{
	http.StatusBadRequest:            problem.Invalid,
	http.StatusUnauthorized:          problem.Unauthenticated,
	http.StatusPaymentRequired:       problem.PaymentRequired,
	http.StatusForbidden:             problem.Forbidden,
	http.StatusNotFound:              problem.NotFound,
	http.StatusConflict:              problem.Conflict,
	http.StatusRequestEntityTooLarge: problem.TooLarge,
	http.StatusUnprocessableEntity:   problem.Unprocessable,
	http.StatusTooManyRequests:       problem.Throttled,
}

// refusal tells the callee's own refusal from a sidecar's or a proxy's error, which has no code.
func refusal(app string, status int, answer []byte) error {
	var form struct{ Error, Message, Field string }
	kind, known := kindOf[status]
	if err := json.Unmarshal(answer, &form); known && err == nil && form.Error != "" {
		p := problem.New(kind, form.Error, "%s", form.Message)
		p.Field = form.Field
		if kind == problem.Throttled { // it may be done yet
			return ErrUnavailable.Because(p)
		}
		return p
	}
	return ErrUnavailable.Because(fmt.Errorf("%s answered %d: %w", app, status, errors.New(excerpt(answer))))
}

// excerpt keeps log lines short.
func excerpt(answer []byte) string {
	return string(answer[:min(len(answer), 200)])
}
