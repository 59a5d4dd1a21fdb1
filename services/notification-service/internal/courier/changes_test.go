package courier_test

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/courier/couriertest"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

const (
	holdersPath    = "/api/tickets/internal/events/" + couriertest.EventID + "/holders"
	changedSubject = "Changes to Summer Music Festival 2024"
	oldVenue       = "Central Park Amphitheater"
)

// held makes ticket-service list these holders of the event, each on a page of their own.
func (b bundle) held(users ...string) {
	for i, user := range users {
		path, next := holdersPath+"?limit=100", `"nextCursor": "`+strconv.Itoa(i+1)+`"`
		if i > 0 {
			path = holdersPath + "?cursor=" + strconv.Itoa(i) + "&limit=100"
		}
		if i == len(users)-1 {
			next = `"nextCursor": ""`
		}
		b.Services.Answer(path, `{"holders": [{"userId": "`+user+`", "orderId": "`+couriertest.OrderID+`",
			"ticketCount": 2}], `+next+`}`)
	}
}

// moved returns the EVENT_UPDATED of a change of the venue, the n-th change of the event, and makes event-service
// answer with the new venue.
func (b bundle) moved(n int, from, to string) string {
	b.at(to)
	return strings.NewReplacer(
		`"venueName": "`+oldVenue+`"`, `"venueName": "`+to+`", "venueAddress": "1 Road"`,
		"10:31:00Z", "10:31:0"+strconv.Itoa(n)+"Z",
		`"status"`, `"previous": {"eventName": "Summer Music Festival 2024", "eventDate": "2024-07-20T18:00:00Z",
			"venueName": "`+from+`", "venueAddress": "1 Road"}, "status"`,
	).Replace(couriertest.EventUpdated)
}

// at makes event-service answer with a venue.
func (b bundle) at(venue string) {
	b.Services.Answer(couriertest.EventPath, strings.Replace(couriertest.Event, oldVenue, venue, 1))
}

// announced queues all announcements, without waiting for further changes, and sends what is due.
func (b bundle) announced(t *testing.T) {
	t.Helper()
	b.Exec(t, `UPDATE announcements SET due_at = now()`)
	require.NoError(t, b.Courier.QueueAnnouncements(t.Context()))
	require.NoError(t, b.Courier.DeliverDue(t.Context()))
}

// Several changes in quick succession, delivered in any order and twice, are one mail for each holder.
func TestChangesSendOneMailToEachHolder(t *testing.T) {
	for name, order := range map[string][]int{
		"InOrder": {0, 1, 2}, "Reversed": {2, 1, 0}, "Redelivered": {1, 0, 1, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.held(couriertest.UserID, couriertest.OtherUserID)
			changes := []string{
				b.moved(1, oldVenue, "Barn"), b.moved(2, "Barn", "Tent"), b.moved(3, "Tent", "Town Hall"),
			}
			ids := []uuid.UUID{uuid.New(), uuid.New(), uuid.New()}
			for _, i := range order {
				b.Deliver(t, ids[i], "EVENT_UPDATED", changes[i])
			}
			require.NoError(t, b.Courier.QueueAnnouncements(t.Context()))
			b.Retry(t)
			require.Empty(t, b.Services.Sent(), "further changes may follow")

			for range 2 {
				b.announced(t)
			}
			mails := b.byAddress(t)
			require.Len(t, mails, 2)
			for _, m := range mails {
				require.Equal(t, changedSubject, m.Subject)
				requireBoth(t, m, "Venue: Town Hall", "before: "+oldVenue)
				require.NotContains(t, m.Text, "Barn")
				require.True(t, m.Bulk)
			}
			require.Equal(t, notification.EventChanged, b.list(t)[0].Kind)
		})
	}
}

// Only changes that holders have to know about are announced, and only of events that may have holders.
func TestOtherUpdatesSendNothing(t *testing.T) {
	b := setup(t)
	b.held(couriertest.UserID)
	change := b.moved(1, oldVenue, "Barn")
	for _, update := range []string{
		couriertest.EventUpdated,       // of an earlier version of event-service
		b.moved(2, oldVenue, oldVenue), // of the description, for example
		strings.Replace(change, "PUBLISHED", "DRAFT", 1),
	} {
		b.Deliver(t, uuid.New(), "EVENT_UPDATED", update)
	}
	b.announced(t)
	require.Empty(t, b.Services.Sent())
	require.Empty(t, b.list(t))
}

// The process dies or ticket-service fails between two pages. Each holder gets one mail all the same.
func TestChangeAnnouncementContinuesAtItsPage(t *testing.T) {
	b := setup(t)
	b.held(couriertest.UserID, couriertest.OtherUserID)
	b.Deliver(t, uuid.New(), "EVENT_UPDATED", b.moved(1, oldVenue, "Barn"))
	second := holdersPath + "?cursor=1&limit=100"
	b.Services.Fail(second, sidecar.ErrUnavailable)
	b.announced(t)
	require.Len(t, b.Services.Sent(), 1)
	// A change that follows now is not added to the announcement that has begun.
	b.Deliver(t, uuid.New(), "EVENT_UPDATED", b.moved(2, "Barn", "Tent"))
	b.Services.Fail(second, nil)
	b.announced(t)
	b.announced(t)
	texts := map[string][]string{}
	for _, m := range b.Services.Sent() {
		texts[m.To.Address] = append(texts[m.To.Address], m.Text)
	}
	require.Len(t, texts[userAddress], 2)
	require.Len(t, texts[otherUserAddress], 2)
	for _, of := range texts {
		require.Contains(t, of[len(of)-1], "Venue: Tent")
	}
}

