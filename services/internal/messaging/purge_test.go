package messaging_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/kelseyhightower/envconfig"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
)

func setup(t *testing.T) *pgxpool.Pool {
	t.Helper()
	return postgrestest.New(t, messaging.Migrations())
}

func TestSweepPurgesExpiredRows(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	_, err := pool.Exec(t.Context(), `
		INSERT INTO outbox (id, topic, cloud_event, created_at, published_at)
		SELECT gen_random_uuid(), name, '{}', now() - interval '90 days', now() - since FROM (VALUES
			('expired', interval '31 days'), ('recent', interval '29 days'), ('not published', NULL)) o (name, since);
		INSERT INTO unknown_events (event_id, type, body, received_at) VALUES
			('expired', '', '', now() - interval '31 days'), ('recent', '', '', now() - interval '29 days');
		INSERT INTO replays (topic, since, until, created_at, completed_at)
		SELECT name, now(), now(), now() - interval '90 days', now() - since FROM (VALUES
			('expired', interval '31 days'), ('recent', interval '29 days'), ('running', NULL)) r (name, since);
		INSERT INTO inbox (event_id, type, processed_at)
		SELECT md5(name)::uuid, name, now() - since FROM (VALUES
			('expired', interval '39 days'), ('handled', '39 days'),
			('redelivery possible', '37 days'), ('can be redriven', '90 days')) i (name, since);
		INSERT INTO dead_letters (queue, event_id, type, body, message_id, reason, state, first_seen, handled_at)
		SELECT '', md5(name)::uuid, name, '', '', '', state, now() - interval '90 days', now() - since FROM (VALUES
			('handled', 'REDRIVEN', interval '39 days'), ('discarded', 'DISCARDED', '39 days'),
			('handled recently', 'REDRIVEN', '37 days'), ('can be redriven', 'OPEN', NULL)) d (name, state, since)`)
	require.NoError(t, err)
	purge := messaging.Purge{Pool: pool, Settings: messaging.Settings{
		EventRetention: messaging.Retention(30 * 24 * time.Hour),
	}}
	for range 2 {
		require.NoError(t, purge.Sweep(t.Context()))
		left := map[string][]string{}
		for table, name := range map[string]string{
			"outbox": "topic", "unknown_events": "event_id", "inbox": "type", "dead_letters": "type", "replays": "topic",
		} {
			rows, err := pool.Query(t.Context(), `SELECT `+name+` FROM `+table+` ORDER BY 1`)
			require.NoError(t, err)
			left[table], err = pgx.CollectRows(rows, pgx.RowTo[string])
			require.NoError(t, err)
		}
		require.Equal(t, map[string][]string{
			"outbox": {"not published", "recent"}, "unknown_events": {"recent"},
			"replays": {"recent", "running"},
			"inbox":   {"can be redriven", "redelivery possible"}, "dead_letters": {"can be redriven", "handled recently"},
		}, left)
	}

	purged := func() (marks map[string]float64) {
		marks = map[string]float64{}
		rows, err := pool.Query(t.Context(), `SELECT relation, extract(epoch FROM now() - before) / 86400 FROM purged`)
		require.NoError(t, err)
		var relation string
		var days float64
		_, err = pgx.ForEachRow(rows, []any{&relation, &days}, func() error {
			marks[relation] = days
			return nil
		})
		require.NoError(t, err)
		return marks
	}
	for range 2 {
		require.InDeltaMapValues(t, map[string]float64{
			"outbox": 30, "unknown_events": 30, "replays": 30, "inbox": 38, "dead_letters": 38,
		}, purged(), 0.01)
		purge.Settings.EventRetention *= 2 // deleted rows do not return
		require.NoError(t, purge.Sweep(t.Context()))
	}
}

func TestSweepReadsOnlyExpiredRows(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	_, err := pool.Exec(t.Context(), `
		INSERT INTO outbox (id, topic, cloud_event, published_at)
		SELECT gen_random_uuid(), '', '{}', CASE WHEN n > 10 THEN now() END FROM generate_series(1, 20000) n;
		INSERT INTO unknown_events (event_id, type, body) SELECT n, '', '' FROM generate_series(1, 20000) n;
		INSERT INTO inbox (event_id, type) SELECT gen_random_uuid(), '' FROM generate_series(1, 20000);
		INSERT INTO dead_letters (queue, event_id, type, body, message_id, reason, state, handled_at)
		SELECT '', n, '', '', '', '', CASE WHEN n > 10 THEN 'REDRIVEN' ELSE 'OPEN' END, now()
		FROM generate_series(1, 20000) n`)
	require.NoError(t, err)
	plans := postgrestest.Explain(t, pool, func(pool *pgxpool.Pool) {
		require.NoError(t, messaging.Purge{Pool: pool, Settings: messaging.Settings{
			EventRetention: messaging.Retention(time.Hour),
		}}.Sweep(t.Context()))
	})
	require.NotContains(t, plans.Of(t, "DELETE FROM (outbox|inbox|unknown_events|dead_letters)"), "Seq Scan on")
}

func TestRetentionIsAtLeastADay(t *testing.T) {
	var settings messaging.Settings
	require.NoError(t, envconfig.Process("", &settings))
	require.Equal(t, messaging.Retention(30*24*time.Hour), settings.EventRetention)
	for value, ok := range map[string]bool{
		"24h": true, "2400h": true, "23h59m": false, "-720h": false, "30": false, "30d": false, "": false,
	} {
		t.Setenv("EVENT_RETENTION", value)
		err := envconfig.Process("", &settings)
		if ok {
			require.NoError(t, err, value)
		} else {
			require.ErrorContains(t, err, "EVENT_RETENTION", value)
		}
	}
}
