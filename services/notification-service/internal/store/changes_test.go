package store_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

// change returns a change of one detail.
func change(event uuid.UUID, detail notification.Detail, before string, at time.Time) notification.Change {
	return notification.Change{
		EventID: event, Before: map[notification.Detail]notification.Earlier{detail: {Value: before, At: at.UTC()}},
	}
}

// announce announces a change under a message id.
func (b *bundle) announce(t *testing.T, message uuid.UUID, c notification.Change) {
	t.Helper()
	require.NoError(t, b.store.AnnounceChange(t.Context(), message, "EVENT_UPDATED", c, time.Minute, 5*time.Minute))
}

// leaseAnnouncement makes announcements due and leases one.
func (b *bundle) leaseAnnouncement(t *testing.T) (notification.Change, bool) {
	t.Helper()
	b.exec(t, `UPDATE announcements SET due_at = now()`)
	a, found, err := b.store.LeaseDueAnnouncement(t.Context(), time.Minute)
	require.NoError(t, err)
	var c notification.Change
	if found {
		require.Equal(t, notification.EventChanged, a.Kind)
		require.NoError(t, json.Unmarshal(a.Facts, &c))
		require.Equal(t, c.EventID, a.About)
	}
	return c, found
}

// Changes of an event are collected until a worker leases their announcement, which waits for further ones.
func TestChangesAreCollectedUntilTheyAreLeased(t *testing.T) {
	b := setup(t)
	event, at := uuid.New(), time.Now().Round(time.Microsecond)
	const name, venue = notification.DetailName, notification.DetailVenueName
	message := uuid.New()
	b.announce(t, message, change(event, name, "B", at))
	b.announce(t, message, change(event, name, "X", at.Add(-time.Hour))) // processed before
	b.announce(t, uuid.New(), change(event, name, "A", at.Add(-time.Second)))
	b.announce(t, uuid.New(), change(event, venue, "Hall", at))
	b.announce(t, uuid.New(), change(uuid.New(), venue, "Barn", at)) // of another event
	_, found, err := b.store.LeaseDueAnnouncement(t.Context(), time.Minute)
	require.NoError(t, err)
	require.False(t, found, "they wait for further changes")

	got := map[uuid.UUID]int{}
	for range 2 {
		c, found := b.leaseAnnouncement(t)
		require.True(t, found)
		got[c.EventID] = len(c.Before)
		if c.EventID == event {
			require.Equal(t, "A", c.Before[name].Value)
			require.Equal(t, "Hall", c.Before[venue].Value)
		}
		b.exec(t, `UPDATE announcements SET finished_at = now() WHERE about = $1`, c.EventID)
	}
	require.Equal(t, 2, got[event])
	require.Len(t, got, 2)

	b.announce(t, message, change(event, name, "X", at))
	_, found = b.leaseAnnouncement(t)
	require.False(t, found, "processed before")
	b.announce(t, uuid.New(), change(event, name, "C", at))
	c, found := b.leaseAnnouncement(t)
	require.True(t, found, "an announcement of its own")
	require.Equal(t, "C", c.Before[name].Value)
	b.announce(t, uuid.New(), change(event, name, "D", at))
	b.exec(t, `UPDATE announcements SET due_at = now() WHERE begun_at IS NOT NULL`)
	c, found = b.leaseAnnouncement(t)
	require.True(t, found)
	require.Contains(t, []string{"C", "D"}, c.Before[name].Value, "the leased announcement does not collect")
	require.Len(t, c.Before, 1)
}

// An organizer who changes an event all the time does not keep its holders from being told.
func TestAnnouncementOfChangesWaitsForALimitedTime(t *testing.T) {
	b := setup(t)
	event := uuid.New()
	b.announce(t, uuid.New(), change(event, notification.DetailName, "A", time.Now()))
	due := func() (wait time.Duration) {
		require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT due_at - now() FROM announcements`).Scan(&wait))
		return wait
	}
	require.InDelta(t, time.Minute, due(), float64(10*time.Second))
	b.exec(t, `UPDATE announcements SET created_at = now() - interval '270 seconds'`)
	b.announce(t, uuid.New(), change(event, notification.DetailName, "B", time.Now()))
	require.InDelta(t, 30*time.Second, due(), float64(10*time.Second))
}

// Replicas receive the messages of several changes at once, and each twice.
func TestConcurrentChangesAreOneAnnouncement(t *testing.T) {
	b := setup(t)
	event, at := uuid.New(), time.Now()
	var g errgroup.Group
	for i := range 8 {
		id := uuid.New()
		c := change(event, notification.DetailName, string(rune('A'+i)), at.Add(time.Duration(i)*time.Second))
		for range 2 {
			g.Go(func() error {
				return b.store.AnnounceChange(t.Context(), id, "EVENT_UPDATED", c, time.Minute, 5*time.Minute)
			})
		}
	}
	require.NoError(t, g.Wait())
	c, found := b.leaseAnnouncement(t)
	require.True(t, found)
	require.Equal(t, "A", c.Before[notification.DetailName].Value)
	var n int
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(*) FROM announcements`).Scan(&n))
	require.Equal(t, 1, n)
}