// A mail is retried after a further change was announced. Both mails show the event as it is when they are sent, so the
// last one is right.
func TestRetriedMailShowsTheEventAsItIsNow(t *testing.T) {
	b := setup(t)
	b.held(couriertest.UserID)
	b.Deliver(t, uuid.New(), "EVENT_UPDATED", b.moved(1, oldVenue, "Barn"))
	b.Services.OnSend(func(context.Context) error { return sidecar.ErrUnavailable })
	b.announced(t)
	b.Services.OnSend(nil)
	b.Deliver(t, uuid.New(), "EVENT_UPDATED", b.moved(2, "Barn", "Tent"))
	b.Exec(t, `UPDATE notifications SET due_at = now() + interval '1 hour'`)
	b.announced(t)
	require.Contains(t, b.onlyMail(t).Text, "Venue: Tent\n    before: Barn")
	b.Retry(t)
	require.Len(t, b.Services.Sent(), 2)
	require.Contains(t, b.Services.Sent()[1].Text, "Venue: Tent\n    before: "+oldVenue)
}

// A change that was undone, or whose event was cancelled, is not announced any more, at any stage.
func TestSupersededChangesSendNothing(t *testing.T) {
	cancelled := strings.Replace(couriertest.Event, "PUBLISHED", "CANCELLED", 1)
	for name, now := range map[string]string{"Undone": couriertest.Event, "Cancelled": cancelled} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.held(couriertest.UserID)
			update := b.moved(1, oldVenue, "Barn")
			b.Deliver(t, uuid.New(), "EVENT_UPDATED", update)
			b.Services.Answer(couriertest.EventPath, now)
			b.announced(t)
			require.Empty(t, b.list(t), "before a notification was queued")

			b.at("Barn")
			b.Deliver(t, uuid.New(), "EVENT_UPDATED", update)
			b.Services.OnSend(func(context.Context) error { return sidecar.ErrUnavailable })
			b.announced(t)
			b.Services.OnSend(nil)
			b.Services.Answer(couriertest.EventPath, now)
			b.Retry(t)
			require.Equal(t, notification.Superseded, b.list(t)[0].Status)
			require.Empty(t, b.Services.Sent())
		})
	}
}

// Likewise for postponements: the event has another date by now, its previous one, or was cancelled.
func TestPostponementMailShowsTheEventAsItIsNow(t *testing.T) {
	for name, tt := range map[string]struct{ now, says string }{
		"PostponedAgain": {strings.Replace(couriertest.Event, "2024-07-15", "2024-08-01", 1), "Thursday, 1 August 2024"},
		"MovedBack":      {couriertest.Event, ""},
		"Cancelled":      {strings.Replace(couriertest.Event, "PUBLISHED", "CANCELLED", 1), ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.postponed(t, 1)
			b.Services.Answer(couriertest.EventPath, tt.now)
			require.NoError(t, b.Courier.DeliverDue(t.Context()))
			if tt.says != "" {
				requireBoth(t, b.onlyMail(t), tt.says)
				return
			}
			require.Empty(t, b.Services.Sent())
			require.Equal(t, notification.Superseded, b.list(t)[0].Status)
		})
	}
}

// event-service does not answer. The announcement waits, and the mails are sent later.
func TestAnnouncementWaitsForTheEvent(t *testing.T) {
	b := setup(t)
	b.held(couriertest.UserID)
	b.Deliver(t, uuid.New(), "EVENT_UPDATED", b.moved(1, oldVenue, "Barn"))
	b.Services.Fail(couriertest.EventPath, sidecar.ErrUnavailable)
	b.announced(t)
	require.Empty(t, b.list(t))
	b.Services.Fail(couriertest.EventPath, nil)
	b.announced(t)
	require.Len(t, b.Services.Sent(), 1)
}

// 5,000 mails about a change are due, and each takes a while. A password reset goes before them.
func TestBacklogOfChangesDoesNotDelayPasswordReset(t *testing.T) {
	b := setup(t)
	facts := `{"eventId": "` + couriertest.EventID + `", "before": {"venueName": {"value": "Barn",
		"at": "2024-01-15T10:31:00Z"}}}`
	b.Exec(t, `
		INSERT INTO notifications (message_id, event_id, user_id, kind, class, facts, status, attempts, due_at, created_at)
		SELECT gen_random_uuid(), gen_random_uuid(), $1, 'EVENT_CHANGED', $2, $3, 'PENDING', 0,
		       now() - interval '1 hour', now() - interval '1 hour' FROM generate_series(1, 5000)`,
		couriertest.UserID, notification.EventChanged.Class(), facts)
	b.Services.OnLookup(func(ctx context.Context, path string) error {
		if path == couriertest.UserPath {
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
		return nil
	})
	b.run(t)
	require.Eventually(t, func() bool { return b.subjects()[changedSubject] > 20 }, deadline, deadline/400)
	b.process(t, uuid.New(), "PASSWORD_RESET_REQUESTED", couriertest.AccountMailRequested)
	require.Eventually(t, func() bool { return b.subjects()[resetSubject] == 1 }, deadline, deadline/400)
	require.Less(t, b.subjects()[changedSubject], 2500)
}
