package simulator

import (
	"encoding/json"
	"io"
	"net/http"
)

// errorBody wraps an error as Stripe's responses do.
type errorBody struct {
	Error *apiError `json:"error"`
}

// reply writes an answer of Stripe's API and logs its path and status. It logs no parameters.
func (s *Server) reply(w http.ResponseWriter, r *http.Request, answer savedAnswer, replayed bool) {
	header := w.Header()
	header.Set("Request-Id", answer.RequestID)
	if key := r.Header.Get("Idempotency-Key"); key != "" {
		header.Set("Idempotency-Key", key)
	}
	if replayed {
		// A replay has its own request id and names the original one.
		header.Set("Request-Id", newID("req"))
		header.Set("Original-Request", answer.RequestID)
		header.Set("Idempotent-Replayed", "true")
	}
	writeJSON(w, answer.Status, answer.Body)
	s.log.Info("request answered", "method", r.Method, "path", r.URL.Path, "status", answer.Status,
		"requestId", answer.RequestID, "replayed", replayed)
}

// replyError writes an error that is not saved under the request's idempotency key.
func (s *Server) replyError(w http.ResponseWriter, r *http.Request, requestID string, e *apiError) {
	s.reply(w, r, savedAnswer{Status: e.status, Body: marshal(errorBody{e}), RequestID: requestID}, false)
}

// drop closes the connection in the middle of the status line. Closing it before the first byte would not lose the
// answer: net/http's client repeats a request with an Idempotency-Key when a reused connection closes without an
// answer.
func drop(w http.ResponseWriter) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, _ = io.WriteString(connection, "HTTP/1.1 ")
	_ = connection.Close()
}

// marshal encodes a value of one of this package's types. It panics on an error, which these types cannot cause.
func marshal(body any) json.RawMessage {
	encoded, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return encoded
}

func writeJSON(w http.ResponseWriter, status int, body json.RawMessage) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
