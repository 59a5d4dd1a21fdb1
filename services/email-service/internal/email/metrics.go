package email

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

// What became of a message.
const (
	sent        = "sent"
	repeated    = "repeated" // it was sent before, and is not sent again
	rejected    = "rejected"
	unavailable = "unavailable"
)

var messages = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "email_messages_total",
	Help: "Messages by what became of them: sent, repeated (it was sent before), rejected for good, or unavailable (the mail server).",
}, []string{"outcome"})

// observe measures an attempt to hand over a message that began then.
func observe(err error, began time.Time) {
	telemetry.ObserveCall("smtp", "send", !errors.Is(err, ErrUnavailable), began)
	outcome := sent
	switch {
	case errors.Is(err, ErrRejected):
		outcome = rejected
	case err != nil:
		outcome = unavailable
	}
	messages.WithLabelValues(outcome).Inc()
}
