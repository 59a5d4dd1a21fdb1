package sidecar_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/sidecar/sidecartest"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// connect returns a client of payment-service's sidecar, which answers invocations with callee.
func connect(t *testing.T, callee http.HandlerFunc) *sidecar.Client {
	t.Helper()
	return sidecartest.Connect(t, "payment-service", map[string]string{"service-auth-secret": "s3cret"}, callee)
}

// answer returns a callee that responds with the status.
func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// refuse returns a callee that sends the status in a header, as a service does if the caller prefers that.
func refuse(status, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Status", status)
		_, _ = io.WriteString(w, body)
	}
}

func TestCallSendsTheRequestWithHeaders(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body []byte
	client := connect(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		_, _ = io.WriteString(w, `{"extended":true}`)
	})
	client.Authenticate(func() (string, error) { return "token", nil })
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	ctx := telemetry.With(t.Context(), telemetry.Trace{CorrelationID: "corr-1", Parent: parent, State: "a=b"})
	out, err := sidecar.Call(ctx, client, calls.ExtendReservation,
		calls.ExtendReservationRequest{ReservationID: "r-1", Minutes: 15})
	require.NoError(t, err)

	require.True(t, out.Extended)
	require.Equal(t, http.MethodPost, got.Method)
	require.Equal(t, "/v1.0/invoke/ticket-service/method/api/tickets/internal/extend-reservation", got.URL.Path)
	require.JSONEq(t, `{"reservationId":"r-1","minutes":15}`, string(body))
	require.EqualValues(t, len(body), got.ContentLength, "the sidecar does not retry chunked requests")
	for name, want := range map[string]string{
		"Content-Type": "application/json", "X-Service-Token": "token", "X-Service-Name": "payment-service",
		"Prefer": "status-in-header", "X-Correlation-Id": "corr-1", "Traceparent": parent, "Tracestate": "a=b",
	} {
		require.Equal(t, want, got.Header.Get(name), name)
	}
}

// Requests with Client.HTTP, such as those for auth-service's key set, have the token too.
func TestEveryRequestHasTheSidecarsToken(t *testing.T) {
	t.Setenv("DAPR_API_TOKEN", "api-token")
	var tokens []string
	client := connect(t, func(w http.ResponseWriter, r *http.Request) {
		tokens = append(tokens, r.Header.Get("dapr-api-token"))
		answer(200, "{}")(w, r)
	})
	_, err := sidecar.Call(t.Context(), client, calls.TicketInfo, calls.None{}, uuid.New())
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
		client.URL("auth-service", "/api/auth/.well-known/jwks.json"), nil)
	require.NoError(t, err)
	res, err := client.HTTP.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, []string{"api-token", "api-token"}, tokens)
	require.Empty(t, req.Header, "the caller's request is not modified")
}

// everyRefusal is calls.Reserve with every kind of refusal.
var everyRefusal = func() calls.Endpoint[calls.ReserveRequest, calls.ReserveAnswer] {
	e := calls.Reserve
	e.Refusals = []problem.Kind{
		problem.Invalid, problem.Unauthenticated, problem.PaymentRequired, problem.Forbidden, problem.NotFound,
		problem.Conflict, problem.TooLarge, problem.Unprocessable, problem.Throttled,
	}
	return e
}()

