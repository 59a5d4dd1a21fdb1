package httpapi

import (
	"errors"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

var signIns = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "sign_ins_total",
	Help: "Logins with a password and refreshes of a session, by outcome: OK or the error code.",
}, []string{"by", "outcome"})

// countedSignIn counts the outcomes of h.
func countedSignIn(by string, h web.Handler) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		err, outcome := h(w, r), "OK"
		if p, ok := errors.AsType[*problem.Error](err); ok {
			outcome = p.Code
		} else if err != nil {
			outcome = "INTERNAL_ERROR"
		}
		signIns.WithLabelValues(by, outcome).Inc()
		return err
	}
}
