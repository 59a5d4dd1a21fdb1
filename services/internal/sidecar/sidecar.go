// Package sidecar is a client of the service's own Dapr sidecar.
//
// Calls to other services are plain HTTP requests, because only for those the sidecar's resiliency policies distinguish
// retryable statuses from others. The SDK's InvokeMethod hides the status. All other operations use the Dapr Go SDK.
package sidecar

import (
	"context"
	"errors"
	"fmt"
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
	"google.golang.org/grpc/keepalive"

	"github.com/eventbooking/eventbooking/services/internal/dial"
)

// Component names, the same in every environment.
const (
	secretStore = "secretstore"
	// PubSub is the component through which events are published.
	PubSub = "pubsub"
)

const (
	// The gRPC connection is pinged after pingAfter without an answer, and replaced if no ping is answered within
	// pingTimeout. All requests share it: without pings, one that swallows packets would fail each of them. The sidecar
	// allows a ping every 8 s (daprd 1.18.2).
	pingAfter   = 10 * time.Second
	pingTimeout = 5 * time.Second
	// secretTimeout bounds the lookup of a secret.
	secretTimeout = 30 * time.Second
)

// Client is a connection to the sidecar. It is safe for concurrent use.
type Client struct {
	// Dapr is the SDK's client. It publishes events and accesses state.
	Dapr dapr.Client
	// HTTP is a client for the sidecar's addresses (see [Client.URL]). It does not trace requests.
	HTTP *http.Client

	service string
	invoke  string // base URL of service invocation
	traced  *http.Client
	token   func() (string, error) // returns a service token; nil until Authenticate
}

// redirectLogs makes the SDK log at level DEBUG through the service's logger. By default it writes to standard output.
var redirectLogs = sync.OnceFunc(func() {
	dapr.SetLogger(slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug))
})

// Connect connects the service with this app-id to its sidecar, which may still be starting. It waits for the sidecar's
// API until ctx is done, and for at most a minute. If the sidecar requires a token, the environment variable
// DAPR_API_TOKEN, whose name is Dapr's, has to be set; every request then has the token.
func Connect(ctx context.Context, service string, httpPort, grpcPort int) (*Client, error) {
	redirectLogs()
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	connect := func() (dapr.Client, error) {
		return dapr.NewClientWithAddressContext(starting, "127.0.0.1:"+strconv.Itoa(grpcPort),
			grpc.WithStatsHandler(otelgrpc.NewClientHandler()),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{
				Time: pingAfter, Timeout: pingTimeout, PermitWithoutStream: true,
			}))
	}
	client, err := connect()
	for errors.Is(err, context.DeadlineExceeded) && starting.Err() == nil { // the SDK waits for 5 s only
		client, err = connect()
	}
	if err != nil {
		return nil, fmt.Errorf("the sidecar does not answer (DAPR_GRPC_PORT=%d): %w", grpcPort, err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 256 // the sidecar is the only host
	transport.MaxIdleConns = 256
	transport.DialContext = dial.Context
	var sidecar http.RoundTripper = distrustful{transport}
	if token := os.Getenv("DAPR_API_TOKEN"); token != "" { // the SDK reads it too
		sidecar = tokenBearer{token: token, next: sidecar}
	}
	return &Client{
		Dapr:    client,
		HTTP:    &http.Client{Transport: sidecar},
		service: service,
		invoke:  "http://127.0.0.1:" + strconv.Itoa(httpPort) + "/v1.0/invoke/",
		traced:  &http.Client{Transport: otelhttp.NewTransport(sidecar, spanName), Timeout: callTimeout},
	}, nil
}

// distrustful closes all idle connections after a request that timed out, because they may be dead too. Otherwise each
// of them would cost a request its timeout.
type distrustful struct{ *http.Transport }

// RoundTrip implements http.RoundTripper.
func (d distrustful) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := d.Transport.RoundTrip(r)
	if err != nil && errors.Is(r.Context().Err(), context.DeadlineExceeded) {
		d.CloseIdleConnections()
	}
	return res, err
}

// tokenBearer is a RoundTripper that adds the sidecar's API token to every request.
type tokenBearer struct {
	token string
	next  http.RoundTripper
}

// RoundTrip sends a copy of the request with the token. A RoundTripper must not modify the request itself.
func (b tokenBearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("dapr-api-token", b.token)
	return b.next.RoundTrip(r)
}

// spanName names the span of a call after its method and the callee. The path is left out because it has ids.
var spanName = otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string {
	_, path, _ := strings.Cut(r.URL.Path, "/invoke/")
	callee, _, _ := strings.Cut(path, "/")
	return r.Method + " " + callee
})

// Close closes the connection.
func (c *Client) Close() { c.Dapr.Close() }

// Authenticate makes later calls carry a service token, which sign returns. It must not be called concurrently with
// calls.
func (c *Client) Authenticate(sign func() (string, error)) { c.token = sign }

// Secret returns a secret from the secret store. It returns an error if the secret is missing or empty.
func (c *Client) Secret(ctx context.Context, key string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, secretTimeout)
	defer cancel()
	values, err := c.Dapr.GetSecret(ctx, secretStore, key, nil)
	if err != nil {
		return "", fmt.Errorf("secret %s: %w", key, err)
	}
	if values[key] == "" {
		return "", fmt.Errorf("secret %s: missing or empty in the secret store", key)
	}
	return values[key], nil
}

// URL returns the address at which the sidecar accepts calls to a path of another app.
func (c *Client) URL(app, path string) string {
	return c.invoke + url.PathEscape(app) + "/method" + path
}
