package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

type errorForm struct {
	Error   string `json:"error"`
	Message string `json:"message"`
	Field   string `json:"field"`
}

// serve serves a router on a real port.
func serve(t *testing.T, configure func(*mux.Router)) *httptest.Server {
	t.Helper()
	router := web.NewRouter()
	configure(router)
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	return server
}

// do sends a request and decodes the JSON response into out.
func do(t *testing.T, req *http.Request, out any) *http.Response {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, "application/json", res.Header.Get("Content-Type"))
	require.NoError(t, json.NewDecoder(res.Body).Decode(out))
	return res
}

func newRequest(t *testing.T, method, url, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	return req
}

type order struct {
	Name  string        `json:"name"`
	Price money.Decimal `json:"price"`
	Items []struct {
		Quantity int `json:"quantity"`
	} `json:"items"`
	Buyer uuid.UUID `json:"buyer"`
}

const validOrder = `{"name":"ä","price":50.00,"items":[{"quantity":2}]}` + "\n"

// invalidBodies are bodies that are not an order.
var invalidBodies = []struct {
	name, body  string
	status      int
	code, field string
}{
	{"Empty", ``, 400, "MALFORMED_JSON", ""},
	{"Blank", " \n\t", 400, "MALFORMED_JSON", ""},
	{"NotJSON", `name=x`, 400, "MALFORMED_JSON", ""},
	{"Truncated", `{"name":"x"`, 400, "MALFORMED_JSON", ""},
	{"TwoValues", `{"name":"x"}{"name":"y"}`, 400, "MALFORMED_JSON", ""},
	{"TrailingGarbage", `{"name":"x"}]`, 400, "MALFORMED_JSON", ""},
	{"InvalidUTF8", "{\"name\":\"\xff\"}", 400, "MALFORMED_JSON", ""},
	{"Array", `[]`, 400, "MALFORMED_JSON", ""},
	{"String", `"x"`, 400, "MALFORMED_JSON", ""},
	{"UnknownField", `{"name":"x","admin":true}`, 400, "VALIDATION_ERROR", "admin"},
	{"UnknownFieldWithQuotes", `{"a\"b":1}`, 400, "VALIDATION_ERROR", `a"b`},
	{"WrongType", `{"name":5}`, 400, "VALIDATION_ERROR", "name"},
	{"WrongTypeOfANestedField", `{"items":[{"quantity":"2"}]}`, 400, "VALIDATION_ERROR", "items.quantity"},
	{"Fraction", `{"items":[{"quantity":1.5}]}`, 400, "VALIDATION_ERROR", "items.quantity"},
	{"NumberBeyondInt64", `{"items":[{"quantity":99999999999999999999}]}`, 400, "VALIDATION_ERROR", "items.quantity"},
	{"InvalidID", `{"buyer":"ann"}`, 400, "VALIDATION_ERROR", ""},
	{"InvalidIDInTruncatedJSON", `{"buyer":"ann"`, 400, "MALFORMED_JSON", ""},
	{"PriceWithAnExponent", `{"price":1e2}`, 400, "VALIDATION_ERROR", "price"},
	{"PriceAsAString", `{"price":"50.00"}`, 400, "VALIDATION_ERROR", "price"},
	{"DeepNesting", strings.Repeat("[", 200_000), 400, "MALFORMED_JSON", ""},
	{"TooLarge", `{"name":"` + strings.Repeat("x", web.MaxBody) + `"}`, 413, "BODY_TOO_LARGE", ""},
}

func TestDecodeNamesTheInvalidField(t *testing.T) {
	t.Parallel()
	server := serve(t, func(r *mux.Router) {
		r.Handle("/orders", web.Handler(func(w http.ResponseWriter, r *http.Request) error {
			var o order
			if err := web.Decode(w, r, &o); err != nil {
				return err
			}
			return web.WriteJSON(w, http.StatusOK, o)
		}))
	})

	t.Run("Valid", func(t *testing.T) {
		t.Parallel()
		var got order
		res := do(t, newRequest(t, http.MethodPost, server.URL+"/orders", validOrder), &got)
		require.Equal(t, http.StatusOK, res.StatusCode)
		require.Equal(t, "ä", got.Name)
		require.Equal(t, money.Decimal("50.00"), got.Price)
		require.Equal(t, 2, got.Items[0].Quantity)
	})

	for _, tt := range invalidBodies {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got errorForm
			res := do(t, newRequest(t, http.MethodPost, server.URL+"/orders", tt.body), &got)
			require.Equal(t, tt.status, res.StatusCode, got)
			require.Equal(t, tt.code, got.Error)
			require.Equal(t, tt.field, got.Field)
			require.NotEmpty(t, got.Message)
		})
	}
}

// FuzzDecode checks that Decode never panics and that each of its errors is a *problem.Error of the client. A body that
// Decode accepts is valid JSON, and Decode accepts its value again.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(validOrder))
	for _, tt := range invalidBodies {
		if len(tt.body) < 1<<10 { // large seeds only slow the fuzzer down
			f.Add([]byte(tt.body))
		}
	}
	decode := func(body []byte) (order, error) {
		var o order
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		return o, web.Decode(httptest.NewRecorder(), r, &o)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := decode(body)
		if err != nil {
			p, ok := errors.AsType[*problem.Error](err)
			require.True(t, ok, "%v is not a *problem.Error", err)
			require.Contains(t, []problem.Kind{problem.Invalid, problem.TooLarge}, p.Kind)
			require.NotEmpty(t, p.Message)
			return
		}
		require.True(t, json.Valid(body))
		if o.Price == "" { // absent, which has no form in JSON
			o.Price = "0"
		}
		again, err := json.Marshal(o)
		require.NoError(t, err)
		reread, err := decode(again)
		require.NoError(t, err, "%s", again)
		require.Equal(t, o, reread)
	})
}

