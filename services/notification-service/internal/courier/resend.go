package courier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/notification"
)

// Resend queues a notification of the user again. Its errors are those of store.Store.Resend,
// notification.ErrNotResendable for an account mail whose token was used or has expired, and sidecar.ErrUnavailable if
// auth-service does not say whether that is so.
func (c *Courier) Resend(ctx context.Context, userID, id uuid.UUID) error {
	n, err := c.store.Get(ctx, userID, id)
	if err != nil {
		return err
	}
	if _, account := accountPages[n.Kind]; account {
		var p events.AccountMailRequest
		if err := json.Unmarshal(n.Facts, &p); err != nil {
			return fmt.Errorf("decode the facts of notification %s: %w", n.ID, err)
		}
		_, err := c.accountMailInfo(ctx, p.RequestID)
		if errors.Is(err, notification.ErrAccountMailGone) {
			return notification.ErrNotResendable.Because(err)
		}
		if err != nil { // another refusal is not the user's fault
			return sidecar.ErrUnavailable.Because(err)
		}
	}
	if err := c.store.Resend(ctx, userID, id); err != nil {
		return err
	}
	class := n.Kind.Class()
	if class == notification.Bulk {
		class = notification.Orders
	}
	c.wake(class)
	return nil
}
