package courier_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/courier/couriertest"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

// A holder gets one mail about a cancelled event for each order, for any number and order of its tickets' events.
func TestEventCancelledSendsOneMailForEachOrderAndHolder(t *testing.T) {
	b := setup(t)
	b.Deliver(t, uuid.New(), "EVENT_CANCELLED", couriertest.EventCancelled)
	buyers := strings.NewReplacer("OWNER", "EVENT", "Ill", "Storm.").Replace(couriertest.TicketCancelled)
	othersInOrder := strings.Replace(buyers,
		`"userId": "`+couriertest.UserID, `"userId": "`+couriertest.OtherUserID, 1)
	otherOrder := strings.Replace(buyers, couriertest.OrderID, uuid.NewString(), 1)
	var g errgroup.Group
	for range 3 {
		for _, payload := range []string{buyers, othersInOrder} {
			id := uuid.New() // each ticket has an event of its own
			for range 2 {
				g.Go(func() error { return b.Process(t.Context(), id, "TICKET_CANCELLED", payload) })
			}
		}
	}
	require.NoError(t, g.Wait())
	require.Empty(t, b.Services.Sent(), "the mails are queued")
	require.NoError(t, b.Courier.DeliverDue(t.Context()))
	mails := b.byAddress(t)
	require.Len(t, mails, 2)
	m := mails[userAddress]
	require.Equal(t, "Summer Music Festival 2024 is cancelled", m.Subject)
	require.Contains(t, m.Text, "The reason given: Storm.")

	b.Deliver(t, uuid.New(), "TICKET_CANCELLED", buyers)
	b.Retry(t)
	require.Len(t, b.Services.Sent(), 2, "the buyer has a mail for this order")
	b.Deliver(t, uuid.New(), "TICKET_CANCELLED", otherOrder)
	b.Retry(t)
	require.Len(t, b.Services.Sent(), 3, "the other order has a mail of its own")

	stored := b.list(t)
	require.Len(t, stored, 2)
	require.Equal(t, notification.EventCancelled, stored[0].Kind)
	require.Equal(t, notification.Sent, stored[0].Status)
	b.resend(t, stored[1].ID)
	b.Retry(t)
	require.Len(t, b.Services.Sent(), 4)
}

// Each holder gets one mail about a postponed event, for any number of orders, also if the process dies between two
// pages.
func TestEventPostponedSendsOneMailForEachHolder(t *testing.T) {
	b := setup(t)
	b.Services.Answer(couriertest.EventPath, postponedEvent)
	const path = "/api/tickets/internal/events/" + couriertest.EventID + "/holders"
	holder := func(user, order string) string {
		return `{"userId": "` + user + `", "orderId": "` + order + `", "ticketCount": 2}`
	}
	b.Services.Answer(path+"?limit=100",
		`{"holders": [`+holder(couriertest.UserID, couriertest.OrderID)+`], "nextCursor": "p2"}`)
	b.Deliver(t, uuid.New(), "EVENT_UPDATED", couriertest.EventUpdated)
	id := uuid.New()
	postponed := strings.Replace(couriertest.EventUpdated, "}",
		`, "postponedFrom": "2024-07-15T18:00:00Z", "reason": "Storm."}`, 1)
	for range 2 { // the second delivery changes nothing
		b.Deliver(t, id, "EVENT_UPDATED", postponed)
	}
	require.NoError(t, b.Courier.QueueAnnouncements(t.Context()), "the second page is not available yet")
	b.Services.Answer(path+"?cursor=p2&limit=100", `{"holders": [`+
		holder(couriertest.UserID, uuid.NewString())+`, `+holder(couriertest.OtherUserID, couriertest.OrderID)+`]}`)
	for range 2 {
		b.Exec(t, `UPDATE announcements SET due_at = now()`)
		require.NoError(t, b.Courier.QueueAnnouncements(t.Context()))
		b.Retry(t)
	}
	mails := b.byAddress(t)
	require.Len(t, mails, 2)
	m := mails[userAddress]
	require.Equal(t, "Summer Music Festival 2024 has a new date", m.Subject)
	requireBoth(t, m, "Monday, 15 July 2024, 18:00 UTC", "Saturday, 20 July 2024, 18:00 UTC",
		"The reason given: Storm.", "within 14 days")
	require.Equal(t, notification.EventPostponed, b.list(t)[0].Kind)

	b.Deliver(t, id, "EVENT_UPDATED", postponed)
	require.NoError(t, b.Courier.QueueAnnouncements(t.Context()))
	b.Retry(t)
	require.Len(t, b.Services.Sent(), 2, "the announcement is finished")
}

// ticket-service refuses a page of holders. The announcement ends there, and the holders before are told.
func TestAnnouncementEndsAtARefusedPage(t *testing.T) {
	b := setup(t)
	b.Services.Answer(couriertest.EventPath, postponedEvent)
	const path = "/api/tickets/internal/events/" + couriertest.EventID + "/holders"
	b.Services.Answer(path+"?limit=100", `{"holders": [{"userId": "`+couriertest.UserID+`", "orderId": "`+
		couriertest.OrderID+`", "ticketCount": 2}], "nextCursor": "p2"}`)
	b.Services.Fail(path+"?cursor=p2&limit=100", problem.Field("cursor", "cursor must be the nextCursor"))
	b.Deliver(t, uuid.New(), "EVENT_UPDATED", strings.Replace(couriertest.EventUpdated, "}",
		`, "postponedFrom": "2024-07-15T18:00:00Z", "reason": "Storm."}`, 1))
	require.NoError(t, b.Courier.QueueAnnouncements(t.Context()))
	b.Retry(t)
	require.Len(t, b.Services.Sent(), 1)
	b.Services.Fail(path+"?cursor=p2&limit=100", nil)
	b.Exec(t, `UPDATE announcements SET due_at = now()`)
	require.NoError(t, b.Courier.QueueAnnouncements(t.Context()), "no page is asked for any more")
	var unfinished int
	require.NoError(t, b.Pool.QueryRow(t.Context(),
		`SELECT count(*) FROM announcements WHERE finished_at IS NULL`).Scan(&unfinished))
	require.Zero(t, unfinished)
}

// An event that does not exist has no holders to inform.
func TestAnnouncementEndsWithoutItsEvent(t *testing.T) {
	b := setup(t)
	b.Services.Fail(couriertest.EventPath, problem.New(problem.NotFound, "EVENT_NOT_FOUND", "No such event"))
	b.Deliver(t, uuid.New(), "EVENT_UPDATED", strings.Replace(couriertest.EventUpdated, "}",
		`, "postponedFrom": "2024-07-15T18:00:00Z", "reason": "Storm."}`, 1))
	require.NoError(t, b.Courier.QueueAnnouncements(t.Context()))
	var unfinished int
	require.NoError(t, b.Pool.QueryRow(t.Context(),
		`SELECT count(*) FROM announcements WHERE finished_at IS NULL`).Scan(&unfinished))
	require.Zero(t, unfinished)
}
