package courier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

const (
	// queuePoll is how often a Courier looks for queued notifications.
	queuePoll = 2 * time.Second
	// queueBatch is how many are delivered at once, so that none waits while its lease runs out.
	queueBatch = 5
	// queueLease is how long a queued notification is nobody else's, and then due again: longer than a claim, which
	// its next attempt would find held otherwise.
	queueLease = Lease + 5*time.Second
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
	return c.Store.Resend(ctx, userID, id)
}

// RunQueued delivers queued notifications until ctx ends.
func (c Courier) RunQueued(ctx context.Context) error {
	ticker := time.NewTicker(queuePoll)
	defer ticker.Stop()
	for {
		if err := errors.Join(c.QueueAnnouncements(ctx), c.DeliverQueued(ctx)); err != nil && ctx.Err() == nil {
			slog.ErrorContext(ctx, "queued notifications not looked for, trying again", "error", err.Error())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// QueueAnnouncements queues what is left of each announcement that is due, a page at a time. One that finds
// ticket-service away is due again later, from the page where it stopped.
func (c Courier) QueueAnnouncements(ctx context.Context) error {
	for {
		a, found, err := c.Store.DueAnnouncement(ctx, queueLease)
		if err != nil || !found {
			return err
		}
		var page struct {
			Holders []struct {
				UserID  uuid.UUID `json:"userId"`
				OrderID uuid.UUID `json:"orderId"`
			} `json:"holders"`
			NextCursor string `json:"nextCursor"`
		}
		path := "/api/tickets/internal/events/" + a.About.String() + "/holders?limit=100"
		if a.Cursor != "" {
			path += "&cursor=" + url.QueryEscape(a.Cursor)
		}
		work, cancel := context.WithTimeout(ctx, workTime)
		err = c.Services.Call(work, ticketService, http.MethodGet, path, nil, &page)
		cancel()
		if err != nil {
			slog.WarnContext(ctx, "holders of tickets not known, they are told later", "eventId", a.About, "error", err.Error())
			continue
		}
		holders := make([]notification.Holder, len(page.Holders))
		for i, h := range page.Holders {
			holders[i] = notification.Holder(h)
		}
		if err := c.Store.QueuePage(ctx, a, holders, page.NextCursor); err != nil {
			return err
		}
	}
}

// DeliverQueued attempts each queued notification that is due, once. Those that do not succeed are due again later.
func (c Courier) DeliverQueued(ctx context.Context) error {
	for {
		due, err := c.Store.Due(ctx, queueBatch, queueLease)
		if err != nil || len(due) == 0 {
			return err
		}
		var g errgroup.Group
		for _, n := range due {
			g.Go(func() error {
				if err := c.deliver(ctx, n); err != nil {
					slog.WarnContext(ctx, "queued notification not sent yet", "notificationId", n.ID, "error", err.Error())
				}
				return nil
			})
		}
		_ = g.Wait() // each has said what went wrong
	}
}
