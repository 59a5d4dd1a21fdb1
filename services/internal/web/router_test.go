package web_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/mux"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

func TestErrorsOutsideHandlersHaveTheContractsForm(t *testing.T) {
	t.Parallel()
	server := serve(t, func(r *mux.Router) {
		ok := func(http.ResponseWriter, *http.Request) error { return nil }
		r.Handle("/orders", web.Handler(ok)).Methods(http.MethodPost)
		r.Handle("/panic", web.Handler(func(http.ResponseWriter, *http.Request) error { panic("at the disco") }))
	})
	for _, tt := range []struct {
		name, method, path string
		status             int
		code               string
	}{
		{"UnknownPath", http.MethodGet, "/nowhere", 404, "NOT_FOUND"},
		{"WrongMethod", http.MethodDelete, "/orders", 405, "METHOD_NOT_ALLOWED"},
		{"Panic", http.MethodGet, "/panic", 500, "INTERNAL_ERROR"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got errorForm
			res := do(t, newRequest(t, tt.method, server.URL+tt.path, ""), &got)
			require.Equal(t, tt.status, res.StatusCode)
			require.Equal(t, tt.code, got.Error)
			require.NotContains(t, got.Message, "disco")
			require.NotEmpty(t, res.Header.Get(web.CorrelationHeader))
		})
	}
}

func TestRequestContinuesTheTraceOfItsCaller(t *testing.T) {
	t.Parallel()
	server := serve(t, func(r *mux.Router) {
		r.Handle("/", web.Handler(func(w http.ResponseWriter, r *http.Request) error {
			return web.WriteJSON(w, http.StatusOK, telemetry.From(r.Context()))
		}))
	})
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, tt := range []struct {
		name, id, parent string
		accepted         bool
		wantParent       string
	}{
		{"None", "", "", false, ""},
		{"Valid", "corr-123456", parent, true, parent},
		{"Spaces", "a b", "", false, ""},
		{"HTML", "<script>", "", false, ""},
		{"Quotes", `"},{"level":"ERROR`, "", false, ""},
		{"NotASCII", "корр", "", false, ""},
		{"Longest", strings.Repeat("x", 128), "", true, ""},
		{"TooLong", strings.Repeat("x", 129), "", false, ""},
		{"InvalidParent", "corr-1", "a-b-c-d", true, ""},
		{"ParentTooLong", "corr-1", parent + strings.Repeat("0", 5000), true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			req := newRequest(t, http.MethodGet, server.URL, "")
			req.Header.Set(web.CorrelationHeader, tt.id)
			req.Header.Set("Traceparent", tt.parent)
			var got telemetry.Trace
			res := do(t, req, &got)
			if tt.accepted {
				require.Equal(t, tt.id, got.CorrelationID)
			} else {
				require.Regexp(t, `^corr-[0-9a-f-]{36}$`, got.CorrelationID)
			}
			require.Equal(t, got.CorrelationID, res.Header.Get(web.CorrelationHeader), "the response has the id")
			require.Equal(t, tt.wantParent, got.Parent)
		})
	}
}
