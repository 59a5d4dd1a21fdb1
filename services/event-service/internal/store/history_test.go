package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/event-service/internal/event"
	"github.com/eventbooking/eventbooking/services/event-service/internal/store"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
)

// history is the number of other events in the database. No statement may read them all.
const history = 20_000

func TestStatementsDoNotReadTheWholeTable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.pool.Exec(t.Context(), `
		INSERT INTO events (organizer_id, status, name, description, event_date,
		                    venue_name, venue_address, category, image_url)
		SELECT md5('organizer ' || n % 1000)::uuid, 'PUBLISHED', 'Festival of ' || n, 'Annual outdoor festival',
		       now() + (n - 10000) * interval '1 minute', 'Amphitheater', '', 'MUSIC', ''
		FROM generate_series(1, $1) n`, history)
	require.NoError(t, err)
	var organizer uuid.UUID
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT md5('organizer 7')::uuid`).Scan(&organizer))

	plans := postgrestest.Explain(t, b.pool, func(pool *pgxpool.Pool) {
		ctx, s := t.Context(), store.New(pool)
		ok := func(err error) { t.Helper(); require.NoError(t, err) }
		e, err := s.Create(ctx, b.organizer.ID, details(time.Now().Add(time.Hour).UTC()))
		ok(err)
		_, err = s.Publish(ctx, e.ID, b.organizer)
		ok(err)
		_, err = s.Postpone(ctx, e.ID, b.organizer, time.Now().Add(2*time.Hour).UTC(), "Rain")
		ok(err)
		_, err = s.Cancel(ctx, e.ID, b.organizer, "Storm", event.Published, 0)
		ok(err)
		_, err = s.Event(ctx, e.ID)
		ok(err)
		_, err = s.Events(ctx, []uuid.UUID{e.ID, uuid.New()})
		ok(err)
		for _, page := range []paging.Page{{Limit: 20}, {Limit: 20, After: new(time.Now())}} {
			_, err = s.OrganizedBy(ctx, organizer, page)
			ok(err)
			_, err = s.Published(ctx, event.Search{}, page)
			ok(err)
			inTheNextHour := event.Search{From: time.Now(), To: time.Now().Add(time.Hour), Category: event.Music}
			_, err = s.Published(ctx, inTheNextHour, page)
			ok(err)
		}
	})
	require.NotContains(t, plans.Of(t, ""), "Seq Scan on")
}
