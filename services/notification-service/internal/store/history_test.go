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

// history is the number of rows of other users and events in each table.
const history = 20_000

func TestQueriesDoNotScanHistory(t *testing.T) {
	b := setup(t)
	n := b.notification
	b.exec(t, `
		INSERT INTO notifications (message_id, event_id, user_id, order_id, kind, facts, status, attempts, due_at,
		                           created_at, sent_at)
		SELECT gen_random_uuid(), gen_random_uuid(), md5('user ' || n % 1000)::uuid, gen_random_uuid(),
		       'ORDER_CONFIRMATION', '{}', 'SENT', 1, now(), now() - n * interval '1 minute', now()
		FROM generate_series(1, $1) n`, history)
	b.exec(t, `
		INSERT INTO announcements (id, about, kind, facts, finished_at)
		SELECT gen_random_uuid(), gen_random_uuid(), 'EVENT_POSTPONED', '{}', now() FROM generate_series(1, $1)`, history)

	plans := postgrestest.Explain(t, b.pool, func(pool *pgxpool.Pool) {
		ctx, s := t.Context(), store.New(pool)
		require.NoError(t, s.Queue(ctx, n.EventID, "TEST", n))
		leased, found, err := s.LeaseDue(ctx, time.Minute)
		require.NoError(t, err)
		require.True(t, found)
		require.NoError(t, s.Settle(ctx, leased.After(nil)))
		require.NoError(t, s.Resend(ctx, n.UserID, leased.ID))
		_, err = s.Get(ctx, n.UserID, leased.ID)
		require.NoError(t, err)
		for _, page := range []paging.Page{{Limit: 20}, {Limit: 20, After: new(time.Now().Add(-time.Hour))}} {
			var user uuid.UUID
			require.NoError(t, pool.QueryRow(ctx, `SELECT md5('user 7')::uuid`).Scan(&user))
			_, err = s.List(ctx, user, page)
			require.NoError(t, err)
		}
		require.NoError(t, s.Announce(ctx, "TEST", notification.Announcement{
			ID: uuid.New(), About: uuid.New(), Kind: notification.EventPostponed, Facts: n.Facts,
		}))
		a, found, err := s.LeaseDueAnnouncement(ctx, time.Minute)
		require.NoError(t, err)
		require.True(t, found)
		require.NoError(t, s.QueuePage(ctx, a, []notification.Holder{{UserID: uuid.New(), OrderID: uuid.New()}}, ""))
		_, found, err = s.LeaseDueAnnouncement(ctx, time.Minute)
		require.NoError(t, err)
		require.False(t, found)
		require.NoError(t, s.AnnounceChange(
			ctx, uuid.New(), "TEST", notification.Change{EventID: uuid.New()}, time.Minute, time.Minute))
	})
	require.NotContains(t, plans.Of(t, ""), "Seq Scan on")
	// Settle looks up the id and does not scan all pending notifications.
	require.NotContains(t, plans.Of(t, "WHERE id = .1 AND status"), "notifications_due")
}
