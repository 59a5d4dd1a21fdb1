package courier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"sync/atomic"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

// compose makes the mail of n from its facts and what else the other services know now.
func (c Courier) compose(ctx context.Context, n notification.Notification) (notification.Mail, error) {
	switch n.Kind {
	case notification.OrderConfirmation:
		return composeOf(ctx, n, c.confirmation)
	case notification.PaymentFailed:
		return composeOf(ctx, n, c.decline)
	case notification.RefundProcessed:
		return composeOf(ctx, n, c.refund)
	case notification.TicketTransferred, notification.TicketReceived:
		return composeOf(ctx, n, func(ctx context.Context, p events.TicketTransferred) (notification.Mail, error) {
			return c.transfer(ctx, n.Kind, p)
		})
	case notification.TicketCancelled:
		return composeOf(ctx, n, c.cancellation)
	case notification.EventCancelled:
		return composeOf(ctx, n, c.eventCancelled)
	case notification.EventPostponed:
		return composeOf(ctx, n, func(ctx context.Context, p events.EventUpdated) (notification.Mail, error) {
			to, err := c.recipient(ctx, n.UserID)
			if err != nil {
				return notification.Mail{}, err
			}
			// What this event said: by the time that the mail is made there may be another date, and its mail.
			return notification.Postponement{
				To: to, Occasion: notification.Occasion{Name: p.EventName, Date: p.EventDate, VenueName: p.VenueName},
				Before: *p.PostponedFrom, Reason: p.Reason,
			}.Mail()
		})
	case notification.CompensationFailed:
		return composeOf(ctx, n, func(_ context.Context, p events.CompensationFailed) (notification.Mail, error) {
			return notification.StuckOrder{
				To: c.operations(), OrderID: p.OrderID, Step: p.Step, Attempts: p.Attempts, Reason: p.Reason,
			}.Mail()
		})
	case notification.DeadLetterArchived:
		return composeOf(ctx, n, func(_ context.Context, p events.DeadLetterArchived) (notification.Mail, error) {
			return notification.DeadLetter{
				To: c.operations(), ID: p.DeadLetterID, Service: p.Service, Queue: p.Queue,
				EventID: p.EventID, EventType: p.EventType, FirstSeen: p.FirstSeen,
			}.Mail()
		})
	case notification.EmailVerification, notification.PasswordReset:
		return composeOf(ctx, n, func(ctx context.Context, p events.AccountMailRequest) (notification.Mail, error) {
			return c.accountMail(ctx, n.Kind, p)
		})
	}
	return notification.Mail{}, fmt.Errorf("no mail for the kind %q", n.Kind)
}

func composeOf[P any](ctx context.Context, n notification.Notification,
	compose func(context.Context, P) (notification.Mail, error),
) (notification.Mail, error) {
	var facts P
	if err := json.Unmarshal(n.Facts, &facts); err != nil {
		return notification.Mail{}, fmt.Errorf("facts of a notification of %s: %w", n.EventID, err)
	}
	return compose(ctx, facts)
}

// lookups are what one mail asks of others, a few at a time. After one has failed no other begins, but what is under
// way goes on: to a sidecar, a call whose caller went away is a failure of the callee. With one breaker open, the
// others' would never close: each trial of theirs would be called off because of the first.
type lookups struct {
	errgroup.Group
	failed atomic.Bool
}

func newLookups() *lookups {
	var l lookups
	l.SetLimit(4)
	return &l
}

func (l *lookups) Go(lookUp func() error) {
	l.Group.Go(func() error {
		if l.failed.Load() {
			return nil
		}
		err := lookUp()
		if err != nil {
			l.failed.Store(true)
		}
		return err
	})
}

// into puts what lookUp finds for the id into to, in g.
func into[T any](ctx context.Context, g *lookups, to *T, lookUp func(context.Context, uuid.UUID) (T, error), id uuid.UUID) {
	g.Go(func() error {
		found, err := lookUp(ctx, id)
		*to = found
		return err
	})
}

