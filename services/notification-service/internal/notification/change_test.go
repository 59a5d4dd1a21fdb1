package notification_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

// with returns the festival after a change.
func with(change func(*notification.Occasion)) notification.Occasion {
	o := festival
	change(&o)
	return o
}

var (
	renamed = with(func(o *notification.Occasion) { o.Name = "Autumn Festival" })
	moved   = with(func(o *notification.Occasion) {
		o.Name, o.VenueName, o.VenueAddress = "Autumn Festival", "Town Hall", "1 Market Square"
	})
	movedAgain = with(func(o *notification.Occasion) {
		o.Name, o.VenueName, o.VenueAddress = "Autumn Festival", "Barn", "1 Farm Road"
	})
	longer = with(func(o *notification.Occasion) { o.EndDate = o.Date.Add(3 * time.Hour) })
)

func TestLinesAreTheDetailsThatDifferFromNow(t *testing.T) {
	t.Parallel()
	name := notification.Line{Name: "Name", Before: festival.Name, Now: "Autumn Festival"}
	for _, tt := range []struct {
		name          string
		from, to, now notification.Occasion
		want          []notification.Line
	}{
		{"Nothing", festival, festival, festival, nil},
		{"Name", festival, renamed, renamed, []notification.Line{name}},
		{"Venue", renamed, moved, moved, []notification.Line{
			{Name: "Venue", Before: festival.VenueName, Now: "Town Hall"},
			{Name: "Address", Before: festival.VenueAddress, Now: "1 Market Square"},
		}},
		{"NewEnd", festival, longer, longer, []notification.Line{
			{Name: "Ends", Before: "not known", Now: "Monday, 15 July 2024, 21:00 UTC"},
		}},
		{"RemovedEnd", longer, festival, festival, []notification.Line{
			{Name: "Ends", Before: "Monday, 15 July 2024, 21:00 UTC", Now: "not known"},
		}},
		{"ChangedAgain", renamed, moved, movedAgain, []notification.Line{
			{Name: "Venue", Before: festival.VenueName, Now: "Barn"},
			{Name: "Address", Before: festival.VenueAddress, Now: "1 Farm Road"},
		}},
		{"Undone", festival, renamed, festival, nil},
		{"OtherDetailChangedLater", festival, renamed, moved, []notification.Line{name}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			change := notification.Changed(uuid.New(), tt.from, tt.to, time.Now())
			facts, err := json.Marshal(change)
			require.NoError(t, err)
			var stored notification.Change
			require.NoError(t, json.Unmarshal(facts, &stored))
			require.Equal(t, tt.want, stored.Lines(tt.now))
		})
	}
}

// The messages of changes may arrive in any order, and again.
func TestCollectedChangesHaveTheFirstValues(t *testing.T) {
	t.Parallel()
	id, at := uuid.New(), time.Now()
	changes := []notification.Change{
		notification.Changed(id, festival, renamed, at),
		notification.Changed(id, renamed, moved, at.Add(time.Second)),
		notification.Changed(id, moved, movedAgain, at.Add(2*time.Second)),
	}
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 0, 2}, {2, 0, 1, 0, 2}} {
		var all notification.Change
		for _, i := range order {
			all = all.With(changes[i])
		}
		require.Equal(t, id, all.EventID)
		require.Equal(t, []notification.Line{
			{Name: "Name", Before: festival.Name, Now: "Autumn Festival"},
			{Name: "Venue", Before: festival.VenueName, Now: "Barn"},
			{Name: "Address", Before: festival.VenueAddress, Now: "1 Farm Road"},
		}, all.Lines(movedAgain), order)
		require.Empty(t, all.Lines(festival), "everything was undone")
	}
}

func TestChangeNoticeListsTheChanges(t *testing.T) {
	t.Parallel()
	m, err := notification.ChangeNotice{To: buyer, Occasion: moved, Lines: []notification.Line{
		{Name: "Name", Before: festival.Name, Now: moved.Name}, {Name: "Venue", Before: "<b>Park</b>", Now: "Town Hall"},
	}}.Mail()
	require.NoError(t, err)
	require.Equal(t, buyer, m.To)
	require.Equal(t, "Changes to Autumn Festival", m.Subject)
	requireBoth(t, m, "Name: Autumn Festival", "before: "+festival.Name, "Venue: Town Hall", "1 Market Square",
		"Your tickets stay valid")
	require.NotContains(t, m.HTML, "<b>")
}

func TestSupersededNotificationIsFinal(t *testing.T) {
	t.Parallel()
	n := notification.Notification{Attempts: 1}.After(notification.ErrSuperseded)
	require.Equal(t, notification.Superseded, n.Status)
	require.Equal(t, "SUPERSEDED", n.ErrorCode)
}
