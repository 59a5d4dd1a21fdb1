package sidecar

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// ErrUnavailable reports that a service is unavailable: it did not respond, so it may or may not have acted, or it
// refused the call for a reason other than the request. RetryAfter is set if the callee sent the header Retry-After. If
// the callee responded with 429, the cause is a *problem.Error of that kind. Other causes are for logs only.
var ErrUnavailable = problem.New(problem.Unavailable, "SERVICE_UNAVAILABLE", "A service that is needed does not answer")

const (
	// callTimeout bounds a call if the sidecar fails. The sidecar's resiliency policies end a call well before.
	callTimeout = 45 * time.Second
	// maxAnswer is the maximum size of an answer, in bytes.
	maxAnswer = 16 << 20
)

// Sender sends requests to other services. *Client implements it.
type Sender interface {
	// Send sends a request and returns the body of the answer. It returns a refusal in the contract's form as a
	// *problem.Error, and ErrUnavailable if there is no answer or if the callee is overloaded or unavailable. A request
	// whose body exceeds calls.MaxBody is refused with the kind problem.TooLarge, without a call.
	Send(ctx context.Context, r calls.Request) ([]byte, error)
}

// Call calls an endpoint of another service and returns its answer. ids are the values of the path's variables. Call
// returns a refusal of a kind that the endpoint lists as a *problem.Error: the callee refuses this request for good. It
// returns ErrUnavailable for any other refusal, if there is no answer, and if the answer cannot be decoded. A route
// that the callee does not have is such another refusal, because a version of the callee that has it may be starting.
func Call[Req, Res any](
	ctx context.Context, via Sender, e calls.Endpoint[Req, Res], in Req, ids ...uuid.UUID,
) (Res, error) {
	var none Res
	request, err := e.Request(in, ids...)
	if err != nil {
		return none, fmt.Errorf("call %s: %w", e.App, err)
	}
	body, err := via.Send(ctx, request)
	if refusal, refused := Refusal(err); refused &&
		(refusal.Is(web.ErrNoRoute) || !slices.Contains(e.Refusals, refusal.Kind)) {
		return none, ErrUnavailable.Because(err)
	}
	if err != nil {
		return none, err
	}
	answer, err := e.Answer(body)
	if err != nil {
		return none, ErrUnavailable.Because(fmt.Errorf("decode the answer of %s: %w", e.App, err))
	}
	return answer, nil
}

// Refusal returns the refusal that an error of [Call] is. It returns false if the error is not a refusal.
func Refusal(err error) (*problem.Error, bool) {
	p, ok := errors.AsType[*problem.Error](err)
	return p, ok && p.Kind != problem.Unavailable
}

// Send sends a request through the sidecar. [Sender] describes its errors.
func (c *Client) Send(ctx context.Context, r calls.Request) (answer []byte, err error) {
	app := r.Route.App
	if len(r.Body) > calls.MaxBody { // the request is the reason, so the callee's circuit breaker must not count it
		return nil, problem.New(problem.TooLarge, "BODY_TOO_LARGE", "The body exceeds %d bytes", calls.MaxBody)
	}
	defer func(began time.Time) {
		telemetry.ObserveCall(app, r.Route.Method+" "+r.Path, !errors.Is(err, ErrUnavailable), began)
	}(time.Now())
	// The body is a bytes.Reader, which sets Content-Length. The sidecar does not retry chunked requests.
	req, err := http.NewRequestWithContext(ctx, r.Route.Method, c.URL(app, r.URL()), bytes.NewReader(r.Body))
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", app, err)
	}
	req.Header.Set("Prefer", web.PreferStatusInHeader)
	if r.Body != nil {
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
	if header := res.Header.Get(web.StatusHeader); header != "" {
		status, _ = strconv.Atoi(header) // 0, which is not a success, if the header is not a number
	}
	if status < 200 || status >= 300 {
		return nil, refusal(app, status, res.Header, answer)
	}
	if len(answer) == 0 {
		// No service sends an empty body. The callee's sidecar may, if its app is dead (see tools/daprd/patch).
		return nil, ErrUnavailable.Because(fmt.Errorf("%s answered %d with an empty body", app, status))
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
	http.StatusServiceUnavailable:    problem.Unavailable,
}

// refusal returns the error that an answer with this status stands for. An answer of a sidecar or a proxy does not have
// the contract's form.
func refusal(app string, status int, header http.Header, answer []byte) error {
	var form struct{ Error, Message, Field string }
	kind, known := kindOf[status]
	if err := json.Unmarshal(answer, &form); !known || err != nil || form.Error == "" {
		return ErrUnavailable.Because(fmt.Errorf("%s answered %d: %w", app, status, errors.New(excerpt(answer))))
	}
	p := problem.New(kind, form.Error, "%s", form.Message)
	p.Field, p.Body = form.Field, string(answer)
	if kind != problem.Throttled && kind != problem.Unavailable {
		return p
	}
	p.RetryAfter = retryAfter(header)
	unavailable := ErrUnavailable.Because(fmt.Errorf("%s answered %d: %w", app, status, p))
	unavailable.RetryAfter = p.RetryAfter
	return unavailable
}

// retryAfter returns the header Retry-After. It returns 0 without the header, and for its other form, a date, which no
// service sends.
func retryAfter(header http.Header) time.Duration {
	seconds, err := strconv.ParseUint(header.Get("Retry-After"), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// excerpt returns the beginning of an answer, for logs.
func excerpt(answer []byte) string {
	return string(answer[:min(len(answer), 200)])
}
