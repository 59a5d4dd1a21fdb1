package sidecar_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	runtime "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

// daprd is what these tests need of a sidecar's gRPC API.
type daprd struct {
	runtime.UnimplementedDaprServer
}

func (daprd) GetSecret(_ context.Context, req *runtime.GetSecretRequest) (*runtime.GetSecretResponse, error) {
	if req.GetStoreName() != "secretstore" {
		return nil, errors.New("no such store")
	}
	return &runtime.GetSecretResponse{Data: map[string]string{"service-auth-secret": "s3cret"}}, nil
}

// connect gives a client of a sidecar that answers invocations with handler.
func connect(t *testing.T, handler http.HandlerFunc) *sidecar.Client {
	t.Helper()
	invocation := httptest.NewServer(handler)
	t.Cleanup(invocation.Close)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	runtime.RegisterDaprServer(server, daprd{})
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)

	client, err := sidecar.Connect(t.Context(), "payment-service",
		invocation.Listener.Addr().(*net.TCPAddr).Port, listener.Addr().(*net.TCPAddr).Port)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// refuse answers as a service of ours answers a caller that prefers the status in a header.
func refuse(status, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Status", status)
		_, _ = io.WriteString(w, body)
	}
}

func TestCallSends(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body []byte
	client := connect(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		_, _ = io.WriteString(w, `{"reserved":true}`)
	})
	client.Authenticate(func() (string, error) { return "token", nil })
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	ctx := telemetry.With(t.Context(), telemetry.Trace{CorrelationID: "corr-1", Parent: parent, State: "a=b"})
	var out struct{ Reserved bool }
	require.NoError(t, client.Call(ctx, "ticket-service", http.MethodPost, "/api/tickets/internal/reserve", map[string]int{"quantity": 2}, &out))

	require.True(t, out.Reserved)
	require.Equal(t, http.MethodPost, got.Method)
	require.Equal(t, "/v1.0/invoke/ticket-service/method/api/tickets/internal/reserve", got.URL.Path)
	require.JSONEq(t, `{"quantity":2}`, string(body))
	require.EqualValues(t, len(body), got.ContentLength, "a chunked request is never retried by the sidecar")
	for name, want := range map[string]string{
		"Content-Type": "application/json", "X-Service-Token": "token", "X-Service-Name": "payment-service",
		"Prefer": "status-in-header", "X-Correlation-Id": "corr-1", "Traceparent": parent, "Tracestate": "a=b",
	} {
		require.Equal(t, want, got.Header.Get(name), name)
	}
}

// What asks the sidecar for auth-service's keys shows the token, too.
func TestTheSidecarsTokenIsShown(t *testing.T) {
	t.Setenv("DAPR_API_TOKEN", "api-token")
	var shown []string
	client := connect(t, func(w http.ResponseWriter, r *http.Request) {
		shown = append(shown, r.Header.Get("dapr-api-token"))
		answer(200, "{}")(w, r)
	})
	require.NoError(t, client.Call(t.Context(), "ticket-service", http.MethodGet, "/api/tickets/internal/1", nil, nil))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, client.URL("auth-service", "/api/auth/.well-known/jwks.json"), nil)
	require.NoError(t, err)
	res, err := client.HTTP.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, []string{"api-token", "api-token"}, shown)
	require.Empty(t, req.Header, "the caller's request is not changed")
}

