package courier

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

// compose returns the mail of n. It is composed from the facts of n and the current data of the other services.
func (c *Courier) compose(ctx context.Context, n notification.Notification) (notification.Mail, error) {
	switch n.Kind {
	case notification.OrderConfirmation:
		return composeFrom(ctx, n, c.confirmation)
	case notification.PaymentFailed:
		return composeFrom(ctx, n, c.decline)
	case notification.RefundProcessed:
		return composeFrom(ctx, n, c.refund)
	case notification.RefundFailed:
		return composeFrom(ctx, n, c.refundFailure)
	case notification.TicketTransferred, notification.TicketReceived:
		return composeFrom(ctx, n, func(ctx context.Context, p events.TicketTransferred) (notification.Mail, error) {
			return c.transfer(ctx, n.Kind, p)
		})
	case notification.TicketCancelled:
		return composeFrom(ctx, n, c.cancellation)
	case notification.EventCancelled:
		return composeFrom(ctx, n, c.eventCancellation)
	case notification.EventPostponed:
		return composeFrom(ctx, n, func(ctx context.Context, p events.EventUpdated) (notification.Mail, error) {
			return c.postponement(ctx, n.UserID, p)
		})
	case notification.EventChanged:
		return composeFrom(ctx, n, func(ctx context.Context, change notification.Change) (notification.Mail, error) {
			return c.changeNotice(ctx, n.UserID, change)
		})
	case notification.TicketsDisputed:
		return composeFrom(ctx, n, c.ticketsDispute)
	case notification.OrderDisputed:
		return composeFrom(ctx, n, c.orderDispute)
	case notification.PaymentDisputed:
		return composeFrom(ctx, n, c.paymentDispute)
	case notification.CompensationFailed:
		return composeFrom(ctx, n, c.stuckOrder)
	case notification.DeadLetterArchived:
		return composeFrom(ctx, n, c.deadLetter)
	case notification.EmailVerification, notification.PasswordReset:
		return composeFrom(ctx, n, func(ctx context.Context, p events.AccountMailRequest) (notification.Mail, error) {
			return c.accountMail(ctx, n.Kind, p)
		})
	}
	return notification.Mail{}, fmt.Errorf("unknown kind of notification %q", n.Kind)
}

// composeFrom decodes the facts of n and passes them to compose.
func composeFrom[P any](ctx context.Context, n notification.Notification,
	compose func(context.Context, P) (notification.Mail, error),
) (notification.Mail, error) {
	var facts P
	if err := json.Unmarshal(n.Facts, &facts); err != nil {
		return notification.Mail{}, fmt.Errorf("decode the facts of event %s: %w", n.EventID, err)
	}
	return compose(ctx, facts)
}

func (c *Courier) confirmation(ctx context.Context, p events.TicketsGenerated) (notification.Mail, error) {
	l := newLookups()
	attached := p.Tickets[:min(len(p.Tickets), events.MaxOrderTickets)]
	m := notification.Confirmation{Others: len(p.Tickets) - len(attached)}
	into(ctx, l, &m.To, c.recipient, p.UserID)
	into(ctx, l, &m.Order, c.order, p.OrderID)
	into(ctx, l, &m.Occasion, c.occasion, p.EventID)
	var files []notification.Ticket
	if len(attached) > notification.MaxFiles {
		l.Go(func() (err error) {
			m.Document, err = c.document(ctx, p.OrderID, p.UserID)
			return err
		})
	} else {
		files = make([]notification.Ticket, len(attached))
		for i, t := range attached {
			l.Go(func() (err error) {
				files[i], err = c.ticketFile(ctx, t, p.UserID)
				return err
			})
		}
	}
	if err := l.Wait(); err != nil {
		return notification.Mail{}, err
	}
	for _, t := range files {
		if t.PDF != nil {
			m.Tickets = append(m.Tickets, t)
		}
	}
	m.Omitted = len(attached) - m.Count()
	return m.Mail()
}

func (c *Courier) decline(ctx context.Context, p events.PaymentFailed) (notification.Mail, error) {
	l := newLookups()
	m := notification.Decline{Reason: p.ErrorMessage}
	into(ctx, l, &m.To, c.recipient, p.UserID)
	into(ctx, l, &m.Order, c.order, p.OrderID)
	into(ctx, l, &m.Occasion, c.occasion, p.EventID)
	if err := l.Wait(); err != nil {
		return notification.Mail{}, err
	}
	return m.Mail()
}

func (c *Courier) refund(ctx context.Context, p events.RefundProcessed) (notification.Mail, error) {
	l := newLookups()
	m := notification.Refund{Reason: p.Reason}
	into(ctx, l, &m.To, c.recipient, p.UserID)
	into(ctx, l, &m.Order, c.order, p.OrderID)
	into(ctx, l, &m.Occasion, c.occasion, p.EventID)
	if err := l.Wait(); err != nil {
		return notification.Mail{}, err
	}
	var err error
	if m.Amount, err = p.Amount.In(p.Currency); err != nil {
		return notification.Mail{}, fmt.Errorf("amount %q of refund %s: %w", p.Amount, p.RefundID, err)
	}
	m.Whole = p.OrderRefunded || m.Amount == m.Order.Total
	return m.Mail()
}

