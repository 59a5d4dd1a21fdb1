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

// ErrUnavailable reports that a callee may or may not have done what was asked, or that it refused for a
// reason that is not the request. Its RetryAfter is the callee's, if the callee sent one. A callee's 429
// is the cause, a *problem.Error; other causes are for logs.
var ErrUnavailable = problem.New(problem.Unavailable, "SERVICE_UNAVAILABLE", "A service that is needed does not answer")

const (
	// callTimeout is the last bound on a call. The sidecar's resiliency policies end well before it.
	callTimeout = 45 * time.Second
	// maxAnswer is the maximum size of an answer, in bytes.
	maxAnswer = 16 << 20
)

// Sender sends a request to another service and returns the body of the answer. *Client is one. Send
// returns every refusal in the contract's form as a *problem.Error, and ErrUnavailable otherwise.
type Sender interface {
	Send(ctx context.Context, r calls.Request) ([]byte, error)
}

// Call calls an endpoint of another service; ids are the values of its path's variables. It returns a
// refusal of one of the kinds that the endpoint lists as a *problem.Error, and ErrUnavailable otherwise.
func Call[Req, Res any](ctx context.Context, via Sender, e calls.Endpoint[Req, Res], in Req, ids ...uuid.UUID) (Res, error) {
	var none Res
	request, err := e.Request(in, ids...)
	if err != nil {
		return none, fmt.Errorf("call %s: %w", e.App, err)
	}
	body, err := via.Send(ctx, request)
	if p, ok := errors.AsType[*problem.Error](err); ok && p.Kind != problem.Unavailable && !slices.Contains(e.Refusals, p.Kind) {
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

// Refusal returns the refusal that is an error of [Call], and whether the error is one.
func Refusal(err error) (*problem.Error, bool) {
	p, ok := errors.AsType[*problem.Error](err)
	return p, ok && p.Kind != problem.Unavailable
}

// Send sends a request through the sidecar. See [Sender] for its errors.
func (c *Client) Send(ctx context.Context, r calls.Request) (answer []byte, err error) {
	app := r.Route.App
	defer func(began time.Time) {
		telemetry.ObserveCall(app, r.Route.Method+" "+r.Path, !errors.Is(err, ErrUnavailable), began)
	}(time.Now())
	// A body of known length: the sidecar does not retry a chunked one.
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
	if moved := res.Header.Get(web.StatusHeader); moved != "" {
		status, _ = strconv.Atoi(moved) // 0 for what is not a number, which no service sends
	}
	if status < 200 || status >= 300 {
		return nil, refusal(app, status, res.Header, answer)
	}
	if len(answer) == 0 {
		// No service answers with an empty body. The callee's sidecar may, for a dead app (see tools/daprd/patch).
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

// refusal returns the error of an answer with this status. Errors of a sidecar or a proxy have no code.
func refusal(app string, status int, header http.Header, answer []byte) error {
	var form struct{ Error, Message, Field string }
	kind, known := kindOf[status]
	if err := json.Unmarshal(answer, &form); !known || err != nil || form.Error == "" {
		return ErrUnavailable.Because(fmt.Errorf("%s answered %d: %w", app, status, errors.New(excerpt(answer))))
	}
	p := problem.New(kind, form.Error, "%s", form.Message)
	p.Field = form.Field
	if kind != problem.Throttled && kind != problem.Unavailable {
		return p
	}
	p.RetryAfter = retryAfter(header)
	unavailable := ErrUnavailable.Because(fmt.Errorf("%s answered %d: %w", app, status, p))
	unavailable.RetryAfter = p.RetryAfter
	return unavailable
}

// retryAfter returns the time in a header Retry-After in seconds, the only form that services send, and 0
// without one.
func retryAfter(header http.Header) time.Duration {
	seconds, err := strconv.ParseUint(header.Get("Retry-After"), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// excerpt keeps log lines short.
func excerpt(answer []byte) string {
	return string(answer[:min(len(answer), 200)])
}