func TestDecodeOptionalAcceptsNoBody(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		body, name string
		valid      bool
	}{
		{"", "unchanged", true},
		{`{"name": "new"}`, "new", true},
		{`{"name": `, "", false},
		{`{"other": 1}`, "", false},
		{"[]", "", false},
	} {
		t.Run(tt.body, func(t *testing.T) {
			t.Parallel()
			in := struct {
				Name string `json:"name"`
			}{"unchanged"}
			err := web.DecodeOptional(httptest.NewRecorder(), newRequest(t, http.MethodPost, "/", tt.body), &in)
			if !tt.valid {
				require.Equal(t, problem.Invalid, problem.KindOf(err))
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.name, in.Name)
		})
	}
}

func TestParseIDAcceptsOnlyTheCanonicalForm(t *testing.T) {
	t.Parallel()
	const id = "550e8400-e29b-41d4-a716-446655440000"
	got, err := web.ParseID("orderId", id)
	require.NoError(t, err)
	require.Equal(t, id, got.String())

	for _, invalid := range []string{
		"", "x", "550e8400e29b41d4a716446655440000", "{" + id + "}", "urn:uuid:" + id, id + "0", id[:35] + "g",
	} {
		_, err := web.ParseID("orderId", invalid)
		p, ok := errors.AsType[*problem.Error](err)
		require.True(t, ok, invalid)
		require.Equal(t, problem.Invalid, p.Kind)
		require.Equal(t, "orderId", p.Field)
	}
}

func TestPathIDNamesTheVariable(t *testing.T) {
	t.Parallel()
	server := serve(t, func(r *mux.Router) {
		r.Handle("/orders/{orderId}", web.Handler(func(w http.ResponseWriter, r *http.Request) error {
			id, err := web.PathID(r, "orderId")
			if err != nil {
				return err
			}
			return web.WriteJSON(w, http.StatusOK, id)
		}))
	})
	var got errorForm
	res := do(t, newRequest(t, http.MethodGet, server.URL+"/orders/42", ""), &got)
	require.Equal(t, http.StatusBadRequest, res.StatusCode)
	require.Equal(t, "orderId", got.Field)
}

func TestErrorAfterTheClientDisconnectedIsNotInternal(t *testing.T) {
	t.Parallel()
	ctx, disconnect := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", http.NoBody)
	failure := errors.New("wait for the database: context canceled")
	require.Equal(t, problem.Internal, web.Problem(r, failure).Kind)
	disconnect()
	require.Equal(t, problem.Unavailable, web.Problem(r, failure).Kind)
}

func TestErrorAfterTheDeadlineIsNotInternal(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", http.NoBody)
	require.Equal(t, problem.Unavailable, web.Problem(r, errors.New("timeout: context deadline exceeded")).Kind)
}

func TestErrorsHideTheirCauseFromTheClient(t *testing.T) {
	t.Parallel()
	refusal := problem.New(problem.Conflict, "INSUFFICIENT_INVENTORY", "Not enough tickets available")
	soldOut := errorForm{"INSUFFICIENT_INVENTORY", "Not enough tickets available", ""}
	secret := errors.New("password=hunter2")
	busy := problem.New(problem.Throttled, "TOO_MANY_REQUESTS", "Slow down")
	busy.RetryAfter = 1500 * time.Millisecond
	for _, tt := range []struct {
		name       string
		err        error
		status     int
		want       errorForm
		retryAfter string
	}{
		{"Refusal", refusal, 409, soldOut, ""},
		{"WithACause", refusal.Because(secret), 409, soldOut, ""},
		{"Wrapped", errors.Join(secret, refusal), 409, soldOut, ""},
		{"Field", problem.Field("name", "too long"), 400, errorForm{"VALIDATION_ERROR", "too long", "name"}, ""},
		{"NotAProblem", secret, 500, errorForm{"INTERNAL_ERROR", "Something went wrong on our side", ""}, ""},
		{"RetryAfterIsRoundedUp", busy, 429, errorForm{"TOO_MANY_REQUESTS", "Slow down", ""}, "2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, func(r *mux.Router) {
				r.Handle("/", web.Handler(func(http.ResponseWriter, *http.Request) error { return tt.err }))
			})
			var got errorForm
			res := do(t, newRequest(t, http.MethodGet, server.URL, ""), &got)
			require.Equal(t, tt.status, res.StatusCode)
			require.Equal(t, tt.want, got)
			require.Equal(t, tt.retryAfter, res.Header.Get("Retry-After"))
		})
	}
}

func TestEveryKindHasAStatus(t *testing.T) {
	t.Parallel()
	for kind := problem.Internal; kind <= problem.Unavailable; kind++ {
		require.GreaterOrEqual(t, web.Status(kind), 400, "kind %d", kind)
	}
}
