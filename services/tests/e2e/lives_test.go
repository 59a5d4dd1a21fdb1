package e2e_test

import (
	"net/http"
	"net/url"
	"regexp"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/services/contracts/money"
)

// What becomes of four tickets: one changes hands, one is used, one is given back, one is refunded.
func TestTheLivesOfTickets(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newSale(t, 10)
	friend, err := s.Join(ctx, "Fay", "Lund", false)
	require.NoError(t, err)
	order, err := s.Buy(ctx, s.buyer, s.purchase(4, demo.GoodCard))
	require.NoError(t, err)
	s.fulfilled(ctx, t, order.OrderID, 4)
	tickets, err := s.Tickets(ctx, s.buyer)
	require.NoError(t, err)
	given, used, returned, refunded := tickets[0].TicketID, tickets[1].TicketID, tickets[2].TicketID, tickets[3].TicketID
	path := func(id uuid.UUID, rest string) string { return "/api/tickets/" + id.String() + rest }
	checkIn := func(id uuid.UUID, version int) demo.Request {
		code := admission(t, id.String(), s.event.EventID.String(), version)
		return post("ticket-service", "/api/tickets/check-in", s.organizer.Token, map[string]string{"code": code, "gate": "North"})
	}

	var ticket demo.Ticket
	require.NoError(t, s.Do(ctx, post("ticket-service", path(given, "/transfer"), s.buyer.Token, map[string]uuid.UUID{"toUserId": friend.UserID}), &ticket))
	require.Equal(t, "Fay Lund", ticket.HolderName)
	require.Equal(t, "TICKET_NOT_FOUND", refusal(t, s.Client, get("ticket-service", path(given, ""), s.buyer.Token)).Code)
	require.NoError(t, s.Do(ctx, get("ticket-service", path(given, "/qr.png"), friend.Token), nil))
	require.Equal(t, "CODE_SUPERSEDED", refusal(t, s.Client, checkIn(given, 1)).Code)

	require.NoError(t, s.Do(ctx, checkIn(used, 1), nil))
	require.Equal(t, "ALREADY_CHECKED_IN", refusal(t, s.Client, checkIn(used, 1)).Code)
	require.NoError(t, s.Do(ctx, checkIn(given, 2), nil), "the new holder gets in")

	require.NoError(t, s.Do(ctx, post("ticket-service", path(returned, "/cancel"), s.buyer.Token, map[string]string{"reason": "Ill"}), &ticket))
	require.Equal(t, "CANCELLED", ticket.Status)
	require.Equal(t, 7, s.left(t))

	orderPath := "/api/payments/orders/" + order.OrderID.String()
	refund := post("payment-service", orderPath+"/refunds", s.organizer.Token, map[string]any{"ticketIds": []uuid.UUID{refunded}, "reason": "Cannot come"})
	refund.Header = map[string]string{"Idempotency-Key": uuid.NewString()}
	require.NoError(t, s.Do(ctx, refund, nil))
	type refunds struct {
		Refunds []struct {
			Status string
			Amount money.Decimal
		}
	}
	var back refunds
	_, err = demo.Await(ctx, func() (refunds, error) {
		return back, s.Do(ctx, get("payment-service", orderPath+"/refunds", s.buyer.Token), &back)
	}, func(refunds) bool { return len(back.Refunds) == 1 && back.Refunds[0].Status == "SUCCEEDED" })
	require.NoError(t, err)
	require.Equal(t, money.Decimal("49.50"), back.Refunds[0].Amount)
	require.Equal(t, "TICKET_NOT_ACTIVE", refusal(t, s.Client, checkIn(refunded, 1)).Code)
	require.Equal(t, 8, s.left(t))
	require.Equal(t, int64(4950), charged(t, order.OrderID)[0].AmountRefunded)
	refund.Header, refund.Body = map[string]string{"Idempotency-Key": uuid.NewString()}, map[string]any{"ticketIds": []uuid.UUID{used}, "reason": "No"}
	require.Equal(t, "TICKET_USED", refusal(t, s.Client, refund).Code)

	for _, req := range []demo.Request{
		get("payment-service", "/api/payments/orders", s.buyer.Token),
		get("payment-service", orderPath, s.buyer.Token),
		get("payment-service", orderPath+"/history", s.buyer.Token),
		get("notification-service", "/api/notifications", s.buyer.Token),
		get("ticket-service", "/api/tickets/events/"+s.event.EventID.String()+"/attendees.csv", s.organizer.Token),
		get("ticket-service", "/api/tickets/.well-known/jwks.json", ""),
		get("analytics-service", "/api/analytics/events", s.organizer.Token),
		get("event-service", "/api/events?category=MUSIC&limit=5&q="+url.QueryEscape(s.event.Name), ""),
		get("event-service", "/api/events/mine", s.organizer.Token),
	} {
		require.NoError(t, s.Do(ctx, req, nil), req.Path) // the client holds the answer to the document
	}
	for _, about := range []string{"has a new owner", "is cancelled", "Your refund for"} {
		requireMail(t, s.buyer.Email, about)
	}
	requireMail(t, friend.Email, "You have a ticket")

	eventPath := "/api/events/" + s.event.EventID.String()
	require.NoError(t, s.Do(ctx, post("event-service", eventPath+"/postpone", s.organizer.Token, map[string]any{
		"eventDate": time.Now().UTC().AddDate(2, 0, 0).Truncate(time.Second), "reason": "Weather",
	}), nil))
	requirePublished(t, s.event.EventID, "EVENT_CREATED", "EVENT_PUBLISHED", "EVENT_UPDATED", "PAYMENT_COMPLETED",
		"TICKETS_GENERATED", "TICKET_TRANSFERRED", "TICKET_CHECKED_IN", "TICKET_CANCELLED", "REFUND_PROCESSED")
}

