package courier

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

// Handlers returns the handlers of the events that the service consumes. They store who has to be told of what, and wake
// the courier.
func (c Courier) Handlers() []inbox.Handler {
	return []inbox.Handler{
		inbox.On(c.TicketsGenerated), inbox.On(c.TicketTransferred), inbox.On(c.TicketCancelled),
		inbox.On(c.PaymentCompleted), inbox.On(c.PaymentFailed), inbox.On(c.RefundProcessed),
		inbox.On(c.EventUpdated), inbox.On(c.EventCancelled),
		inbox.On(c.CompensationFailed), inbox.On(c.DeadLetterArchived),
		inbox.On(c.EmailVerificationRequested), inbox.On(c.PasswordResetRequested),
	}
}

// TicketsGenerated sends the order confirmation with the tickets.
func (c Courier) TicketsGenerated(ctx context.Context, event inbox.Event[events.TicketsGenerated]) error {
	return tell(ctx, c, event, notification.OrderConfirmation, event.Payload.UserID, event.Payload.OrderID)
}

// PaymentCompleted acknowledges the event and does nothing. The contract sends the confirmation with
// the tickets attached (its saga's steps 11 and 12), and there are none yet: TICKETS_GENERATED brings
// both, and a buyer gets one mail and not two.
func (c Courier) PaymentCompleted(context.Context, inbox.Event[events.PaymentCompleted]) error {
	return nil
}

// PaymentFailed tells the buyer that nothing was charged.
func (c Courier) PaymentFailed(ctx context.Context, event inbox.Event[events.PaymentFailed]) error {
	return tell(ctx, c, event, notification.PaymentFailed, event.Payload.UserID, event.Payload.OrderID)
}

// RefundProcessed tells the buyer that money is on its way back.
func (c Courier) RefundProcessed(ctx context.Context, event inbox.Event[events.RefundProcessed]) error {
	return tell(ctx, c, event, notification.RefundProcessed, event.Payload.UserID, event.Payload.OrderID)
}

// TicketTransferred tells both who gave the ticket and who got it, each in a mail of their own.
func (c Courier) TicketTransferred(ctx context.Context, event inbox.Event[events.TicketTransferred]) error {
	p := event.Payload
	given, err := telling(event, notification.TicketTransferred, p.FromUserID, p.OrderID)
	if err != nil {
		return err
	}
	got := given // the order is not theirs
	got.Kind, got.UserID, got.OrderID = notification.TicketReceived, p.ToUserID, uuid.Nil
	for _, n := range []*notification.Notification{&given, &got} {
		n.MessageID = uuid.NewSHA1(event.ID, []byte(n.Kind))
	}
	return c.tell(ctx, event.ID, event.EventType, given, got)
}

// TicketCancelled tells the owner who cancelled a ticket that it is void. Of one that a refund cancelled,
// people hear with that. Of those that were cancelled with the event, each holder hears in one mail for an
// order, by whichever of its events comes first.
func (c Courier) TicketCancelled(ctx context.Context, event inbox.Event[events.TicketCancelled]) error {
	p := event.Payload
	switch p.CancelledBy {
	case events.CancelledByOwner:
		return tell(ctx, c, event, notification.TicketCancelled, p.UserID, p.OrderID)
	case events.CancelledByEvent:
		n, err := telling(event, notification.EventCancelled, p.UserID, p.OrderID)
		if err != nil {
			return err
		}
		n.MessageID = uuid.NewSHA1(p.OrderID, []byte(string(n.Kind)+" "+p.UserID.String()))
		return c.tell(ctx, event.ID, event.EventType, n)
	}
	return nil
}

// EventCancelled acknowledges the event and does nothing: who holds tickets is told of each order by
// TICKET_CANCELLED, which says who they are.
func (c Courier) EventCancelled(context.Context, inbox.Event[events.EventCancelled]) error {
	return nil
}

// EventUpdated has every holder of tickets told if the event was postponed. They may be thousands, who are
// not in the event: the store keeps how far that is.
func (c Courier) EventUpdated(ctx context.Context, event inbox.Event[events.EventUpdated]) error {
	if event.Payload.PostponedFrom == nil {
		return nil
	}
	facts, err := json.Marshal(event.Payload)
	if err != nil {
		return fmt.Errorf("facts of %s: %w", event.EventType, err)
	}
	if err := c.Store.Announce(ctx, event.EventType, notification.Announcement{
		ID: event.ID, About: event.Payload.EventID, Kind: notification.EventPostponed, Facts: facts,
	}); err != nil {
		return err
	}
	c.wake()
	return nil
}

// CompensationFailed tells operations of an order whose effects could not be undone.
func (c Courier) CompensationFailed(ctx context.Context, event inbox.Event[events.CompensationFailed]) error {
	return tell(ctx, c, event, notification.CompensationFailed, notification.Operations, event.Payload.OrderID)
}

// DeadLetterArchived tells operations of an event that could not be processed.
func (c Courier) DeadLetterArchived(ctx context.Context, event inbox.Event[events.DeadLetterArchived]) error {
	return tell(ctx, c, event, notification.DeadLetterArchived, notification.Operations, uuid.Nil)
}

// EmailVerificationRequested sends the link that proves an address.
func (c Courier) EmailVerificationRequested(ctx context.Context, event inbox.Event[events.EmailVerificationRequested]) error {
	return tell(ctx, c, event, notification.EmailVerification, event.Payload.UserID, uuid.Nil)
}

// PasswordResetRequested sends the link with which a password is set anew.
func (c Courier) PasswordResetRequested(ctx context.Context, event inbox.Event[events.PasswordResetRequested]) error {
	return tell(ctx, c, event, notification.PasswordReset, event.Payload.UserID, uuid.Nil)
}

// tell has one user told of an event.
func tell[P any](ctx context.Context, c Courier, event inbox.Event[P], kind notification.Kind, userID, orderID uuid.UUID) error {
	n, err := telling(event, kind, userID, orderID)
	if err != nil {
		return err
	}
	return c.tell(ctx, event.ID, event.EventType, n)
}

func (c Courier) tell(ctx context.Context, eventID uuid.UUID, eventType string, people ...notification.Notification) error {
	if err := c.Store.Tell(ctx, eventID, eventType, people...); err != nil {
		return err
	}
	c.wake()
	return nil
}

// telling makes the notification of an event to a user.
func telling[P any](event inbox.Event[P], kind notification.Kind, userID, orderID uuid.UUID) (notification.Notification, error) {
	facts, err := json.Marshal(event.Payload)
	if err != nil {
		return notification.Notification{}, fmt.Errorf("facts of %s: %w", event.EventType, err)
	}
	return notification.Notification{
		MessageID: event.ID, EventID: event.ID, UserID: userID, OrderID: orderID, Kind: kind, Facts: facts,
	}, nil
}
