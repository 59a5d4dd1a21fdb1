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

// Handlers returns the handlers of the events that the service consumes. A handler stores the notifications of its
// event and wakes Run, which sends them.
func (c *Courier) Handlers() []inbox.Handler {
	return []inbox.Handler{
		inbox.On(c.ticketsGenerated), inbox.On(c.ticketTransferred), inbox.On(c.ticketCancelled),
		inbox.On(c.paymentCompleted), inbox.On(c.paymentFailed), inbox.On(c.refundProcessed), inbox.On(c.refundFailed),
		inbox.On(c.paymentDisputed), inbox.On(c.ticketsDisputed),
		inbox.On(c.eventUpdated), inbox.On(c.eventCancelled),
		inbox.On(c.compensationFailed), inbox.On(c.deadLetterArchived),
		inbox.On(c.emailVerificationRequested), inbox.On(c.passwordResetRequested),
	}
}

// ticketsGenerated queues the order confirmation, which has the tickets.
func (c *Courier) ticketsGenerated(ctx context.Context, event inbox.Event[events.TicketsGenerated]) error {
	p := event.Payload
	return queueOne(ctx, c, event, notification.OrderConfirmation, p.UserID, p.OrderID)
}

// paymentCompleted does nothing. The contract sends the confirmation with the tickets attached (steps 11 and 12 of its
// saga), and the tickets do not exist yet. TICKETS_GENERATED queues both in one mail.
func (c *Courier) paymentCompleted(context.Context, inbox.Event[events.PaymentCompleted]) error {
	return nil
}

// paymentFailed informs the buyer that nothing was charged.
func (c *Courier) paymentFailed(ctx context.Context, event inbox.Event[events.PaymentFailed]) error {
	p := event.Payload
	return queueOne(ctx, c, event, notification.PaymentFailed, p.UserID, p.OrderID)
}

// refundProcessed informs the buyer about the refund.
func (c *Courier) refundProcessed(ctx context.Context, event inbox.Event[events.RefundProcessed]) error {
	p := event.Payload
	return queueOne(ctx, c, event, notification.RefundProcessed, p.UserID, p.OrderID)
}

// refundFailed informs the buyer that the money did not arrive.
func (c *Courier) refundFailed(ctx context.Context, event inbox.Event[events.RefundFailed]) error {
	p := event.Payload
	return queueOne(ctx, c, event, notification.RefundFailed, p.UserID, p.OrderID)
}

// ticketTransferred informs the previous and the new owner, in a mail each.
func (c *Courier) ticketTransferred(ctx context.Context, event inbox.Event[events.TicketTransferred]) error {
	p := event.Payload
	previous, err := newNotification(event, notification.TicketTransferred, p.FromUserID, p.OrderID)
	if err != nil {
		return err
	}
	recipient := previous
	recipient.Kind, recipient.UserID = notification.TicketReceived, p.ToUserID
	recipient.OrderID = uuid.Nil // the order remains the previous owner's
	for _, n := range []*notification.Notification{&previous, &recipient} {
		n.MessageID = uuid.NewSHA1(event.ID, []byte(n.Kind))
	}
	return c.queue(ctx, event.ID, event.EventType, previous, recipient)
}

// ticketCancelled informs the owner of a cancelled ticket. An owner gets one mail for all tickets of an
// order that were cancelled with the event, and one for all that a refund cancelled: the message id depends on these
// and on the user only, so the first event of several queues the notification. The buyer, who may be another user, also
// gets a mail about the refund. If a dispute cancelled the ticket, TICKETS_DISPUTED informs its owner.
func (c *Courier) ticketCancelled(ctx context.Context, event inbox.Event[events.TicketCancelled]) error {
	p := event.Payload
	var kind notification.Kind
	var group string // of tickets with one mail
	switch p.CancelledBy {
	case events.CancelledByOwner:
		kind = notification.TicketCancelled
	case events.CancelledByEvent:
		kind, group = notification.EventCancelled, string(notification.EventCancelled)
	case events.CancelledByRefund:
		kind, group = notification.TicketCancelled, p.RefundKey
		if group == "" { // of an earlier version of ticket-service, when only the buyer was informed
			return nil
		}
	default:
		return nil
	}
	n, err := newNotification(event, kind, p.UserID, p.OrderID)
	if err != nil {
		return err
	}
	if group != "" {
		n.MessageID = uuid.NewSHA1(p.OrderID, []byte(group+" "+p.UserID.String()))
	}
	return c.queue(ctx, event.ID, event.EventType, n)
}

