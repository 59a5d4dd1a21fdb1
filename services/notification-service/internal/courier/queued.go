package courier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

// Resend has a notification of the user's sent again by and by. Its errors are the store's, and
// notification.ErrNotResendable for an account mail that nobody needs any more.
func (c Courier) Resend(ctx context.Context, userID, id uuid.UUID) error {
	n, err := c.Store.Get(ctx, userID, id)
	if err != nil {
		return err
	}
	if _, account := accountPages[n.Kind]; account {
		var p events.AccountMailRequest
		if err := json.Unmarshal(n.Facts, &p); err != nil {
			return fmt.Errorf("facts of notification %s: %w", n.ID, err)
		}
		_, err := c.accountMailInfo(ctx, p.RequestID)
		if errors.Is(err, notification.ErrAccountMailGone) {
			return notification.ErrNotResendable.Because(err)
		}
		if err != nil { // whatever it says, the one who asks us can do nothing about it
			return sidecar.ErrUnavailable.Because(err)
		}
	}
	if err := c.Store.Resend(ctx, userID, id); err != nil {
		return err
	}
	c.wake()
	return nil
}

// QueueAnnouncements queues what is left of each announcement that is due, a page at a time. One that finds
// ticket-service away is due again later, from the page where it stopped.
func (c Courier) QueueAnnouncements(ctx context.Context) error {
	for {
		a, found, err := c.Store.DueAnnouncement(ctx, lease)
		if err != nil || !found {
			return err
		}
		if err := c.queuePage(ctx, a); err != nil {
			return err
		}
	}
}

// holdersPage is how many orders the page of an announcement has at most.
const holdersPage = 100

// queuePage queues the page of an announcement that comes next.
func (c Courier) queuePage(ctx context.Context, a notification.Announcement) (err error) {
	ctx, span := telemetry.Resume(ctx, a.Trace, "queue announcement")
	defer func() { telemetry.End(span, err) }()
	work, cancel := context.WithTimeout(ctx, workTime)
	defer cancel()
	page, err := sidecar.Call(work, c.Services, calls.Holders, calls.HoldersQuery{Limit: holdersPage, Cursor: a.Cursor}, a.About)
	if err != nil {
		slog.WarnContext(ctx, "holders of tickets not known, they are told later", "eventId", a.About, "error", err.Error())
		return nil
	}
	holders := make([]notification.Holder, len(page.Holders))
	for i, h := range page.Holders {
		holders[i] = notification.Holder{UserID: h.UserID, OrderID: h.OrderID}
	}
	if err := c.Store.QueuePage(ctx, a, holders, page.NextCursor); err != nil {
		return err
	}
	c.wake()
	return nil
}
