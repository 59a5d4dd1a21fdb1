package web_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/web"
)

func TestRefusalsMoveTheirStatusIntoAHeaderOnRequest(t *testing.T) {
	t.Parallel()
	r := web.NewRouter()
	r.Methods(http.MethodGet).Path("/status/{status}").HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(r.URL.Path[len("/status/"):])
		w.WriteHeader(status)
		_, _ = w.Write([]byte("body"))
	})
	for _, tt := range []struct {
		name, method, path, prefer string
		status                     int
		header                     string
	}{
		{"Success", "GET", "/status/201", web.PreferStatusInHeader, 201, ""},
		{"Redirect", "GET", "/status/304", web.PreferStatusInHeader, 304, ""},
		{"Refusal", "GET", "/status/409", web.PreferStatusInHeader, 200, "409"},
		{"Throttled", "GET", "/status/429", web.PreferStatusInHeader, 200, "429"},
		{"NoSuchRoute", "GET", "/nowhere", web.PreferStatusInHeader, 200, "404"},
		{"NoSuchMethod", "POST", "/status/201", web.PreferStatusInHeader, 200, "405"},
		{"Failure", "GET", "/status/500", web.PreferStatusInHeader, 500, ""},
		{"Unavailable", "GET", "/status/503", web.PreferStatusInHeader, 503, ""},
		{"NoPreference", "GET", "/status/409", "", 409, ""},
		{"AnotherPreference", "GET", "/status/409", "return=minimal", 409, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			req := httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, http.NoBody)
			req.Header.Set("Prefer", tt.prefer)
			rec := httptest.NewRecorder()
			r.ServeHTTP(rec, req)
			require.Equal(t, tt.status, rec.Code)
			require.Equal(t, tt.header, rec.Header().Get(web.StatusHeader))
		})
	}
}
