// Package couriertest sets up a courier for tests, with a database of its own and a stand-in for the other services.
package couriertest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/courier"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/store"
)

// Bundle is a courier with its database and services. Run is not running: tests call DeliverDue.
type Bundle struct {
	Pool     *pgxpool.Pool
	Store    *store.Store
	Services *Services
	Courier  *courier.Courier

	consumer inbox.Consumer
}

// New returns a new Bundle.
func New(t *testing.T) *Bundle {
	t.Helper()
	b := &Bundle{
		Pool: postgrestest.New(t, messaging.Migrations(), store.Migrations()),
		Services: &Services{
			answers: map[string]string{
				UserPath: User, OtherUserPath: OtherUser, EventPath: Event, OrderPath: Order, TicketPath: Ticket,
				PDFPath: "%PDF-1.7", RequestPath: AccountMail,
			},
			failures: map[string]error{},
		},
	}
	b.Store = store.New(b.Pool)
	b.Courier = courier.New(b.Store, b.Services, courier.Config{
		PublicURL: "https://tickets.example.com", Operations: "operations@example.com", ChangeDelay: time.Minute,
	})
	b.consumer = inbox.New(b.Pool, messaging.Queues{Main: "notification-queue"}, b.Courier.Handlers()...)
	return b
}

// CloudEvent returns an event as the sidecar delivers it.
func CloudEvent(id uuid.UUID, eventType, payload string) string {
	return fmt.Sprintf(`{"specversion": "1.0", "id": %q, "source": "test", "type": %q, "data": {
		"eventType": %q, "version": "1.0", "timestamp": "2024-01-15T10:31:00Z", "correlationId": "corr-123456",
		"payload": %s}}`, id, eventType, eventType, payload)
}

// Process processes an event as the consumer does, and returns the error with which the consumer would refuse it.
func (b *Bundle) Process(ctx context.Context, id uuid.UUID, eventType, payload string) error {
	return b.consumer.Process(ctx, []byte(CloudEvent(id, eventType, payload)))
}

// Deliver processes an event and sends the notifications that are due then.
func (b *Bundle) Deliver(t *testing.T, id uuid.UUID, eventType, payload string) {
	t.Helper()
	require.NoError(t, b.Process(t.Context(), id, eventType, payload))
	require.NoError(t, b.Courier.DeliverDue(t.Context()))
}

// Retry makes all pending notifications due and sends them.
func (b *Bundle) Retry(t *testing.T) {
	t.Helper()
	b.Exec(t, `UPDATE notifications SET due_at = now()`)
	require.NoError(t, b.Courier.DeliverDue(t.Context()))
}

// Exec executes a statement in the database.
func (b *Bundle) Exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := b.Pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}
