package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	middleware "github.com/dapr/dapr/pkg/middleware/http"
)

// A request runs its own handler, also when the handler of a later request was built before it ran.
func TestConcurrentRequestsRunTheirOwnHandler(t *testing.T) {
	t.Parallel()
	wrap := middleware.New().BuildPipelineFromSpec("app", nil)
	answering := func(status int) http.Handler {
		return wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	}
	first, second := answering(http.StatusAccepted), answering(http.StatusTeapot)
	for _, tt := range []struct {
		handler http.Handler
		want    int
	}{{first, http.StatusAccepted}, {second, http.StatusTeapot}} {
		w := httptest.NewRecorder()
		tt.handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))
		if w.Code != tt.want {
			t.Errorf("status %d from the wrong handler, want %d", w.Code, tt.want)
		}
	}
}
