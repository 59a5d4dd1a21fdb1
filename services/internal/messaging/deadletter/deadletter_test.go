package deadletter_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
	"github.com/eventbooking/eventbooking/services/internal/messaging/messagingtest"
)

func TestFailingEventIsArchivedWithItsError(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	url := serve(t, pool, func(context.Context, inbox.Event[messagingtest.Sold]) error {
		return errors.New("row is broken\x00")
	})
	archive(t, url, framed(t, "message-1", messagingtest.Sale(eventID)))

	found := list(t, url, "?state=OPEN")
	require.Len(t, found, 1)
	require.WithinDuration(t, time.Now(), found[0].FirstSeen, time.Minute)
	require.Equal(t, letter{
		ID: found[0].ID, Queue: "seat-queue", EventID: eventID, EventType: "SEAT_SOLD",
		Reason: "row is broken\uFFFD", State: "OPEN",
		Times: 1, FirstSeen: found[0].FirstSeen, LastSeen: found[0].FirstSeen,
	}, found[0])
	path := url + "/api/seats/admin/dead-letters/" + found[0].ID.String()
	require.JSONEq(t, messagingtest.Sale(eventID), ask[letter](t, http.MethodGet, path, http.StatusOK).Body)
	require.Equal(t, []string{found[0].ID.String()}, alerts(t, pool))
}

// The alert about an event of any size is small enough to be published.
func TestAlertIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	url := serve(t, pool, func(context.Context, inbox.Event[messagingtest.Sold]) error { return errors.New("broken") })
	long := strings.Repeat("x", messaging.MaxEvent)
	archive(t, url, framed(t, "message-1", messagingtest.CloudEvent(long, "SEAT_SOLD",
		messagingtest.Envelope("SEAT_SOLD", "1.0", `{}`))))
	found := list(t, url, "?state=OPEN")
	require.Len(t, found, 1)
	require.True(t, strings.HasPrefix(found[0].EventID, "sha256:"))
	require.Len(t, alerts(t, pool), 1)
}

func TestMalformedEventIsArchivedWithTheReason(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, body, id, reason string }{
		{
			"PayloadOfAnotherShape",
			messagingtest.CloudEvent(eventID, "SEAT_SOLD", messagingtest.Envelope("SEAT_SOLD", "1.0", `{"seat":"seven"}`)),
			eventID, "seat",
		},
		{
			"IDIsNoUUID",
			messagingtest.CloudEvent("42", "SEAT_SOLD", messagingtest.Envelope("SEAT_SOLD", "1.0", `{}`)),
			"42", "UUID",
		},
		{"NoID", `{"type":"SEAT_SOLD","data":{}}`, "", "no id"},
		{"NotJSON", `hello`, "", "invalid character"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pool := setup(t)
			url, got := record(t, pool, nil)
			archive(t, url, framed(t, "message-1", tt.body))
			found := list(t, url, "")
			require.Len(t, found, 1)
			require.Contains(t, found[0].Reason, "MALFORMED_EVENT")
			require.Contains(t, found[0].Reason, tt.reason)
			if tt.id == "" {
				require.True(t, strings.HasPrefix(found[0].EventID, "sha256:"))
			} else {
				require.Equal(t, tt.id, found[0].EventID)
			}
			redrive := url + "/api/seats/admin/dead-letters/" + found[0].ID.String() + "/redrive"
			require.Equal(t, "REDRIVE_FAILED", ask[failure](t, http.MethodPost, redrive, http.StatusConflict).Error)
			require.Empty(t, *got)
			require.Equal(t, "OPEN", list(t, url, "")[0].State)
		})
	}
}

// The sidecar had not subscribed yet, or the database was down, when the queue delivered the event.
func TestProcessableEventNeedsNoOperator(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	url, got := record(t, pool, nil)
	archive(t, url, messagingtest.Sale(eventID)) // without the topic's frame
	require.Len(t, *got, 1)
	found := list(t, url, "?state=REDRIVEN")
	require.Len(t, found, 1)
	require.Equal(t, eventID, found[0].EventID)
	require.NotNil(t, found[0].HandledAt)
	require.Empty(t, alerts(t, pool))
}

func TestUnknownEventIsRecorded(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	url, _ := record(t, pool, nil)
	archive(t, url, framed(t, "message-1", messagingtest.CloudEvent(eventID, "SEAT_PAINTED", `{}`)))
	require.Equal(t, []string{eventID}, unknownEvents(t, pool))
	require.Len(t, list(t, url, "?state=REDRIVEN"), 1)
}

func TestDeadLetterNamesTheOrderedQueue(t *testing.T) {
	t.Parallel()
	url, _ := record(t, setup(t), nil)
	message := framed(t, "message-1", messagingtest.Sale(eventID))
	require.Equal(t, http.StatusOK, messagingtest.Deliver(t, url+"/bindings/ordered-dead-letters", message))
	require.Equal(t, "seats.fifo", list(t, url, "")[0].Queue)
}

