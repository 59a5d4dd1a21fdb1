package courier

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

// paymentDisputed informs operations, who have to answer a dispute at the card processor.
func (c *Courier) paymentDisputed(ctx context.Context, event inbox.Event[events.PaymentDisputed]) error {
	return queueOne(ctx, c, event, notification.PaymentDisputed, notification.Operations, event.Payload.OrderID)
}

// ticketsDisputed informs a holder of tickets or the organizer. The order may be another user's than the holder's.
func (c *Courier) ticketsDisputed(ctx context.Context, event inbox.Event[events.TicketsDisputed]) error {
	p := event.Payload
	if p.Organizer {
		return queueOne(ctx, c, event, notification.OrderDisputed, p.UserID, p.OrderID)
	}
	return queueOne(ctx, c, event, notification.TicketsDisputed, p.UserID, uuid.Nil)
}

func (c *Courier) ticketsDispute(ctx context.Context, p events.TicketsDisputed) (notification.Mail, error) {
	l := newLookups()
	m := notification.TicketsDispute{Count: p.TicketCount, Tickets: p.TicketState}
	into(ctx, l, &m.To, c.recipient, p.UserID)
	into(ctx, l, &m.Occasion, c.occasion, p.EventID)
	if err := l.Wait(); err != nil {
		return notification.Mail{}, err
	}
	return m.Mail()
}

func (c *Courier) orderDispute(ctx context.Context, p events.TicketsDisputed) (notification.Mail, error) {
	l := newLookups()
	m := notification.OrderDispute{Status: p.DisputeStatus, Tickets: p.TicketState, Count: p.TicketCount}
	into(ctx, l, &m.To, c.recipient, p.UserID)
	into(ctx, l, &m.Order, c.order, p.OrderID)
	into(ctx, l, &m.Occasion, c.occasion, p.EventID)
	if err := l.Wait(); err != nil {
		return notification.Mail{}, err
	}
	var err error
	if m.Amount, err = p.Amount.In(p.Currency); err != nil {
		return notification.Mail{}, fmt.Errorf("amount %q of dispute %s: %w", p.Amount, p.DisputeID, err)
	}
	return m.Mail()
}

func (c *Courier) paymentDispute(_ context.Context, p events.PaymentDisputed) (notification.Mail, error) {
	m := notification.PaymentDispute{
		To: c.operations(), OrderID: p.OrderID, DisputeID: p.DisputeID, Status: p.Status, Reason: p.Reason,
	}
	var err error
	if m.Amount, err = p.Amount.In(p.Currency); err != nil {
		return notification.Mail{}, fmt.Errorf("amount %q of dispute %s: %w", p.Amount, p.DisputeID, err)
	}
	return m.Mail()
}
