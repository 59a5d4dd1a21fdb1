package courier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

// holdersPage is the maximum number of orders on a page of holders.
const holdersPage = 100

// QueueAnnouncements queues the notifications of due announcements, page by page, until none is due. If ticket-service
// does not answer, the announcement is due again when its lease expires, at the same page. If ticket-service refuses
// the page, it would refuse it again, so the announcement ends there.
func (c *Courier) QueueAnnouncements(ctx context.Context) error {
	for {
		a, found, err := c.store.LeaseDueAnnouncement(ctx, lease)
		if err != nil || !found {
			return err
		}
		if err := c.queuePage(ctx, a); err != nil {
			return err
		}
	}
}

// queuePage queues the notifications of the next page of a. It finishes an announcement that no longer applies.
func (c *Courier) queuePage(ctx context.Context, a notification.Announcement) (err error) {
	ctx, span := telemetry.Resume(ctx, a.Trace, "queue announcement")
	defer func() { telemetry.End(span, err) }()
	work, cancel := context.WithTimeout(ctx, workTime)
	defer cancel()
	applies, err := c.applies(work, a)
	if refusal, refused := sidecar.Refusal(err); refused {
		return c.endRefused(ctx, a, refusal)
	}
	if err != nil {
		slog.WarnContext(ctx, "look up announced event failed", "eventId", a.About, "error", err.Error())
		return nil
	}
	if !applies {
		slog.InfoContext(ctx, "announcement superseded", "eventId", a.About, "kind", a.Kind)
		return c.store.QueuePage(ctx, a, nil, "")
	}
	query := calls.HoldersQuery{Limit: holdersPage, Cursor: a.Cursor}
	page, err := sidecar.Call(work, c.services, calls.Holders, query, a.About)
	if refusal, refused := sidecar.Refusal(err); refused {
		return c.endRefused(ctx, a, refusal)
	}
	if err != nil {
		slog.WarnContext(ctx, "list holders of tickets failed", "eventId", a.About, "error", err.Error())
		return nil
	}
	holders := make([]notification.Holder, len(page.Holders))
	for i, h := range page.Holders {
		holders[i] = notification.Holder{UserID: h.UserID, OrderID: h.OrderID}
	}
	if err := c.store.QueuePage(ctx, a, holders, page.NextCursor); err != nil {
		return err
	}
	c.wake(notification.Bulk)
	return nil
}

// endRefused ends an announcement, because another attempt would be refused as well.
func (c *Courier) endRefused(ctx context.Context, a notification.Announcement, refusal *problem.Error) error {
	slog.ErrorContext(ctx, "announcement failed permanently, its other holders are not informed",
		"announcementId", a.ID, "eventId", a.About, "code", refusal.Code, "error", refusal.Error())
	return c.store.EndAnnouncement(ctx, a)
}

// applies reports whether holders still have to be told about a: its event was not cancelled, and its changes were not
// undone.
func (c *Courier) applies(ctx context.Context, a notification.Announcement) (bool, error) {
	now, err := c.upcoming(ctx, a.About)
	if errors.Is(err, notification.ErrSuperseded) {
		return false, nil
	}
	if err != nil || a.Kind != notification.EventChanged {
		return err == nil, err
	}
	var change notification.Change
	if err := json.Unmarshal(a.Facts, &change); err != nil {
		return false, fmt.Errorf("decode the facts of announcement %s: %w", a.ID, err)
	}
	return len(change.Lines(now)) > 0, nil
}
