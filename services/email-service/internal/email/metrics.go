package email

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

// The outcomes of a message.
const (
	sent        = "sent"
	repeated    = "repeated" // already sent before
	rejected    = "rejected"
	deferred    = "deferred" // refused for now
	unavailable = "unavailable"
	unconfirmed = "unconfirmed" // sent completely, and not answered
)

var messages = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "email_messages_total",
	Help: "Messages by outcome: sent, repeated (already sent before), rejected, deferred (refused for now), unavailable " +
		"(the mail server), or unconfirmed (the mail server received the message and did not answer).",
}, []string{"outcome"})

// observe records the outcome and the duration of an attempt to send a message.
func observe(err error, began time.Time) {
	telemetry.ObserveCall("smtp", "send", !errors.Is(err, ErrUnavailable), began)
	outcome := sent
	switch {
	case errors.Is(err, ErrRejected):
		outcome = rejected
	case errors.Is(err, ErrDeferred):
		outcome = deferred
	case errors.Is(err, errNoAnswer):
		outcome = unconfirmed
	case err != nil:
		outcome = unavailable
	}
	messages.WithLabelValues(outcome).Inc()
}
