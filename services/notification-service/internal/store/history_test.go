package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/store"
)

// history is how many people were told, which nothing may read that is about others.
const history = 20_000

func TestHistoryIsNotRead(t *testing.T) {
	s, n := setup(t)
	_, err := s.Pool.Exec(t.Context(), `
		INSERT INTO notifications (message_id, event_id, user_id, order_id, kind, facts, status, attempts, due_at, created_at, sent_at)
		SELECT gen_random_uuid(), gen_random_uuid(), md5('user ' || n % 1000)::uuid, gen_random_uuid(), 'ORDER_CONFIRMATION', '{}',
		       'SENT', 1, now(), now() - n * interval '1 minute', now()
		FROM generate_series(1, $1) n`, history)
	require.NoError(t, err)
	_, err = s.Pool.Exec(t.Context(), `
		INSERT INTO announcements (id, about, kind, facts, finished_at)
		SELECT gen_random_uuid(), gen_random_uuid(), 'EVENT_POSTPONED', '{}', now() FROM generate_series(1, $1)`, history)
	require.NoError(t, err)

	plans := postgrestest.Explain(t, s.Pool, func(pool *pgxpool.Pool) {
		ctx, s := t.Context(), store.Store{Pool: pool}
		ok := func(err error) { t.Helper(); require.NoError(t, err) }
		ok(s.Tell(ctx, n.EventID, "TEST", n))
		begun, found, err := s.Begin(ctx, time.Minute)
		ok(err)
		require.True(t, found)
		ok(s.Settle(ctx, begun.After(nil)))
		ok(s.Resend(ctx, n.UserID, begun.ID))
		_, err = s.Get(ctx, n.UserID, begun.ID)
		ok(err)
		for _, page := range []paging.Page{{Limit: 20}, {Limit: 20, After: new(time.Now().Add(-time.Hour))}} {
			var user uuid.UUID
			ok(pool.QueryRow(ctx, `SELECT md5('user 7')::uuid`).Scan(&user))
			_, err = s.List(ctx, user, page)
			ok(err)
		}
		ok(s.Announce(ctx, "TEST", notification.Announcement{
			ID: uuid.New(), About: uuid.New(), Kind: notification.EventPostponed, Facts: n.Facts,
		}))
		a, found, err := s.DueAnnouncement(ctx, time.Minute)
		ok(err)
		require.True(t, found)
		ok(s.QueuePage(ctx, a, []notification.Holder{{UserID: uuid.New(), OrderID: uuid.New()}}, ""))
		_, found, err = s.DueAnnouncement(ctx, time.Minute)
		ok(err)
		require.False(t, found)
	})
	require.NotContains(t, plans.Of(t, ""), "Seq Scan on")
	// Nor all that is pending by who settles one of it.
	require.NotContains(t, plans.Of(t, "WHERE id = .1 AND status"), "notifications_due")
}