func TestOnlyNewMessageOpensDeadLetterAgain(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	url, got := record(t, pool, errBroken)
	archive(t, url, framed(t, "message-1", messagingtest.Sale(eventID)))
	id := list(t, url, "")[0].ID.String()
	ask[letter](t, http.MethodPost, url+"/api/seats/admin/dead-letters/"+id+"/discard", http.StatusOK)

	// The same message: the sidecar could not delete it.
	archive(t, url, framed(t, "message-1", messagingtest.Sale(eventID)))
	found := list(t, url, "?state=DISCARDED")
	require.Len(t, found, 1)
	require.Equal(t, 1, found[0].Times)
	require.Len(t, *got, 1, "the event is not processed again")

	// A new message: the event was published again and failed again.
	archive(t, url, framed(t, "message-2", messagingtest.Sale(eventID)))
	found = list(t, url, "?state=OPEN")
	require.Len(t, found, 1)
	require.Equal(t, id, found[0].ID.String())
	require.Equal(t, 2, found[0].Times)
	require.True(t, found[0].LastSeen.After(found[0].FirstSeen))
	require.Nil(t, found[0].HandledAt)
	require.Len(t, *got, 2)
	require.Len(t, alerts(t, pool), 1, "operations were alerted within the hour")
}

func TestSweepsRetryUpToThreeAttempts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		broken int32 // attempts that fail
		tries  int32
		state  string
	}{
		{"BackInTime", 2, 3, "REDRIVEN"},
		{"BackTooLate", 3, 3, "OPEN"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pool := setup(t)
			var tries atomic.Int32
			url := serve(t, pool, func(context.Context, inbox.Event[messagingtest.Sold]) error {
				if tries.Add(1) <= tt.broken {
					return errors.New("the database is down")
				}
				return nil
			})
			archive(t, url, framed(t, "message-1", messagingtest.Sale(eventID)))
			for range 5 {
				sweep(t, url)
			}
			found := list(t, url, "")
			require.Equal(t, tt.state, found[0].State)
			require.Equal(t, tt.tries, tries.Load())
			require.Equal(t, []string{found[0].ID.String()}, alerts(t, pool), "once, after the first failure")
		})
	}
}

// A process that dies during an attempt leaves the count and the lease that it wrote before.
func TestEventThatKillsTheProcessIsAlertedAndNotRetriedForever(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	began, die := make(chan struct{}), make(chan struct{})
	url := serve(t, pool, func(context.Context, inbox.Event[messagingtest.Sold]) error {
		began <- struct{}{}
		<-die
		return nil
	})
	dead := make(chan struct{})
	go func() {
		defer close(dead)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/bindings/dead-letters",
			strings.NewReader(messagingtest.Sale(eventID)))
		if err != nil {
			return
		}
		req.Header.Set("dapr-api-token", messagingtest.AppAPIToken)
		if res, err := http.DefaultClient.Do(req); err == nil {
			_ = res.Body.Close()
		}
	}()
	<-began
	other := serve(t, pool, func(context.Context, inbox.Event[messagingtest.Sold]) error {
		return errors.New("processed by the other replica")
	})
	sweep(t, other)
	require.Empty(t, alerts(t, pool), "an attempt is running")
	found := list(t, other, "?state=OPEN")
	require.Contains(t, found[0].Reason, "process ended")

	// The process died three times.
	_, err := pool.Exec(t.Context(), `UPDATE dead_letters SET redriven_until = '-infinity', tries = 3`)
	require.NoError(t, err)
	sweep(t, other)
	require.Equal(t, []string{found[0].ID.String()}, alerts(t, pool))
	require.Contains(t, list(t, other, "?state=OPEN")[0].Reason, "process ended", "there was no other attempt")
	close(die)
	<-dead
}

func TestSweepRepeatsAlertsOfOpenDeadLetters(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	url := serve(t, pool, func(context.Context, inbox.Event[messagingtest.Sold]) error { return errBroken })
	for range 3 {
		id := uuid.NewString()
		archive(t, url, framed(t, "message-"+id, messagingtest.Sale(id)))
	}
	letters := list(t, url, "") // the newest first
	discarded, old := letters[0].ID.String(), letters[1].ID.String()
	ask[letter](t, http.MethodPost, url+"/api/seats/admin/dead-letters/"+discarded+"/discard", http.StatusOK)
	_, err := pool.Exec(t.Context(),
		`UPDATE dead_letters SET alerted_at = now() - interval '61 minutes' WHERE id IN ($1, $2)`, discarded, old)
	require.NoError(t, err)
	before := alerts(t, pool)
	require.Len(t, before, 3)

	var sweeps errgroup.Group // all replicas sweep at once
	for range 5 {
		sweeps.Go(func() error {
			if status := messagingtest.Deliver(t, url+"/bindings/monitor-dead-letters", ""); status != http.StatusOK {
				return errors.New(strconv.Itoa(status))
			}
			return nil
		})
	}
	require.NoError(t, sweeps.Wait())
	require.Equal(t, append(before, old), alerts(t, pool))
}