// What ticket-service says of a ticket that this person can no longer use.
var (
	errTicketNotFound  = problem.New(problem.NotFound, "TICKET_NOT_FOUND", "No such ticket of theirs")
	errTicketNotActive = problem.New(problem.Conflict, "TICKET_NOT_ACTIVE", "Cancelled or used")
)

func (c Courier) confirmation(ctx context.Context, p events.TicketsGenerated) (notification.Mail, error) {
	g := newLookups()
	attached := p.Tickets[:min(len(p.Tickets), notification.MaxAttached)]
	tickets := make([]notification.Ticket, len(attached))
	m := notification.Confirmation{Others: len(p.Tickets) - len(attached)}
	into(ctx, g, &m.To, c.recipient, p.UserID)
	into(ctx, g, &m.Order, c.order, p.OrderID)
	into(ctx, g, &m.Occasion, c.occasion, p.EventID)
	for i, t := range attached {
		g.Go(func() error {
			// For this person's eyes: a ticket may have been given away before its mail is made.
			pdf, err := sidecar.Call(ctx, c.Services, calls.TicketPDF, calls.TicketPDFQuery{UserID: p.UserID.String()}, t.TicketID)
			if errors.Is(err, errTicketNotFound) || errors.Is(err, errTicketNotActive) {
				return nil
			}
			tickets[i] = notification.Ticket{Number: t.TicketNumber, PDF: pdf}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return notification.Mail{}, err
	}
	for _, t := range tickets {
		if t.PDF != nil {
			m.Tickets = append(m.Tickets, t)
		}
	}
	m.Gone = len(attached) - len(m.Tickets)
	return m.Mail()
}

func (c Courier) decline(ctx context.Context, p events.PaymentFailed) (notification.Mail, error) {
	g := newLookups()
	m := notification.Decline{Reason: p.ErrorMessage}
	into(ctx, g, &m.To, c.recipient, p.UserID)
	into(ctx, g, &m.Order, c.order, p.OrderID)
	into(ctx, g, &m.Occasion, c.occasion, p.EventID)
	if err := g.Wait(); err != nil {
		return notification.Mail{}, err
	}
	return m.Mail()
}

func (c Courier) refund(ctx context.Context, p events.RefundProcessed) (notification.Mail, error) {
	g := newLookups()
	m := notification.Refund{Reason: p.Reason}
	into(ctx, g, &m.To, c.recipient, p.UserID)
	into(ctx, g, &m.Order, c.order, p.OrderID)
	into(ctx, g, &m.Occasion, c.occasion, p.EventID)
	if err := g.Wait(); err != nil {
		return notification.Mail{}, err
	}
	var err error
	if m.Amount, err = p.Amount.In(p.Currency); err != nil {
		return notification.Mail{}, fmt.Errorf("refund %s of %q: %w", p.RefundID, p.Amount, err)
	}
	m.Whole = p.OrderRefunded || m.Amount == m.Order.Total
	return m.Mail()
}

func (c Courier) transfer(ctx context.Context, kind notification.Kind, p events.TicketTransferred) (notification.Mail, error) {
	g := newLookups()
	m := notification.Transfer{Kind: kind}
	into(ctx, g, &m.From, c.recipient, p.FromUserID)
	into(ctx, g, &m.To, c.recipient, p.ToUserID)
	into(ctx, g, &m.Occasion, c.occasion, p.EventID)
	into(ctx, g, &m.TicketNumber, c.ticketNumber, p.TicketID)
	if err := g.Wait(); err != nil {
		return notification.Mail{}, err
	}
	return m.Mail()
}

func (c Courier) cancellation(ctx context.Context, p events.TicketCancelled) (notification.Mail, error) {
	g := newLookups()
	m := notification.Cancellation{TicketNumber: p.TicketNumber}
	into(ctx, g, &m.To, c.recipient, p.UserID)
	into(ctx, g, &m.Occasion, c.occasion, p.EventID)
	if err := g.Wait(); err != nil {
		return notification.Mail{}, err
	}
	return m.Mail()
}

func (c Courier) eventCancelled(ctx context.Context, p events.TicketCancelled) (notification.Mail, error) {
	g := newLookups()
	m := notification.CalledOff{Reason: p.Reason}
	into(ctx, g, &m.To, c.recipient, p.UserID)
	into(ctx, g, &m.Occasion, c.occasion, p.EventID)
	if err := g.Wait(); err != nil {
		return notification.Mail{}, err
	}
	return m.Mail()
}

func (c Courier) operations() notification.Recipient {
	return notification.Recipient{Name: "Operations", Address: c.Operations}
}

// The pages that the links of account mails lead to.
var accountPages = map[notification.Kind]string{
	notification.EmailVerification: "/verify-email",
	notification.PasswordReset:     "/reset-password",
}

func (c Courier) accountMail(ctx context.Context, kind notification.Kind, p events.AccountMailRequest) (notification.Mail, error) {
	info, err := c.accountMailInfo(ctx, p.RequestID)
	if err != nil {
		return notification.Mail{}, err
	}
	return notification.AccountMail{
		Kind:    kind,
		To:      notification.Recipient{Name: info.FirstName, Address: info.Email},
		Link:    c.PublicURL + accountPages[kind] + "?token=" + url.QueryEscape(info.Token),
		Expires: info.ExpiresAt,
	}.Mail()
}

// accountMailInfo asks for what an account mail says. It returns notification.ErrAccountMailGone when
// nobody needs it any more.
func (c Courier) accountMailInfo(ctx context.Context, requestID uuid.UUID) (calls.AccountMailAnswer, error) {
	return sidecar.Call(ctx, c.Services, calls.AccountMail, calls.None{}, requestID)
}

func (c Courier) recipient(ctx context.Context, userID uuid.UUID) (notification.Recipient, error) {
	u, err := sidecar.Call(ctx, c.Services, calls.User, calls.None{}, userID)
	return notification.Recipient{Name: u.FirstName + " " + u.LastName, Address: u.Email}, err
}

func (c Courier) occasion(ctx context.Context, eventID uuid.UUID) (notification.Occasion, error) {
	e, err := sidecar.Call(ctx, c.Services, calls.EventInfo, calls.None{}, eventID)
	return notification.Occasion{Name: e.Name, Date: e.EventDate, VenueName: e.VenueName, VenueAddress: e.VenueAddress}, err
}

func (c Courier) ticketNumber(ctx context.Context, ticketID uuid.UUID) (string, error) {
	t, err := sidecar.Call(ctx, c.Services, calls.TicketInfo, calls.None{}, ticketID)
	return t.TicketNumber, err
}

func (c Courier) order(ctx context.Context, orderID uuid.UUID) (notification.Order, error) {
	o, err := sidecar.Call(ctx, c.Services, calls.OrderInfo, calls.None{}, orderID)
	if err != nil {
		return notification.Order{}, err
	}
	order := notification.Order{Number: o.OrderNumber, Lines: make([]notification.Line, len(o.Items))}
	amount := func(to *money.Amount, d money.Decimal) error {
		a, err := d.In(o.Currency)
		if err != nil {
			return fmt.Errorf("amount %q of order %s: %w", d, o.OrderNumber, err)
		}
		*to = a
		return nil
	}
	for i, item := range o.Items {
		order.Lines[i].Quantity = item.Quantity
		if err := amount(&order.Lines[i].UnitPrice, item.UnitPrice); err != nil {
			return notification.Order{}, err
		}
		if err := amount(&order.Lines[i].Total, item.TotalPrice); err != nil {
			return notification.Order{}, err
		}
	}
	return order, amount(&order.Total, o.TotalAmount)
}
