package courier_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/notification-service/internal/courier/couriertest"
)

func TestDuplicateEventSendsOneMail(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	for range 3 {
		b.Deliver(t, id, "TICKETS_GENERATED", couriertest.TicketsGenerated)
	}
	require.Len(t, b.Services.Sent(), 1)
	require.Equal(t, row{"ORDER_CONFIRMATION", "SENT", "", 1}, b.row(t, id))
}

func TestConcurrentDuplicatesSendOneMail(t *testing.T) {
	b := setup(t)
	id := uuid.New()
	var g errgroup.Group
	for range 12 {
		g.Go(func() error {
			if err := b.Process(t.Context(), id, "TICKETS_GENERATED", couriertest.TicketsGenerated); err != nil {
				return err
			}
			return b.Courier.DeliverDue(t.Context())
		})
	}
	require.NoError(t, g.Wait())
	require.Len(t, b.Services.Sent(), 1)
}

// ticket-service announces tickets again, with another event, if payment-service may have missed the first one.
func TestTicketsAnnouncedAgainSendOneMail(t *testing.T) {
	b := setup(t)
	first := uuid.New()
	b.Deliver(t, first, "TICKETS_GENERATED", couriertest.TicketsGenerated)
	b.Deliver(t, uuid.New(), "TICKETS_GENERATED", couriertest.TicketsGenerated)
	require.Len(t, b.Services.Sent(), 1)
	require.Equal(t, row{"ORDER_CONFIRMATION", "SENT", "", 1}, b.row(t, first))
}
