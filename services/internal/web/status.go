package web

import (
	"net/http"
	"strconv"
)

// A sidecar counts every status but 2xx and 3xx as a failure, so that refusals, such as "sold out", would open a
// circuit breaker. A service that calls another one therefore sends the header Prefer with the value
// PreferStatusInHeader. The response to a refused request (4xx) then has the status 200, and the actual status in
// StatusHeader. Callers without the header get the actual status.
const (
	PreferStatusInHeader = "status-in-header"
	StatusHeader         = "X-Status"
)

func statusInHeader(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Prefer") == PreferStatusInHeader {
			w = statusMover{w}
		}
		next.ServeHTTP(w, r)
	})
}

type statusMover struct{ http.ResponseWriter }

func (s statusMover) WriteHeader(status int) {
	if status >= 400 && status < 500 {
		s.Header().Set(StatusHeader, strconv.Itoa(status))
		status = http.StatusOK
	}
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (s statusMover) Unwrap() http.ResponseWriter { return s.ResponseWriter }
