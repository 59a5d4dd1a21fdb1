package e2e_test

import (
	"errors"
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

// Four tickets: one is transferred, one is used, one is cancelled by its owner, one is refunded.
func TestTicketsAreTransferredUsedCancelledAndRefunded(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newSale(t, 10)
	eventPath := "/api/events/" + s.event.EventID.String()
	postpone := func(date time.Time) demo.Request {
		return post("event-service", eventPath+"/postpone", s.organizer.Token, map[string]any{
			"eventDate": date.UTC().Truncate(time.Second), "reason": "Weather",
		})
	}
	friend, err := s.Join(ctx, "Fay", "Lund", false)
	require.NoError(t, err)
	order, err := s.Buy(ctx, s.buyer, s.purchase(4, demo.GoodCard))
	require.NoError(t, err)
	s.fulfilled(ctx, t, order.OrderID, 4)
	tickets, err := s.Tickets(ctx, s.buyer)
	require.NoError(t, err)
	transferred, used := tickets[0].TicketID, tickets[1].TicketID
	cancelled, refunded := tickets[2].TicketID, tickets[3].TicketID
	path := func(id uuid.UUID, rest string) string { return "/api/tickets/" + id.String() + rest }
	checkIn := func(id uuid.UUID, version int) demo.Request {
		code := checkInCode(t, id.String(), s.event.EventID.String(), version)
		return post("ticket-service", "/api/tickets/check-in", s.organizer.Token,
			map[string]string{"code": code, "gate": "North"})
	}

	var ticket demo.Ticket
	require.NoError(t, s.Do(ctx, post("ticket-service", path(transferred, "/transfer"), s.buyer.Token,
		map[string]uuid.UUID{"toUserId": friend.UserID}), &ticket))
	require.Equal(t, "Fay Lund", ticket.HolderName)
	require.Equal(t, "TICKET_NOT_FOUND",
		refusal(t, s.Client, get("ticket-service", path(transferred, ""), s.buyer.Token)).Code)
	require.NoError(t, s.Do(ctx, get("ticket-service", path(transferred, "/qr.png"), friend.Token), nil))
	require.Equal(t, "CODE_SUPERSEDED", refusal(t, s.Client, checkIn(transferred, 1)).Code)

	require.Equal(t, "CHECK_IN_NOT_OPEN", refusal(t, s.Client, checkIn(used, 1)).Code)
	require.NoError(t, s.Do(ctx, postpone(time.Now().Add(time.Hour)), nil))
	_, err = demo.Await(ctx, func() (string, error) { // until the new date has arrived at ticket-service
		err := s.Do(ctx, checkIn(used, 1), nil)
		if refused, ok := errors.AsType[*demo.Refusal](err); ok && refused.Code == "CHECK_IN_NOT_OPEN" {
			return refused.Code, nil
		}
		return "", err
	}, func(refused string) bool { return refused == "" })
	require.NoError(t, err)
	require.Equal(t, "ALREADY_CHECKED_IN", refusal(t, s.Client, checkIn(used, 1)).Code)
	require.NoError(t, s.Do(ctx, checkIn(transferred, 2), nil), "the new holder cannot check in")
	require.NoError(t, s.Do(ctx, post("ticket-service", path(used, "/check-in/undo"), s.organizer.Token,
		map[string]string{"reason": "Scanned by mistake"}), nil))
	require.NoError(t, s.Do(ctx, checkIn(used, 1), nil), "the check-in was undone")
	require.NoError(t, s.Do(ctx, get("ticket-service", path(used, "/check-ins"), s.organizer.Token), nil))

	require.NoError(t, s.Do(ctx, post("ticket-service", path(cancelled, "/cancel"), s.buyer.Token,
		map[string]string{"reason": "Ill"}), &ticket))
	require.Equal(t, "CANCELLED", ticket.Status)
	require.Equal(t, 7, s.available(t))

	orderPath := "/api/payments/orders/" + order.OrderID.String()
	refund := post("payment-service", orderPath+"/refunds", s.organizer.Token,
		map[string]any{"ticketIds": []uuid.UUID{refunded}, "reason": "Cannot come"})
	refund.Header = map[string]string{"Idempotency-Key": uuid.NewString()}
	require.NoError(t, s.Do(ctx, refund, nil))
	type refunds struct {
		Refunds []struct {
			Status string
			Amount money.Decimal
		}
	}
	var issued refunds
	_, err = demo.Await(ctx, func() (refunds, error) {
		return issued, s.Do(ctx, get("payment-service", orderPath+"/refunds", s.buyer.Token), &issued)
	}, func(refunds) bool { return len(issued.Refunds) == 1 && issued.Refunds[0].Status == "SUCCEEDED" })
	require.NoError(t, err)
	require.Equal(t, money.Decimal("49.50"), issued.Refunds[0].Amount)
	require.Equal(t, "TICKET_NOT_ACTIVE", refusal(t, s.Client, checkIn(refunded, 1)).Code)
	require.Equal(t, 8, s.available(t))
	require.Equal(t, int64(4950), charges(t, order.OrderID)[0].AmountRefunded)
	refund.Header = map[string]string{"Idempotency-Key": uuid.NewString()}
	refund.Body = map[string]any{"ticketIds": []uuid.UUID{used}, "reason": "No"}
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
		require.NoError(t, s.Do(ctx, req, nil), req.Path) // the client checks the answer against the OpenAPI document
	}
	for _, subject := range []string{"has a new owner", "is cancelled", "Your refund for"} {
		requireMail(t, s.buyer.Email, subject)
	}
	requireMail(t, friend.Email, "You have a ticket")

	require.NoError(t, s.Do(ctx, postpone(time.Now().AddDate(2, 0, 0)), nil))
	requirePublished(t, s.event.EventID, "EVENT_CREATED", "EVENT_PUBLISHED", "EVENT_UPDATED", "PAYMENT_COMPLETED",
		"TICKETS_GENERATED", "TICKET_TRANSFERRED", "TICKET_CHECKED_IN", "TICKET_CHECK_IN_UNDONE", "TICKET_CANCELLED",
		"REFUND_PROCESSED")
}