func (c *Courier) refundFailure(ctx context.Context, p events.RefundFailed) (notification.Mail, error) {
	l := newLookups()
	var m notification.RefundFailure
	into(ctx, l, &m.To, c.recipient, p.UserID)
	into(ctx, l, &m.Order, c.order, p.OrderID)
	into(ctx, l, &m.Occasion, c.occasion, p.EventID)
	if err := l.Wait(); err != nil {
		return notification.Mail{}, err
	}
	var err error
	if m.Amount, err = p.Amount.In(p.Currency); err != nil {
		return notification.Mail{}, fmt.Errorf("amount %q of refund %s: %w", p.Amount, p.RefundID, err)
	}
	return m.Mail()
}

func (c *Courier) transfer(
	ctx context.Context, kind notification.Kind, p events.TicketTransferred,
) (notification.Mail, error) {
	l := newLookups()
	m := notification.Transfer{Kind: kind}
	into(ctx, l, &m.From, c.recipient, p.FromUserID)
	into(ctx, l, &m.To, c.recipient, p.ToUserID)
	into(ctx, l, &m.Occasion, c.occasion, p.EventID)
	into(ctx, l, &m.TicketNumber, c.ticketNumber, p.TicketID)
	if err := l.Wait(); err != nil {
		return notification.Mail{}, err
	}
	return m.Mail()
}

func (c *Courier) cancellation(ctx context.Context, p events.TicketCancelled) (notification.Mail, error) {
	l := newLookups()
	m := notification.Cancellation{
		Tickets: []string{p.TicketNumber}, AsAsked: p.CancelledBy == events.CancelledByOwner,
		Returned: p.Reason == calls.ReasonEventPostponed, Reason: p.Reason,
	}
	into(ctx, l, &m.To, c.recipient, p.UserID)
	into(ctx, l, &m.Occasion, c.occasion, p.EventID)
	if p.RefundKey != "" {
		l.Go(func() (err error) {
			m.Tickets, err = c.cancelledTickets(ctx, p)
			return err
		})
	}
	if err := l.Wait(); err != nil {
		return notification.Mail{}, err
	}
	return m.Mail()
}

func (c *Courier) eventCancellation(ctx context.Context, p events.TicketCancelled) (notification.Mail, error) {
	l := newLookups()
	m := notification.EventCancellation{Reason: p.Reason}
	into(ctx, l, &m.To, c.recipient, p.UserID)
	into(ctx, l, &m.Occasion, c.occasion, p.EventID)
	if err := l.Wait(); err != nil {
		return notification.Mail{}, err
	}
	return m.Mail()
}

// postponement shows the event as it is now, with a date that may be later than the one in p. So the last mail is
// right, in whatever order the mails about two postponements are sent. It returns notification.ErrSuperseded if the
// event was cancelled or has its previous date again.
func (c *Courier) postponement(
	ctx context.Context, userID uuid.UUID, p events.EventUpdated,
) (notification.Mail, error) {
	l := newLookups()
	m := notification.Postponement{Before: *p.PostponedFrom, Reason: p.Reason}
	into(ctx, l, &m.To, c.recipient, userID)
	into(ctx, l, &m.Occasion, c.upcoming, p.EventID)
	if err := l.Wait(); err != nil {
		return notification.Mail{}, err
	}
	if m.Occasion.Date.Equal(m.Before) {
		return notification.Mail{}, notification.ErrSuperseded
	}
	return m.Mail()
}

// changeNotice shows the event as it is now. It returns notification.ErrSuperseded if the event was cancelled, or if
// none of its changed details differs from before.
func (c *Courier) changeNotice(
	ctx context.Context, userID uuid.UUID, change notification.Change,
) (notification.Mail, error) {
	l := newLookups()
	var m notification.ChangeNotice
	into(ctx, l, &m.To, c.recipient, userID)
	into(ctx, l, &m.Occasion, c.upcoming, change.EventID)
	if err := l.Wait(); err != nil {
		return notification.Mail{}, err
	}
	if m.Lines = change.Lines(m.Occasion); len(m.Lines) == 0 {
		return notification.Mail{}, notification.ErrSuperseded
	}
	return m.Mail()
}

func (c *Courier) stuckOrder(_ context.Context, p events.CompensationFailed) (notification.Mail, error) {
	return notification.StuckOrder{
		To: c.operations(), OrderID: p.OrderID, Step: p.Step, Attempts: p.Attempts, Reason: p.Reason,
	}.Mail()
}

func (c *Courier) deadLetter(_ context.Context, p events.DeadLetterArchived) (notification.Mail, error) {
	return notification.DeadLetter{
		To: c.operations(), ID: p.DeadLetterID, Service: p.Service, Queue: p.Queue,
		EventID: p.EventID, EventType: p.EventType, FirstSeen: p.FirstSeen,
	}.Mail()
}

func (c *Courier) operations() notification.Recipient {
	return notification.Recipient{Name: "Operations", Address: c.config.Operations}
}

// accountPages are the pages that the links in account mails lead to.
var accountPages = map[notification.Kind]string{
	notification.EmailVerification: "/verify-email",
	notification.PasswordReset:     "/reset-password",
}

func (c *Courier) accountMail(
	ctx context.Context, kind notification.Kind, p events.AccountMailRequest,
) (notification.Mail, error) {
	info, err := c.accountMailInfo(ctx, p.RequestID)
	if err != nil {
		return notification.Mail{}, err
	}
	return notification.AccountMail{
		Kind:    kind,
		To:      notification.Recipient{Name: info.FirstName, Address: info.Email},
		Link:    c.config.PublicURL + accountPages[kind] + "?token=" + url.QueryEscape(info.Token),
		Expires: info.ExpiresAt,
	}.Mail()
}
