package web

import (
	"context"
	"net/http"
	"time"

	"github.com/gorilla/mux"
)

const healthPath = "/actuator/health"

// Check reports whether one thing that the service needs answers.
type Check struct {
	Name  string // as the contract's components: "database"
	Probe func(ctx context.Context) error
}

// checkTimeout bounds each probe, so that a health answer comes before its asker gives up.
const checkTimeout = 2 * time.Second

// Health adds the contract's three endpoints: /actuator/health, which reports each check;
// /actuator/health/ready, 200 only while all checks pass, which is what gates traffic; and
// /actuator/health/live, which depends on nothing.
func Health(r *mux.Router, checks ...Check) {
	type status struct {
		Status     string            `json:"status"`
		Timestamp  time.Time         `json:"timestamp"`
		Components map[string]string `json:"components"`
	}
	probe := func(r *http.Request) status {
		ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
		defer cancel()
		s := status{Status: "UP", Timestamp: time.Now().UTC(), Components: map[string]string{}}
		for _, c := range checks {
			s.Components[c.Name] = "UP"
			if err := c.Probe(ctx); err != nil {
				s.Components[c.Name], s.Status = "DOWN", "DOWN"
			}
		}
		return s
	}
	code := func(s status) int {
		if s.Status == "UP" {
			return http.StatusOK
		}
		return http.StatusServiceUnavailable
	}
	text := func(w http.ResponseWriter, status int, word string) error {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(status)
		_, err := w.Write([]byte(word))
		return err
	}
	r.Methods(http.MethodGet).Path(healthPath).Handler(Handler(func(w http.ResponseWriter, r *http.Request) error {
		s := probe(r)
		return WriteJSON(w, code(s), s)
	}))
	r.Methods(http.MethodGet).Path(healthPath + "/ready").Handler(Handler(func(w http.ResponseWriter, r *http.Request) error {
		if s := probe(r); s.Status != "UP" {
			return text(w, code(s), "NOT_READY")
		}
		return text(w, http.StatusOK, "READY")
	}))
	r.Methods(http.MethodGet).Path(healthPath + "/live").Handler(Handler(func(w http.ResponseWriter, _ *http.Request) error {
		return text(w, http.StatusOK, "ALIVE")
	}))
}