func TestAnEventThatIsCancelledIsGone(t *testing.T) {
	t.Parallel()
	s := newSale(t, 2)
	var cancelled demo.Event
	require.NoError(t, s.Do(t.Context(), post("event-service", "/api/events/"+s.event.EventID.String()+"/cancel", s.organizer.Token,
		map[string]string{"reason": "Venue unavailable"}), &cancelled))
	require.Equal(t, "CANCELLED", cancelled.Status)
	requirePublished(t, s.event.EventID, "EVENT_CREATED", "EVENT_PUBLISHED", "EVENT_CANCELLED")
	_, err := demo.Await(t.Context(), func() (demo.Availability, error) { return s.Availability(t.Context(), s.event.EventID) },
		func(a demo.Availability) bool { return !a.OnSale })
	require.NoError(t, err)
	require.Equal(t, http.StatusConflict, refusal(t, s.Client, s.purchase(1, demo.GoodCard).Request(s.buyer)).Status)
}

// An account from its first mail to a new password, with sessions that end when they have to.
func TestTheLifeOfAnAccount(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := client(t)
	person, err := c.Join(ctx, "Nora", "Quist", false)
	require.NoError(t, err)
	auth := func(path string, token demo.Token, body any) demo.Request {
		return post("auth-service", "/api/auth/"+path, token, body)
	}
	type session struct {
		AccessToken  demo.Token
		RefreshToken string
	}
	login := func(password string) (s session, err error) {
		return s, c.Do(ctx, auth("login", "", map[string]string{"email": person.Email, "password": password}), &s)
	}

	confirm := auth("verify-email", "", map[string]string{"token": mailedToken(t, person.Email, "Confirm your e-mail address")})
	require.NoError(t, c.Do(ctx, confirm, nil))
	require.Equal(t, http.StatusBadRequest, refusal(t, c, confirm).Status, "once")
	var me struct{ EmailVerified bool }
	require.NoError(t, c.Do(ctx, get("auth-service", "/api/auth/me", person.Token), &me))
	require.True(t, me.EmailVerified)

	first, err := login(demo.Password)
	require.NoError(t, err)
	refresh := func(token string) demo.Request { return auth("refresh", "", map[string]string{"refreshToken": token}) }
	var second session
	require.NoError(t, c.Do(ctx, refresh(first.RefreshToken), &second))
	require.Equal(t, "REFRESH_TOKEN_REUSED", refusal(t, c, refresh(first.RefreshToken)).Code)
	require.Equal(t, http.StatusUnauthorized, refusal(t, c, refresh(second.RefreshToken)).Status, "the thief's session has ended as well")

	for _, email := range []string{person.Email, "nobody-" + uuid.NewString() + "@example.com"} {
		require.NoError(t, c.Do(ctx, auth("forgot-password", "", map[string]string{"email": email}), nil), "nobody learns who has an account")
	}
	open, err := login(demo.Password)
	require.NoError(t, err)
	const password = "a new and better password"
	reset := auth("reset-password", "", map[string]string{"token": mailedToken(t, person.Email, "Set a new password"), "newPassword": password})
	require.NoError(t, c.Do(ctx, reset, nil))
	require.Equal(t, http.StatusBadRequest, refusal(t, c, reset).Status, "once")
	require.Equal(t, http.StatusUnauthorized, refusal(t, c, refresh(open.RefreshToken)).Status, "every session has ended")
	_, err = login(demo.Password)
	require.Error(t, err)
	last, err := login(password)
	require.NoError(t, err)
	require.NoError(t, c.Do(ctx, auth("logout", "", map[string]string{"refreshToken": last.RefreshToken}), nil))
	require.Equal(t, http.StatusUnauthorized, refusal(t, c, get("auth-service", "/api/auth/me", last.AccessToken)).Status)
	requirePublished(t, person.UserID, "EMAIL_VERIFICATION_REQUESTED", "PASSWORD_RESET_REQUESTED")
}

// requireMail waits for a mail.
func requireMail(t *testing.T, address, about string) demo.Mail {
	t.Helper()
	mails, err := demo.Await(t.Context(), func() ([]demo.Mail, error) { return sink().Inbox(t.Context(), address, about) },
		func(got []demo.Mail) bool { return len(got) > 0 })
	require.NoError(t, err, "%s to %s", about, address)
	return mails[0]
}

var tokenInLink = regexp.MustCompile(`\?token=([^\s"<&]+)`)

// mailedToken gives the token of the link in a mail.
func mailedToken(t *testing.T, address, about string) string {
	t.Helper()
	found := tokenInLink.FindStringSubmatch(requireMail(t, address, about).Text)
	require.Len(t, found, 2)
	token, err := url.QueryUnescape(found[1])
	require.NoError(t, err)
	return token
}
