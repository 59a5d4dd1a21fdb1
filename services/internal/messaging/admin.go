package messaging

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// letterJSON is a dead letter as an admin sees it. The body may be long: a list leaves it out.
type letterJSON struct {
	ID        uuid.UUID  `json:"deadLetterId"`
	Queue     string     `json:"queue"`
	EventID   string     `json:"eventId"`
	EventType string     `json:"eventType"`
	Reason    string     `json:"reason"`
	State     State      `json:"state"`
	Times     int        `json:"times"`
	FirstSeen time.Time  `json:"firstSeen"`
	LastSeen  time.Time  `json:"lastSeen"`
	HandledAt *time.Time `json:"handledAt,omitempty"`
	Body      string     `json:"body,omitempty"`
}

const letterColumns = `id, queue, event_id, type, reason, state, times, first_seen AT TIME ZONE 'UTC',
	last_seen AT TIME ZONE 'UTC', handled_at AT TIME ZONE 'UTC'`

func (c Consumer) listLetters(w http.ResponseWriter, r *http.Request) error {
	page, err := web.ParsePage(r)
	if err != nil {
		return err
	}
	state := State(r.URL.Query().Get("state"))
	if r.URL.Query().Has("state") && state != Open && state != Redriven && state != Discarded {
		return problem.Field("state", "state must be OPEN, REDRIVEN or DISCARDED")
	}
	rows, err := c.Pool.Query(r.Context(), `
		SELECT `+letterColumns+`, '' FROM dead_letters
		WHERE (first_seen, id) < (coalesce($1::timestamptz, 'infinity'), $2) AND ($3 = '' OR state = $3)
		ORDER BY first_seen DESC, id DESC LIMIT $4 + 1`, page.After, page.AfterID, string(state), page.Limit)
	if err != nil {
		return fmt.Errorf("list dead letters: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[letterJSON])
	if err != nil {
		return fmt.Errorf("list dead letters: %w", err)
	}
	var out struct {
		DeadLetters []letterJSON `json:"deadLetters"`
		NextCursor  string       `json:"nextCursor,omitempty"`
	}
	out.DeadLetters, out.NextCursor = paging.Cut(page, found, func(l letterJSON) (time.Time, uuid.UUID) { return l.FirstSeen, l.ID })
	return web.WriteJSON(w, http.StatusOK, out)
}

func (c Consumer) showLetter(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "deadLetterId")
	if err != nil {
		return err
	}
	rows, err := c.Pool.Query(r.Context(), `SELECT `+letterColumns+`, body FROM dead_letters WHERE id = $1`, id)
	if err != nil {
		return fmt.Errorf("find dead letter: %w", err)
	}
	letter, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[letterJSON])
	if errors.Is(err, pgx.ErrNoRows) {
		return errLetterNotFound
	}
	if err != nil {
		return fmt.Errorf("find dead letter: %w", err)
	}
	return web.WriteJSON(w, http.StatusOK, letter)
}

func (c Consumer) redriveOne(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "deadLetterId")
	if err != nil {
		return err
	}
	if err := c.redrive(r.Context(), id); err != nil {
		return err
	}
	slog.InfoContext(r.Context(), "dead letter redriven", "deadLetterId", id, "userId", identity.CurrentUser(r.Context()).ID)
	return c.showLetter(w, r)
}

func (c Consumer) discardOne(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "deadLetterId")
	if err != nil {
		return err
	}
	if err := c.discard(r.Context(), id); err != nil {
		return err
	}
	slog.InfoContext(r.Context(), "dead letter discarded", "deadLetterId", id, "userId", identity.CurrentUser(r.Context()).ID)
	return c.showLetter(w, r)
}

// redriveAll redrives what is open now, the oldest first, until the client goes away.
func (c Consumer) redriveAll(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	rows, err := c.Pool.Query(ctx, `SELECT id FROM dead_letters WHERE state = 'OPEN' ORDER BY first_seen, id`)
	if err != nil {
		return fmt.Errorf("list open dead letters: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return fmt.Errorf("list open dead letters: %w", err)
	}
	var out struct {
		Redriven int `json:"redriven"`
		Failed   int `json:"failed"`
	}
	for _, id := range ids {
		err := c.redrive(ctx, id)
		switch {
		case err == nil:
			out.Redriven++
		case errors.Is(err, errRedriveFailed):
			out.Failed++
		// Somebody else handles these.
		case errors.Is(err, errLetterNotOpen), errors.Is(err, errRedriveRunning):
		default:
			return err
		}
	}
	slog.InfoContext(ctx, "dead letters redriven", "redriven", out.Redriven, "failed", out.Failed,
		"userId", identity.CurrentUser(ctx).ID)
	return web.WriteJSON(w, http.StatusOK, out)
}
