// Package inbox consumes the events of a service's queues.
//
// A Consumer passes each event to the Handler of its type. A queue delivers an event at least once, so a
// handler calls FirstTx in the transaction of the event's effect, and skips the effect if FirstTx reports
// that it is committed already.
package inbox

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

// FirstTx records in tx that an event takes effect, and reports whether it does so for the first time. If
// another transaction records the same event concurrently, FirstTx waits until that one commits or rolls back.
func FirstTx(ctx context.Context, tx pgx.Tx, id uuid.UUID, eventType string) (bool, error) {
	tag, err := tx.Exec(ctx,
		`INSERT INTO inbox (event_id, type) VALUES ($1, $2) ON CONFLICT DO NOTHING`, id, eventType)
	if err != nil {
		return false, fmt.Errorf("record event %s: %w", id, err)
	}
	first := tag.RowsAffected() == 1
	if !first {
		postgres.AfterCommit(tx, repeated.WithLabelValues(eventType).Inc)
	}
	return first, nil
}