func TestCallUnderstands(t *testing.T) {
	t.Parallel()
	const form = `{"reserved":false,"error":"INSUFFICIENT_INVENTORY","message":"Not enough tickets available","field":"quantity"}`
	refused := func(kind problem.Kind) *problem.Error {
		p := problem.New(kind, "INSUFFICIENT_INVENTORY", "Not enough tickets available")
		p.Field = "quantity"
		return p
	}
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		want    *problem.Error
	}{
		{"BadRequest", answer(400, form), refused(problem.Invalid)},
		{"Unauthorized", answer(401, form), refused(problem.Unauthenticated)},
		{"PaymentRequired", answer(402, form), refused(problem.PaymentRequired)},
		{"Forbidden", answer(403, form), refused(problem.Forbidden)},
		{"NotFound", answer(404, form), refused(problem.NotFound)},
		{"Conflict", answer(409, form), refused(problem.Conflict)},
		{"TooLarge", answer(413, form), refused(problem.TooLarge)},
		{"Unprocessable", answer(422, form), refused(problem.Unprocessable)},

		{"ConflictInHeader", refuse("409", form), refused(problem.Conflict)},
		{"NotFoundInHeader", refuse("404", form), refused(problem.NotFound)},

		{"TooManyRequestsInHeader", refuse("429", form), sidecar.ErrUnavailable},
		{"NonsenseInHeader", refuse("sold out", form), sidecar.ErrUnavailable},
		{"TooManyRequests", answer(429, form), sidecar.ErrUnavailable},
		{"ServerError", answer(500, form), sidecar.ErrUnavailable},
		{"Unavailable", answer(503, form), sidecar.ErrUnavailable},
		{"SidecarCannotReachTheApp", answer(500, `{"errorCode":"ERR_DIRECT_INVOKE","message":"fail to invoke"}`), sidecar.ErrUnavailable},
		{"SidecarKnowsNoSuchApp", answer(404, `{"errorCode":"ERR_DIRECT_INVOKE","message":"no such app"}`), sidecar.ErrUnavailable},
		{"NotFoundOfAProxy", answer(404, `<html>nothing here</html>`), sidecar.ErrUnavailable},
		{"SuccessThatIsNotJSON", answer(200, `<html>welcome</html>`), sidecar.ErrUnavailable},
		{"SuccessCutOff", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"reserved":`)
		}, sidecar.ErrUnavailable},
		{"NoAnswer", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, sidecar.ErrUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			client := connect(t, tt.handler)
			var out map[string]any
			err := client.Call(t.Context(), "ticket-service", http.MethodPost, "/reserve", nil, &out)
			require.ErrorIs(t, err, tt.want)
			p, ok := errors.AsType[*problem.Error](err)
			require.True(t, ok)
			require.Equal(t, tt.want.Kind, p.Kind)
			require.Equal(t, tt.want.Message, p.Message)
			require.Equal(t, tt.want.Field, p.Field)
		})
	}
}

// Whoever called finds out by the cause that there are too many.
func TestTooManyRequests(t *testing.T) {
	t.Parallel()
	client := connect(t, refuse("429", `{"error":"TOO_MANY_REQUESTS","message":"Too many people want these tickets at this moment"}`))
	err := client.Call(t.Context(), "ticket-service", http.MethodPost, "/reserve", nil, nil)
	require.ErrorIs(t, err, sidecar.ErrUnavailable)
	require.ErrorIs(t, err, problem.New(problem.Throttled, "TOO_MANY_REQUESTS", ""))
}

func TestCallIsBoundByItsContext(t *testing.T) {
	t.Parallel()
	client := connect(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := client.Call(ctx, "ticket-service", http.MethodGet, "/", nil, nil)
	require.ErrorIs(t, err, sidecar.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestCallWithoutABody(t *testing.T) {
	t.Parallel()
	client := connect(t, func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 || r.Header.Get("X-Service-Token") != "" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = io.WriteString(w, "{}")
	})
	require.NoError(t, client.Call(t.Context(), "event-service", http.MethodGet, "/api/events/1", nil, nil), "of whose answer nothing is wanted")
}

// An answer with nothing in it is nobody's, whatever its status says.
func TestNobodysAnswer(t *testing.T) {
	t.Parallel()
	client := connect(t, answer(200, ""))
	require.ErrorIs(t, client.Call(t.Context(), "email-service", http.MethodPost, "/api/email/internal/messages", nil, nil), sidecar.ErrUnavailable)
	_, err := client.Fetch(t.Context(), "ticket-service", "/ticket.pdf")
	require.ErrorIs(t, err, sidecar.ErrUnavailable)
}

func TestFetch(t *testing.T) {
	t.Parallel()
	pdf, err := connect(t, answer(200, "%PDF-1.7")).Fetch(t.Context(), "ticket-service", "/ticket.pdf")
	require.NoError(t, err)
	require.Equal(t, "%PDF-1.7", string(pdf))

	_, err = connect(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, 16<<20+1))
	}).Fetch(t.Context(), "ticket-service", "/endless.pdf")
	require.ErrorIs(t, err, sidecar.ErrUnavailable, "never a part of it")
}

func TestSecret(t *testing.T) {
	t.Parallel()
	client := connect(t, answer(200, ""))
	got, err := client.Secret(t.Context(), "service-auth-secret")
	require.NoError(t, err)
	require.Equal(t, "s3cret", got)

	_, err = client.Secret(t.Context(), "ticket-service-signing-seed")
	require.ErrorContains(t, err, "ticket-service-signing-seed", "it says what is missing")
}

func TestCallsAreMeasured(t *testing.T) {
	t.Parallel()
	client := connect(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/broken/1"):
			answer(http.StatusInternalServerError, "")(w, r)
		case strings.HasSuffix(r.URL.Path, "/sold-out/1"):
			refuse("409", `{"error": "INSUFFICIENT_INVENTORY", "message": "Sold out"}`)(w, r)
		default:
			answer(http.StatusOK, "{}")(w, r)
		}
	})
	target := uuid.NewString() // nobody else's, also when the test runs twice
	for _, path := range []string{"/fine/1", "/fine/2?cursor=x", "/sold-out/1", "/broken/1"} {
		_, _ = client.Fetch(t.Context(), target, path)
	}
	families, err := prometheus.DefaultGatherer.Gather()
	require.NoError(t, err)
	counted := map[string]uint64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if l := m.GetLabel(); len(l) == 3 && l[2].GetValue() == target { // the labels are sorted
				counted[l[0].GetValue()+" "+l[1].GetValue()] = m.GetHistogram().GetSampleCount()
			}
		}
	}
	require.Equal(t, map[string]uint64{
		"GET /fine/{id} true":     2,
		"GET /sold-out/{id} true": 1,
		"GET /broken/{id} false":  1,
	}, counted)
}
