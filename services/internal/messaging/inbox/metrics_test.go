package inbox_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
	"github.com/eventbooking/eventbooking/services/internal/messaging/messagingtest"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// All tests of a process share the counters, and a test may run twice. So these types and queues have names that no
// other test uses.
type counted struct{ messagingtest.Sold }

var countedType = "SEAT_COUNTED_" + uuid.NewString()

func (counted) Type() string { return countedType }

func TestDeliveriesAreCounted(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	queues := messaging.Queues{Main: "counted-queue-" + uuid.NewString(), Ordered: "counted.fifo-" + uuid.NewString()}
	errFull := errors.New("full")
	router := web.NewRouter()
	inbox.New(pool, queues, inbox.On(func(ctx context.Context, e inbox.Event[counted]) error {
		return postgres.InTx(ctx, pool, func(tx pgx.Tx) error {
			first, err := inbox.FirstTx(ctx, tx, e.ID, e.EventType)
			if err != nil {
				return err
			}
			if e.Payload.Seat == 9 && !first || e.Payload.Seat > 9 {
				return errFull
			}
			return nil
		})
	})).Mount(router, identity.Guard{AppAPIToken: messagingtest.AppAPIToken})
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	event := func(eventType, topic, payload string) string {
		return strings.Replace(
			messagingtest.CloudEvent(uuid.NewString(), eventType, messagingtest.Envelope(eventType, "1.0", payload)),
			`"topic":"seat-events"`, `"time":"2020-01-01T00:00:00Z","topic":"`+topic+`"`, 1)
	}
	good := event(countedType, "seat-events", `{"seat":7}`)
	rolledBack := event(countedType, "seat-events", `{"seat":9}`)
	for _, body := range []string{
		good, good,
		event(countedType, queues.Ordered, `{"seat":8}`),
		rolledBack, rolledBack, // the second one repeats and fails
		event(countedType, "seat-events", `{"seat":10}`),
		event("SEAT_INVENTED", "seat-events", `{}`),
		`no event`,
	} {
		status := messagingtest.Deliver(t, server.URL+"/events", body)
		require.Contains(t, []int{http.StatusOK, http.StatusInternalServerError, http.StatusUnprocessableEntity}, status)
	}

	page := messagingtest.Scrape(t)
	for _, line := range []string{
		`events_consumed_total{outcome="processed",queue="QUEUE",type="TYPE"} 3`,
		`events_consumed_total{outcome="processed",queue="ORDERED",type="TYPE"} 1`,
		`events_consumed_total{outcome="refused",queue="QUEUE",type="TYPE"} 2`,
		`events_consumed_total{outcome="unknown",queue="QUEUE",type="unknown"} 1`,
		`events_consumed_total{outcome="refused",queue="QUEUE",type="unknown"} 1`,
		`events_repeated_total{type="TYPE"} 1`, // not the one whose transaction was rolled back
		`event_age_seconds_count{queue="QUEUE",type="TYPE"} 3`,
		`event_age_seconds_bucket{queue="QUEUE",type="TYPE",le="3600"} 0`, // it is years old
	} {
		line = strings.NewReplacer("TYPE", countedType, "QUEUE", queues.Main, "ORDERED", queues.Ordered).Replace(line)
		require.Contains(t, page, line+"\n")
	}
	require.NotContains(t, page, "INVENTED")
}
