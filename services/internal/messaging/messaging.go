// Package messaging defines the events that services exchange and the tables that carry them.
//
// Its subpackages move events between a service's database and its sidecar, so that every committed
// event is published at least once and has its effect exactly once:
//
//   - outbox: AddTx stores an event in the transaction of the change that it reports. A Relay publishes
//     stored events and then marks them. If it dies in between, the event is published again under the
//     same id.
//   - inbox: a Consumer passes deliveries to handlers. FirstTx, called in the transaction of an event's
//     effect, reports whether the event already had that effect.
//   - replay: an admin lets the relay publish stored events again, for consumers that lost them.
//   - deadletter: an Archive stores the events that no handler could process, retries them, alerts
//     operations and lets an admin redrive or discard them.
package messaging

import (
	"embed"
	"slices"
	"strings"
	"time"

	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the migrations of the tables of outbox, replay, inbox and deadletter.
func Migrations() postgres.Migrations {
	return postgres.Embedded(migrations, "messaging_version")
}

// Payload is the payload of an event, as its publisher creates it.
type Payload interface {
	Type() string                  // PAYMENT_COMPLETED
	Topic() string                 // payment-events
	Subject() string               // the id of the entity that the event is about
	Attributes() map[string]string // the contract's message attributes, with CloudEvents' lower-case names
}

// Version is the envelope version that this code writes and reads.
const Version = "1.0"

// Envelope is the contract's frame around each payload. It is the data of the event's CloudEvent.
type Envelope[P any] struct {
	EventType     string    `json:"eventType"`
	Version       string    `json:"version"`
	Timestamp     time.Time `json:"timestamp"`
	CorrelationID string    `json:"correlationId"`
	Payload       P         `json:"payload"`
}

// Queues names the queues that a service consumes.
type Queues struct {
	Main    string
	Ordered string // the queue of ordered topics; empty if the service has none
}

// Names returns the names of the queues that the service has.
func (q Queues) Names() []string {
	return slices.DeleteFunc([]string{q.Main, q.Ordered}, func(name string) bool { return name == "" })
}

// Storable returns text without what a PostgreSQL text column rejects: NUL characters and invalid UTF-8.
// Each is replaced by U+FFFD.
func Storable(text string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", "\uFFFD"), "\uFFFD")
}
