// Package sidecar talks to the service's own Dapr sidecar.
//
// Calls to other services go over plain HTTP, because the sidecar's resiliency policies tell a
// retryable status from another only there (the SDK's InvokeMethod hides the status). Everything
// else goes through the Dapr Go SDK.
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
)

// Component names, the same in every environment.
const (
	secretStore = "secretstore"
	// PubSub is the component that events are published through.
	PubSub = "pubsub"
)

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
