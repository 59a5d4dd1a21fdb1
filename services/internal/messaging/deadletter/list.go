package deadletter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/internal/paging"
)

// letter is a dead letter. A list omits the body, which may be long.
type letter struct {
	ID        uuid.UUID
	Queue     string
	EventID   string
	EventType string
	Reason    string
	State     State
	Times     int // how often its event arrived in the dead-letter queue
	FirstSeen time.Time
	LastSeen  time.Time
	HandledAt *time.Time
	Body      string
}

const letterColumns = `id, queue, event_id, type, reason, state, times, first_seen AT TIME ZONE 'UTC',
	last_seen AT TIME ZONE 'UTC', handled_at AT TIME ZONE 'UTC'`

// list returns up to page.Limit + 1 dead letters, the newest first; if state is not empty, those in that state.
func (a Archive) list(ctx context.Context, state State, page paging.Page) ([]letter, error) {
	rows, err := a.pool.Query(ctx, `
		SELECT `+letterColumns+`, '' FROM dead_letters
		WHERE (first_seen, id) < (coalesce($1::timestamptz, 'infinity'), $2) AND ($3 = '' OR state = $3)
		ORDER BY first_seen DESC, id DESC LIMIT $4 + 1`, page.After, page.AfterID, string(state), page.Limit)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[letter])
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	return found, nil
}

// find returns a dead letter with its body, or errNotFound.
func (a Archive) find(ctx context.Context, id uuid.UUID) (letter, error) {
	rows, err := a.pool.Query(ctx, `SELECT `+letterColumns+`, body FROM dead_letters WHERE id = $1`, id)
	if err != nil {
		return letter{}, fmt.Errorf("find dead letter: %w", err)
	}
	found, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[letter])
	if errors.Is(err, pgx.ErrNoRows) {
		return found, errNotFound
	}
	if err != nil {
		return found, fmt.Errorf("find dead letter: %w", err)
	}
	return found, nil
}
