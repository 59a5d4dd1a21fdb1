package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// MaxBody is the limit on the body of a request, in bytes.
const MaxBody = 1 << 20

// Decode reads the body of a request into v. The body has to be a single JSON value of at most MaxBody bytes in valid
// UTF-8, without unknown fields. Otherwise Decode returns a *problem.Error, which names the invalid field if it is
// known.
func Decode(w http.ResponseWriter, r *http.Request, v any) error {
	return DecodeUpTo(w, r, MaxBody, v)
}

// DecodeUpTo is Decode with another limit on the body, in bytes.
func DecodeUpTo(w http.ResponseWriter, r *http.Request, limit int64, v any) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return problem.New(problem.TooLarge, "BODY_TOO_LARGE", "The body exceeds %d bytes", tooLarge.Limit)
	}
	if err != nil {
		return malformed("The body could not be read").Because(err)
	}
	// encoding/json would silently replace invalid UTF-8.
	if !utf8.Valid(body) {
		return malformed("The body is not valid UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return decodeError(body, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return malformed("The body has more than one JSON value")
	}
	return nil
}

// DecodeOptional is Decode for a request that may have no body. Without one, v stays as it is.
func DecodeOptional(w http.ResponseWriter, r *http.Request, v any) error {
	err := Decode(w, r, v)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func malformed(message string) *problem.Error {
	return problem.New(problem.Invalid, "MALFORMED_JSON", "%s", message)
}

func decodeError(body []byte, err error) error {
	if errors.Is(err, io.EOF) {
		return malformed("The body is empty").Because(err)
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if wrong.Field == "" && wrong.Type.Kind() == reflect.Struct {
			return malformed("The body must be a JSON object").Because(err)
		}
		return problem.Field(wrong.Field, "%s must not be a %s", fieldOr(wrong.Field, "The value"), wrong.Value).Because(err)
	}
	// encoding/json has no error type for an unknown field (golang/go#29035).
	if field, found := strings.CutPrefix(err.Error(), "json: unknown field "); found {
		if name, uerr := strconv.Unquote(field); uerr == nil {
			return problem.Field(name, "Unknown field").Because(err)
		}
	}
	if p, ok := errors.AsType[*problem.Error](err); ok { // from one of our UnmarshalJSON methods
		return p
	}
	if json.Valid(body) { // from the UnmarshalJSON of another type, such as uuid.UUID, which names no field
		return problem.New(problem.Invalid, "VALIDATION_ERROR", "A value in the body has the wrong form").Because(err)
	}
	return malformed("The body is not valid JSON").Because(err)
}

func fieldOr(field, otherwise string) string {
	if field == "" {
		return otherwise
	}
	return field
}

// PathID returns the UUID in a variable of the route. It returns a *problem.Error that names the variable if there is
// none.
func PathID(r *http.Request, name string) (uuid.UUID, error) {
	return ParseID(name, mux.Vars(r)[name])
}

// ParseID returns the UUID that value is the canonical form of, or a *problem.Error that names the field.
func ParseID(field, value string) (uuid.UUID, error) {
	// uuid.Parse also accepts braces, the prefix urn:uuid: and missing dashes.
	id, err := uuid.Parse(value)
	if err != nil || len(value) != 36 {
		return uuid.Nil, problem.Field(field, "%s must be a UUID", field)
	}
	return id, nil
}

// ParseIDs returns the UUIDs of a list with at most limit entries. It returns a *problem.Error that names the field,
// with an index if a single entry is invalid. A missing list is an error, an empty list is not.
func ParseIDs(field string, values []string, limit int) ([]uuid.UUID, error) {
	if values == nil {
		return nil, problem.Field(field, "%s is required", field)
	}
	if len(values) > limit {
		return nil, problem.Field(field, "%s must not have more than %d entries", field, limit)
	}
	ids := make([]uuid.UUID, len(values))
	for i, value := range values {
		id, err := ParseID(field+"["+strconv.Itoa(i)+"]", value)
		if err != nil {
			return nil, err
		}
		ids[i] = id
	}
	return ids, nil
}

// WriteJSON writes a response with the status and v as JSON. It returns an error only if v cannot be marshalled.
func WriteJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, err = w.Write(append(body, '\n'))
	if err != nil { // the client has disconnected
		slog.Debug("write response failed", "error", err.Error())
	}
	return nil
}

var statusOf = map[problem.Kind]int{
	problem.Internal:         http.StatusInternalServerError,
	problem.Invalid:          http.StatusBadRequest,
	problem.Unauthenticated:  http.StatusUnauthorized,
	problem.PaymentRequired:  http.StatusPaymentRequired,
	problem.Forbidden:        http.StatusForbidden,
	problem.NotFound:         http.StatusNotFound,
	problem.MethodNotAllowed: http.StatusMethodNotAllowed,
	problem.Conflict:         http.StatusConflict,
	problem.TooLarge:         http.StatusRequestEntityTooLarge,
	problem.Unprocessable:    http.StatusUnprocessableEntity,
	problem.Throttled:        http.StatusTooManyRequests,
	problem.Unavailable:      http.StatusServiceUnavailable,
}

// Status returns the HTTP status of a kind of problem.
func Status(kind problem.Kind) int { return statusOf[kind] }

// WriteError writes an error in the contract's form. No other function renders errors. See Problem for errors that are
// not a *problem.Error.
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	p := Problem(r, err)
	if p.RetryAfter > 0 { // rounded up, so that no client retries too early
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(p.RetryAfter.Seconds()))))
	}
	_ = WriteJSON(w, Status(p.Kind), struct {
		Error   string `json:"error"`
		Message string `json:"message"`
		Field   string `json:"field,omitempty"`
	}{p.Code, p.Message, p.Field})
}

// Problem returns the error to show to the client, and logs what the client must not see. An err that is not a
// *problem.Error becomes INTERNAL_ERROR, or SERVICE_UNAVAILABLE if the client has disconnected or the request has
// exceeded RequestTimeout. A handler calls Problem if its refusals have more fields than the common form (the
// contract's reserved, confirmed, valid).
func Problem(r *http.Request, err error) *problem.Error {
	p, ok := errors.AsType[*problem.Error](err)
	switch {
	case !ok && errors.Is(r.Context().Err(), context.Canceled):
		slog.InfoContext(r.Context(), "client disconnected", "error", err.Error())
		return problem.New(problem.Unavailable, "SERVICE_UNAVAILABLE", "The request was cancelled")
	case !ok && errors.Is(r.Context().Err(), context.DeadlineExceeded):
		slog.WarnContext(r.Context(), "request timed out", "error", err.Error())
		return problem.New(problem.Unavailable, "SERVICE_UNAVAILABLE", "The request took too long")
	case !ok:
		slog.ErrorContext(r.Context(), "internal error", "error", err.Error())
		return problem.New(problem.Internal, "INTERNAL_ERROR", "Something went wrong on our side")
	case p.Kind == problem.Unavailable || p.Kind == problem.Internal:
		slog.WarnContext(r.Context(), "request refused", "error", err.Error())
	}
	return p
}