// eventCancelled does nothing. TICKET_CANCELLED, which names the holder, informs the holders of tickets.
func (c *Courier) eventCancelled(context.Context, inbox.Event[events.EventCancelled]) error {
	return nil
}

// eventUpdated stores an announcement if the event was postponed, or if details were changed that holders of tickets
// have to know. The event does not name the holders, who may be thousands, so the announcement keeps how far their list
// was queued. Changes in quick succession are one announcement.
func (c *Courier) eventUpdated(ctx context.Context, event inbox.Event[events.EventUpdated]) error {
	p := event.Payload
	if p.PostponedFrom == nil {
		if p.Previous == nil || p.Status != "PUBLISHED" { // a draft has no holders
			return nil
		}
		change := notification.Changed(p.EventID, occasionFrom(*p.Previous), occasionFrom(events.HolderDetails{
			EventName: p.EventName, EventDate: p.EventDate, EndDate: p.EndDate, VenueName: p.VenueName,
			VenueAddress: p.VenueAddress,
		}), p.UpdatedAt)
		if len(change.Before) == 0 {
			return nil
		}
		delay := c.config.ChangeDelay
		return c.store.AnnounceChange(ctx, event.ID, event.EventType, change, delay, 5*delay)
	}
	facts, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode the facts of %s: %w", event.EventType, err)
	}
	if err := c.store.Announce(ctx, event.EventType, notification.Announcement{
		ID: event.ID, About: p.EventID, Kind: notification.EventPostponed, Facts: facts,
	}); err != nil {
		return err
	}
	signal(c.announceWakeups)
	return nil
}

func occasionFrom(d events.HolderDetails) notification.Occasion {
	o := notification.Occasion{
		Name: d.EventName, Date: d.EventDate, VenueName: d.VenueName, VenueAddress: d.VenueAddress,
	}
	if d.EndDate != nil {
		o.EndDate = *d.EndDate
	}
	return o
}

// compensationFailed informs operations about an order whose effects could not be undone.
func (c *Courier) compensationFailed(ctx context.Context, event inbox.Event[events.CompensationFailed]) error {
	p := event.Payload
	return queueOne(ctx, c, event, notification.CompensationFailed, notification.Operations, p.OrderID)
}

// deadLetterArchived informs operations about an event that could not be processed.
func (c *Courier) deadLetterArchived(ctx context.Context, event inbox.Event[events.DeadLetterArchived]) error {
	return queueOne(ctx, c, event, notification.DeadLetterArchived, notification.Operations, uuid.Nil)
}

// emailVerificationRequested queues the mail with the link that verifies an address.
func (c *Courier) emailVerificationRequested(
	ctx context.Context, event inbox.Event[events.EmailVerificationRequested],
) error {
	return queueOne(ctx, c, event, notification.EmailVerification, event.Payload.UserID, uuid.Nil)
}

// passwordResetRequested queues the mail with the link that sets a new password.
func (c *Courier) passwordResetRequested(
	ctx context.Context, event inbox.Event[events.PasswordResetRequested],
) error {
	return queueOne(ctx, c, event, notification.PasswordReset, event.Payload.UserID, uuid.Nil)
}

// queueOne queues one notification of an event.
func queueOne[P any](
	ctx context.Context, c *Courier, event inbox.Event[P], kind notification.Kind, userID, orderID uuid.UUID,
) error {
	n, err := newNotification(event, kind, userID, orderID)
	if err != nil {
		return err
	}
	return c.queue(ctx, event.ID, event.EventType, n)
}

// queue queues the notifications of an event and wakes Run.
func (c *Courier) queue(
	ctx context.Context, eventID uuid.UUID, eventType string, notifications ...notification.Notification,
) error {
	if err := c.store.Queue(ctx, eventID, eventType, notifications...); err != nil {
		return err
	}
	for _, n := range notifications {
		c.wake(n.Kind.Class())
	}
	return nil
}

// newNotification returns a notification of an event to a user.
func newNotification[P any](
	event inbox.Event[P], kind notification.Kind, userID, orderID uuid.UUID,
) (notification.Notification, error) {
	facts, err := json.Marshal(event.Payload)
	if err != nil {
		return notification.Notification{}, fmt.Errorf("encode the facts of %s: %w", event.EventType, err)
	}
	return notification.Notification{
		MessageID: event.ID, EventID: event.ID, UserID: userID, OrderID: orderID, Kind: kind, Facts: facts,
	}, nil
}
