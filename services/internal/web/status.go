package web

import (
	"net/http"
	"strconv"
)

// To a sidecar every answer but a 2xx or 3xx is a failure: it would open a circuit breaker because something is sold out.
// So a service that calls another sends the header Prefer with the value PreferStatusInHeader, and gets a refusal (4xx)
// as what it is to the sidecars between them, an answer: 200, with the real status in StatusHeader. Whoever sends no such
// header gets the plain status.
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
