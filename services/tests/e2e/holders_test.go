package e2e_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
)

// The buyer gives one of two tickets away, and the event is postponed. Each of the two decides about their own ticket,
// the money goes to the buyer, and the owner of the returned ticket gets a mail.
func TestOwnerOfGivenTicketDecidesAboutIt(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newSale(t, 2)
	friend, err := s.Join(ctx, "Fay", "Lund", false)
	require.NoError(t, err)
	order, err := s.Buy(ctx, s.buyer, s.purchase(2, demo.GoodCard))
	require.NoError(t, err)
	s.fulfilled(ctx, t, order.OrderID, 2)
	tickets, err := s.Tickets(ctx, s.buyer)
	require.NoError(t, err)
	given := tickets[0].TicketID
	require.NoError(t, s.Do(ctx, post("ticket-service", "/api/tickets/"+given.String()+"/transfer", s.buyer.Token,
		map[string]uuid.UUID{"toUserId": friend.UserID}), nil))
	require.NoError(t, s.Do(ctx, post("event-service", "/api/events/"+s.event.EventID.String()+"/postpone",
		s.organizer.Token, map[string]any{
			"eventDate": time.Now().AddDate(1, 0, 0).UTC().Truncate(time.Second), "reason": "Weather",
		}), nil))
	requireMail(t, friend.Email, "has a new date")

	returned := func(by demo.Person, body any) demo.Request {
		req := post("payment-service", "/api/payments/orders/"+order.OrderID.String()+"/postponement-refund", by.Token, body)
		req.Header = map[string]string{"Idempotency-Key": uuid.NewString()}
		return req
	}
	require.Equal(t, "TICKET_NOT_FOUND",
		refusal(t, s.Client, returned(s.buyer, map[string]any{"ticketIds": []uuid.UUID{given}})).Code)
	_, err = demo.Await(ctx, func() (any, error) { // until payment-service knows about the postponement
		return nil, s.Do(ctx, returned(friend, nil), nil)
	}, func(any) bool { return true })
	require.NoError(t, err)
	requireMail(t, friend.Email, "is cancelled")
	requireMail(t, s.buyer.Email, "Your refund for")
	require.Equal(t, int64(4950), charges(t, order.OrderID)[0].AmountRefunded)
	kept, err := s.Tickets(ctx, s.buyer)
	require.NoError(t, err)
	require.Len(t, kept, 1)
	require.Equal(t, "ACTIVE", kept[0].Status)
}

// The organizer renames an event and moves it to another venue after its tickets were sold. Each holder gets one mail,
// and tickets that are fetched later show the change.
func TestHoldersAreToldAboutChanges(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newSale(t, 2)
	friend, err := s.Join(ctx, "Fay", "Lund", false)
	require.NoError(t, err)
	order, err := s.Buy(ctx, s.buyer, s.purchase(2, demo.GoodCard))
	require.NoError(t, err)
	s.fulfilled(ctx, t, order.OrderID, 2)
	tickets, err := s.Tickets(ctx, s.buyer)
	require.NoError(t, err)
	given := "/api/tickets/" + tickets[0].TicketID.String()
	require.NoError(t, s.Do(ctx, post("ticket-service", given+"/transfer", s.buyer.Token,
		map[string]uuid.UUID{"toUserId": friend.UserID}), nil))

	name := "Moved " + s.event.Name
	for _, change := range []map[string]string{
		{"venueName": "Barn"}, {"name": name}, {"venueName": "Town Hall", "venueAddress": "1 Market Square"},
	} {
		require.NoError(t, s.Do(ctx, demo.Request{
			Method: http.MethodPatch, App: "event-service", Path: "/api/events/" + s.event.EventID.String(),
			Token: s.organizer.Token, Body: change,
		}, nil))
	}
	for _, holder := range []demo.Person{s.buyer, friend} {
		m := requireMail(t, holder.Email, "Changes to "+name)
		require.Contains(t, m.Text, "Venue: Town Hall")
		require.NotContains(t, m.Text, "Barn")
		inbox, err := sink().Inbox(ctx, holder.Email, "Changes to")
		require.NoError(t, err)
		require.Len(t, inbox, 1)
	}
	type shown struct {
		Event struct{ Name, VenueName, VenueAddress string }
	}
	var ticket shown
	require.NoError(t, s.Do(ctx, get("ticket-service", given, friend.Token), &ticket))
	require.Equal(t, "Town Hall", ticket.Event.VenueName)
	require.Equal(t, "1 Market Square", ticket.Event.VenueAddress)
	require.Equal(t, name, ticket.Event.Name)
}