func TestCancelledEventIsNotOnSale(t *testing.T) {
	t.Parallel()
	s := newSale(t, 2)
	var cancelled demo.Event
	cancel := post("event-service", "/api/events/"+s.event.EventID.String()+"/cancel", s.organizer.Token,
		map[string]string{"reason": "Venue unavailable"})
	require.NoError(t, s.Do(t.Context(), cancel, &cancelled))
	require.Equal(t, "CANCELLED", cancelled.Status)
	requirePublished(t, s.event.EventID, "EVENT_CREATED", "EVENT_PUBLISHED", "EVENT_CANCELLED")
	_, err := demo.Await(t.Context(),
		func() (demo.Availability, error) { return s.Availability(t.Context(), s.event.EventID) },
		func(a demo.Availability) bool { return !a.OnSale })
	require.NoError(t, err)
	require.Equal(t, http.StatusConflict, refusal(t, s.Client, s.purchase(1, demo.GoodCard).Request(s.buyer)).Status)
}

// An account is confirmed, signs in, refreshes its session, and resets its password.
func TestAccountIsVerifiedRefreshedAndReset(t *testing.T) {
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

	confirmation := mailedToken(t, person.Email, "Confirm your e-mail address")
	confirm := auth("verify-email", "", map[string]string{"token": confirmation})
	require.NoError(t, c.Do(ctx, confirm, nil))
	require.Equal(t, http.StatusBadRequest, refusal(t, c, confirm).Status, "a token is valid once")
	var me struct{ EmailVerified bool }
	require.NoError(t, c.Do(ctx, get("auth-service", "/api/auth/me", person.Token), &me))
	require.True(t, me.EmailVerified)

	first, err := login(demo.Password)
	require.NoError(t, err)
	refresh := func(token string) demo.Request { return auth("refresh", "", map[string]string{"refreshToken": token}) }
	var second session
	require.NoError(t, c.Do(ctx, refresh(first.RefreshToken), &second))
	require.Equal(t, "REFRESH_TOKEN_REUSED", refusal(t, c, refresh(first.RefreshToken)).Code)
	require.Equal(t, http.StatusUnauthorized, refusal(t, c, refresh(second.RefreshToken)).Status,
		"the reuse of a refresh token must end the session")

	for _, email := range []string{person.Email, "nobody-" + uuid.NewString() + "@example.com"} {
		require.NoError(t, c.Do(ctx, auth("forgot-password", "", map[string]string{"email": email}), nil),
			"the answer must not reveal whether an account exists")
	}
	open, err := login(demo.Password)
	require.NoError(t, err)
	const password = "a new and better password"
	resetToken := mailedToken(t, person.Email, "Set a new password")
	reset := auth("reset-password", "", map[string]string{"token": resetToken, "newPassword": password})
	require.NoError(t, c.Do(ctx, reset, nil))
	require.Equal(t, http.StatusBadRequest, refusal(t, c, reset).Status, "a token is valid once")
	require.Equal(t, http.StatusUnauthorized, refusal(t, c, refresh(open.RefreshToken)).Status,
		"a new password must end all sessions")
	_, err = login(demo.Password)
	require.Error(t, err)
	last, err := login(password)
	require.NoError(t, err)
	require.NoError(t, c.Do(ctx, auth("logout", "", map[string]string{"refreshToken": last.RefreshToken}), nil))
	require.Equal(t, http.StatusUnauthorized,
		refusal(t, c, get("auth-service", "/api/auth/me", last.AccessToken)).Status)
	requirePublished(t, person.UserID, "EMAIL_VERIFICATION_REQUESTED", "PASSWORD_RESET_REQUESTED")
}

// requireMail waits for a mail whose subject contains a text, and returns it.
func requireMail(t *testing.T, address, subject string) demo.Mail {
	t.Helper()
	mails, err := demo.Await(t.Context(),
		func() ([]demo.Mail, error) { return sink().Inbox(t.Context(), address, subject) },
		func(got []demo.Mail) bool { return len(got) > 0 })
	require.NoError(t, err, "%s to %s", subject, address)
	return mails[0]
}

var tokenInLink = regexp.MustCompile(`\?token=([^\s"<&]+)`)

// mailedToken returns the token in the link of a mail.
func mailedToken(t *testing.T, address, subject string) string {
	t.Helper()
	found := tokenInLink.FindStringSubmatch(requireMail(t, address, subject).Text)
	require.Len(t, found, 2)
	token, err := url.QueryUnescape(found[1])
	require.NoError(t, err)
	return token
}