func TestCallReturnsRefusalsAndUnavailability(t *testing.T) {
	t.Parallel()
	const form = `{"reserved":false,"error":"INSUFFICIENT_INVENTORY",
		"message":"Not enough tickets available","field":"quantity"}`
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
		{"NoNumberInHeader", refuse("sold out", form), sidecar.ErrUnavailable},
		{"TooManyRequests", answer(429, form), sidecar.ErrUnavailable},
		{"ServerError", answer(500, form), sidecar.ErrUnavailable},
		{"Unavailable", answer(503, form), sidecar.ErrUnavailable},
		{
			"SidecarCannotReachTheApp",
			answer(500, `{"errorCode":"ERR_DIRECT_INVOKE","message":"fail to invoke"}`), sidecar.ErrUnavailable,
		},
		{
			"SidecarDoesNotKnowTheApp",
			answer(404, `{"errorCode":"ERR_DIRECT_INVOKE","message":"no such app"}`), sidecar.ErrUnavailable,
		},
		{"NotFoundOfAProxy", answer(404, `<html>nothing here</html>`), sidecar.ErrUnavailable},
		{"SuccessIsNotJSON", answer(200, `<html>welcome</html>`), sidecar.ErrUnavailable},
		{"SuccessIsTruncated", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"reserved":`)
		}, sidecar.ErrUnavailable},
		{"Disconnected", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, sidecar.ErrUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			client := connect(t, tt.handler)
			_, err := sidecar.Call(t.Context(), client, everyRefusal, calls.ReserveRequest{})
			require.ErrorIs(t, err, tt.want)
			p, ok := errors.AsType[*problem.Error](err)
			require.True(t, ok)
			require.Equal(t, tt.want.Kind, p.Kind)
			require.Equal(t, tt.want.Message, p.Message)
			require.Equal(t, tt.want.Field, p.Field)
		})
	}
}

func TestCauseOfUnavailabilityIsTooManyRequests(t *testing.T) {
	t.Parallel()
	client := connect(t, refuse("429", `{"error":"TOO_MANY_REQUESTS","message":"Too many requests for these tickets"}`))
	_, err := sidecar.Call(t.Context(), client, everyRefusal, calls.ReserveRequest{})
	require.ErrorIs(t, err, sidecar.ErrUnavailable)
	require.ErrorIs(t, err, problem.New(problem.Throttled, "TOO_MANY_REQUESTS", ""))
}

func TestCallEndsWithItsContext(t *testing.T) {
	t.Parallel()
	client := connect(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := sidecar.Call(ctx, client, calls.TicketInfo, calls.None{}, uuid.New())
	require.ErrorIs(t, err, sidecar.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestCallWithoutBodyOrServiceToken(t *testing.T) {
	t.Parallel()
	client := connect(t, func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 || r.Header.Get("X-Service-Token") != "" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = io.WriteString(w, "{}")
	})
	_, err := sidecar.Call(t.Context(), client, calls.EventInfo, calls.None{}, uuid.New())
	require.NoError(t, err)
}

func TestEmptyAnswerIsUnavailable(t *testing.T) {
	t.Parallel()
	client := connect(t, answer(200, ""))
	_, err := sidecar.Call(t.Context(), client, calls.SendMail, calls.SendMailRequest{})
	require.ErrorIs(t, err, sidecar.ErrUnavailable)
	_, err = sidecar.Call(t.Context(), client, calls.TicketPDF, calls.TicketPDFQuery{}, uuid.New())
	require.ErrorIs(t, err, sidecar.ErrUnavailable)
}

func TestCallReturnsAFile(t *testing.T) {
	t.Parallel()
	var path string
	client := connect(t, func(w http.ResponseWriter, r *http.Request) {
		path = r.URL.RequestURI()
		answer(200, "%PDF-1.7")(w, r)
	})
	id := uuid.New()
	pdf, err := sidecar.Call(t.Context(), client, calls.TicketPDF, calls.TicketPDFQuery{UserID: "u-1"}, id)
	require.NoError(t, err)
	require.Equal(t, "%PDF-1.7", string(pdf))
	require.Equal(t,
		"/v1.0/invoke/ticket-service/method/api/tickets/internal/"+id.String()+"/ticket.pdf?userId=u-1", path)

	client = connect(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, 16<<20+1))
	})
	_, err = sidecar.Call(t.Context(), client, calls.TicketPDF, calls.TicketPDFQuery{}, id)
	require.ErrorIs(t, err, sidecar.ErrUnavailable, "the file is too large")
}

// A sidecar would refuse the request as if the callee had failed, and its circuit breaker would count that.
func TestTooLargeRequestIsRefusedWithoutACall(t *testing.T) {
	t.Parallel()
	var sizes []int64
	client := connect(t, func(w http.ResponseWriter, r *http.Request) {
		sizes = append(sizes, r.ContentLength)
		answer(200, `{"messageId":"m-1","accepted":true}`)(w, r)
	})
	frame, err := calls.SendMail.Request(calls.SendMailRequest{})
	require.NoError(t, err)
	room := calls.MaxBody - len(frame.Body)
	_, err = sidecar.Call(t.Context(), client, calls.SendMail, calls.SendMailRequest{Text: strings.Repeat("x", room)})
	require.NoError(t, err)
	_, err = sidecar.Call(t.Context(), client, calls.SendMail, calls.SendMailRequest{Text: strings.Repeat("x", room+1)})
	refusal, refused := sidecar.Refusal(err)
	require.True(t, refused)
	require.Equal(t, problem.TooLarge, refusal.Kind)
	require.Equal(t, []int64{calls.MaxBody}, sizes)
}

func TestCallReturnsOnlyTheRefusalsOfTheEndpoint(t *testing.T) {
	t.Parallel()
	const body = `{"reserved":false,"error":"INSUFFICIENT_INVENTORY","message":"Sold out","left":1}`
	client := connect(t, refuse("409", body))
	soldOut := problem.New(problem.Conflict, "INSUFFICIENT_INVENTORY", "Sold out")
	soldOut.Body = body // has the fields beyond the error form

	_, err := sidecar.Call(t.Context(), client, calls.Reserve, calls.ReserveRequest{})
	require.NotErrorIs(t, err, sidecar.ErrUnavailable)
	refusal, refused := sidecar.Refusal(err)
	require.True(t, refused)
	require.Equal(t, soldOut, refusal)

	_, err = sidecar.Call(t.Context(), client, calls.TicketCount, calls.None{}, uuid.New())
	require.ErrorIs(t, err, sidecar.ErrUnavailable)
	require.ErrorIs(t, err, soldOut, "the refusal is the cause")
	_, refused = sidecar.Refusal(err)
	require.False(t, refused)
	_, refused = sidecar.Refusal(nil)
	require.False(t, refused)
}

// A version of the callee that has the route may be starting.
func TestMissingRouteIsNoRefusal(t *testing.T) {
	t.Parallel()
	client := connect(t, web.NewRouter().ServeHTTP)
	_, err := sidecar.Call(t.Context(), client, calls.User, calls.None{}, uuid.New())
	require.ErrorIs(t, err, sidecar.ErrUnavailable)
	require.ErrorIs(t, err, web.ErrNoRoute)
	client = connect(t, refuse("404", `{"error":"USER_NOT_FOUND","message":"No such user"}`))
	_, err = sidecar.Call(t.Context(), client, calls.User, calls.None{}, uuid.New())
	_, refused := sidecar.Refusal(err)
	require.True(t, refused)
}

func TestCallRejectsAWrongNumberOfIDs(t *testing.T) {
	t.Parallel()
	client := connect(t, answer(200, "{}"))
	_, err := sidecar.Call(t.Context(), client, calls.EventInfo, calls.None{})
	require.ErrorContains(t, err, calls.EventInfo.Path)
	_, err = sidecar.Call(t.Context(), client, calls.EventInfo, calls.None{}, uuid.New(), uuid.New())
	require.ErrorContains(t, err, calls.EventInfo.Path)
}

func TestRetryAfterReachesTheCaller(t *testing.T) {
	t.Parallel()
	const form = `{"error":"BUSY","message":"Too many requests"}`
	for _, tt := range []struct {
		name, status, header, body string
		want                       time.Duration
	}{
		{"TooManyRequests", "429", "7", form, 7 * time.Second},
		{"Unavailable", "503", "3", form, 3 * time.Second},
		{"NoHeader", "429", "", form, 0},
		{"Date", "429", "Wed, 21 Oct 2015 07:28:00 GMT", form, 0},
		{"Negative", "429", "-1", form, 0},
		{"TooLarge", "429", "99999999999", form, 0},
		{"NotTheContractsForm", "503", "3", "<html>", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			client := connect(t, func(w http.ResponseWriter, r *http.Request) {
				if tt.header != "" {
					w.Header().Set("Retry-After", tt.header)
				}
				refuse(tt.status, tt.body)(w, r)
			})
			_, err := sidecar.Call(t.Context(), client, calls.Reserve, calls.ReserveRequest{})
			require.ErrorIs(t, err, sidecar.ErrUnavailable)
			p, ok := errors.AsType[*problem.Error](err)
			require.True(t, ok)
			require.Equal(t, tt.want, p.RetryAfter)
			require.Zero(t, sidecar.ErrUnavailable.RetryAfter)
		})
	}
}

func TestSecretNamesAMissingSecret(t *testing.T) {
	t.Parallel()
	client := connect(t, answer(200, ""))
	got, err := client.Secret(t.Context(), "service-auth-secret")
	require.NoError(t, err)
	require.Equal(t, "s3cret", got)

	_, err = client.Secret(t.Context(), "ticket-service-signing-seed")
	require.ErrorContains(t, err, "ticket-service-signing-seed", "the error names the secret")
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
	target := uuid.NewString() // unique, because the metrics are those of the whole process
	for _, path := range []string{"/fine/1", "/fine/2?cursor=x", "/sold-out/1", "/broken/1"} {
		path, query, _ := strings.Cut(path, "?")
		values, err := url.ParseQuery(query)
		require.NoError(t, err)
		_, _ = client.Send(t.Context(), calls.Request{
			Route: calls.Route{App: target, Method: http.MethodGet}, Path: path, Query: values,
		})
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
