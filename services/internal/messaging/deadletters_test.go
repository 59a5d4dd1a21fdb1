package messaging_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
)

var public, private, _ = ed25519.GenerateKey(nil)

// letter is a dead letter as an admin gets it.
type letter struct {
	ID        uuid.UUID  `json:"deadLetterId"`
	Queue     string     `json:"queue"`
	EventID   string     `json:"eventId"`
	EventType string     `json:"eventType"`
	Reason    string     `json:"reason"`
	State     string     `json:"state"`
	Times     int        `json:"times"`
	FirstSeen time.Time  `json:"firstSeen"`
	LastSeen  time.Time  `json:"lastSeen"`
	HandledAt *time.Time `json:"handledAt"`
	Body      string     `json:"body"`
}

// as gives the headers of a user with a role.
func as(t *testing.T, role identity.Role) []string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, identity.AccessClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: identity.Issuer, Audience: jwt.ClaimStrings{identity.Audience}, Subject: uuid.NewString(),
			ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Minute)),
		},
		Roles: []identity.Role{role},
	}).SignedString(private)
	require.NoError(t, err)
	return []string{"Authorization", "Bearer " + token}
}

// ask makes an admin's request and reads its answer.
func ask[T any](t *testing.T, method, url string, want int) (answer T) {
	t.Helper()
	status, body := do(t, method, url, "", as(t, identity.RoleAdmin)...)
	require.Equal(t, want, status, "%s", body)
	require.NoError(t, json.Unmarshal(body, &answer))
	return answer
}

type failure struct {
	Error string `json:"error"`
	Field string `json:"field"`
}

type lettersPage struct {
	DeadLetters []letter `json:"deadLetters"`
	NextCursor  string   `json:"nextCursor"`
}

func list(t *testing.T, url, query string) []letter {
	t.Helper()
	return ask[lettersPage](t, http.MethodGet, url+"/api/seats/admin/dead-letters"+query, http.StatusOK).DeadLetters
}

// framed is a message of the dead-letter queue, as the topic put it there.
func framed(t *testing.T, messageID, cloudEvent string) string {
	t.Helper()
	frame, err := json.Marshal(map[string]string{
		"Type": "Notification", "MessageId": messageID, "TopicArn": "arn:aws:sns:us-east-1:000000000000:seat-events", "Message": cloudEvent,
	})
	require.NoError(t, err)
	return string(frame)
}

// archive does what the sidecar does with a message of the dead-letter queue.
func archive(t *testing.T, url, body string) {
	t.Helper()
	require.Equal(t, http.StatusOK, deliver(t, url+"/bindings/dead-letters", body))
}

// alerts gives the dead letters that operations heard of.
func alerts(t *testing.T, pool *pgxpool.Pool) []string {
	t.Helper()
	rows, err := pool.Query(t.Context(), `
		SELECT cloud_event->'data'->'payload'->>'deadLetterId' FROM outbox
		WHERE topic = 'operations-events' AND cloud_event->>'type' = 'DEAD_LETTER_ARCHIVED' ORDER BY position`)
	require.NoError(t, err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return ids
}

var errBroken = errors.New("seat is broken")

func sale(id string) string { return delivery(id, "SEAT_SOLD", data("SEAT_SOLD", "1.0", `{"seat":7}`)) }

func TestWhatAlwaysFailsIsArchivedWithItsLastError(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	errs := []error{errors.New("seat is broken"), errors.New("row is broken\x00")}
	failures := 0
	url := serve(t, pool, func(context.Context, messaging.Event[sold]) error {
		failures++
		return errs[min(failures, len(errs))-1]
	})
	for range 3 {
		require.Equal(t, http.StatusInternalServerError, deliver(t, url+"/events/seat-sold", sale(eventID)))
	}
	archive(t, url, framed(t, "message-1", sale(eventID)))

	found := list(t, url, "?state=OPEN")
	require.Len(t, found, 1)
	require.WithinDuration(t, time.Now(), found[0].FirstSeen, time.Minute)
	require.Equal(t, letter{
		ID: found[0].ID, Queue: "seat-queue", EventID: eventID, EventType: "SEAT_SOLD", Reason: "row is broken\uFFFD", State: "OPEN",
		Times: 1, FirstSeen: found[0].FirstSeen, LastSeen: found[0].FirstSeen,
	}, found[0])
	shown := ask[letter](t, http.MethodGet, url+"/api/seats/admin/dead-letters/"+found[0].ID.String(), http.StatusOK)
	require.JSONEq(t, sale(eventID), shown.Body)
	require.Equal(t, []string{found[0].ID.String()}, alerts(t, pool))
}

func TestWhatCannotBeReadIsArchivedWithTheReason(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, body, id, reason string }{
		{"PayloadOfAnotherShape", delivery(eventID, "SEAT_SOLD", data("SEAT_SOLD", "1.0", `{"seat":"seven"}`)), eventID, "seat"},
		{"IDNotOurs", delivery("42", "SEAT_SOLD", data("SEAT_SOLD", "1.0", `{}`)), "42", "UUID"},
		{"NoID", `{"type":"SEAT_SOLD","data":{}}`, "", "no id"},
		{"NotJSON", `hello`, "", "invalid character"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pool := setup(t)
			url, got := consumer(t, pool, nil)
			require.Equal(t, http.StatusUnprocessableEntity, deliver(t, url+"/events/seat-sold", tt.body))
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
			failed := ask[failure](t, http.MethodPost, url+"/api/seats/admin/dead-letters/"+found[0].ID.String()+"/redrive", http.StatusConflict)
			require.Equal(t, "REDRIVE_FAILED", failed.Error)
			require.Empty(t, *got)
			require.Equal(t, "OPEN", list(t, url, "")[0].State)
		})
	}
}

// The sidecar had no handler yet, or the database was away: nothing is wrong with the event.
func TestWhatCanBeProcessedByNowIsNobodysWork(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	url, got := consumer(t, pool, nil)
	archive(t, url, sale(eventID)) // of a queue without the topic's frame
	require.Len(t, *got, 1)
	found := list(t, url, "?state=REDRIVEN")
	require.Len(t, found, 1)
	require.Equal(t, eventID, found[0].EventID)
	require.NotNil(t, found[0].HandledAt)
	require.Empty(t, alerts(t, pool))
}

func TestUnknownEventAmongDeadLettersIsRecorded(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	url, _ := consumer(t, pool, nil)
	archive(t, url, framed(t, "message-1", delivery(eventID, "SEAT_PAINTED", `{}`)))
	require.Equal(t, []string{eventID}, unknown(t, pool))
	require.Len(t, list(t, url, "?state=REDRIVEN"), 1)
}

// sweep does what the sidecar does every five minutes.
func sweep(t *testing.T, url string) {
	t.Helper()
	require.Equal(t, http.StatusOK, deliver(t, url+"/bindings/monitor-dead-letters", ""))
}

func TestSweepsTryAgainAFewTimes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		broken int32 // so many tries fail
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
			url := serve(t, pool, func(context.Context, messaging.Event[sold]) error {
				if tries.Add(1) <= tt.broken {
					return errors.New("the database is down")
				}
				return nil
			})
			archive(t, url, framed(t, "message-1", sale(eventID)))
			for range 5 {
				sweep(t, url)
			}
			found := list(t, url, "")
			require.Equal(t, tt.state, found[0].State)
			require.Equal(t, tt.tries, tries.Load())
			require.Equal(t, []string{found[0].ID.String()}, alerts(t, pool), "once, when it failed first")
		})
	}
}

// A process that dies in a try leaves what the try's beginning wrote: its count and its lease.
func TestWhatKillsTheProcessIsAlertedAndNotTriedForEver(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	began, die := make(chan struct{}), make(chan struct{})
	url := serve(t, pool, func(context.Context, messaging.Event[sold]) error {
		began <- struct{}{}
		<-die
		return nil
	})
	dead := make(chan struct{})
	go func() {
		defer close(dead)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/bindings/dead-letters", strings.NewReader(sale(eventID)))
		if err != nil {
			return
		}
		req.Header.Set("dapr-api-token", appAPIToken)
		if res, err := http.DefaultClient.Do(req); err == nil {
			_ = res.Body.Close()
		}
	}()
	<-began
	other := serve(t, pool, func(context.Context, messaging.Event[sold]) error { return errors.New("tried") })
	sweep(t, other)
	require.Empty(t, alerts(t, pool), "it is being tried")
	found := list(t, other, "?state=OPEN")
	require.Contains(t, found[0].Reason, "ended in the middle")

	_, err := pool.Exec(t.Context(), `UPDATE dead_letters SET redriven_until = '-infinity', tries = 3`) // which it did three times
	require.NoError(t, err)
	sweep(t, other)
	require.Equal(t, []string{found[0].ID.String()}, alerts(t, pool))
	require.Contains(t, list(t, other, "?state=OPEN")[0].Reason, "ended in the middle", "it was not tried")
	close(die)
	<-dead
}

func TestDeadLettersOfTheOrderedQueueAreTold(t *testing.T) {
	t.Parallel()
	url, _ := consumer(t, setup(t), nil)
	require.Equal(t, http.StatusOK, deliver(t, url+"/bindings/ordered-dead-letters", framed(t, "message-1", sale(eventID))))
	require.Equal(t, "seats.fifo", list(t, url, "")[0].Queue)
}

func TestUnknownEventsAreNoDeadLetters(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	url, _ := consumer(t, pool, nil)
	require.Equal(t, http.StatusOK, deliver(t, url+"/events/seat-sold", delivery(eventID, "SEAT_SOLD", data("SEAT_SOLD", "2.0", `{}`))))
	require.Equal(t, []string{eventID}, unknown(t, pool))
}

func TestArchiveTwice(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	url, got := consumer(t, pool, errBroken)
	archive(t, url, framed(t, "message-1", sale(eventID)))
	id := list(t, url, "")[0].ID.String()
	ask[letter](t, http.MethodPost, url+"/api/seats/admin/dead-letters/"+id+"/discard", http.StatusOK)

	// The sidecar could not delete it: the same message.
	archive(t, url, framed(t, "message-1", sale(eventID)))
	found := list(t, url, "?state=DISCARDED")
	require.Len(t, found, 1)
	require.Equal(t, 1, found[0].Times)
	require.Len(t, *got, 1, "and it is not tried again")

	// Published again, refused again.
	archive(t, url, framed(t, "message-2", sale(eventID)))
	found = list(t, url, "?state=OPEN")
	require.Len(t, found, 1)
	require.Equal(t, id, found[0].ID.String())
	require.Equal(t, 2, found[0].Times)
	require.True(t, found[0].LastSeen.After(found[0].FirstSeen))
	require.Nil(t, found[0].HandledAt)
	require.Len(t, *got, 2)
	require.Len(t, alerts(t, pool), 1, "operations heard of it within the hour")
}

func TestMonitorAlertsAgainOfWhatIsStillOpen(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	url := serve(t, pool, func(context.Context, messaging.Event[sold]) error { return errBroken })
	for range 3 {
		id := uuid.NewString()
		archive(t, url, framed(t, "message-"+id, sale(id)))
	}
	letters := list(t, url, "") // the newest first
	discarded, old := letters[0].ID.String(), letters[1].ID.String()
	ask[letter](t, http.MethodPost, url+"/api/seats/admin/dead-letters/"+discarded+"/discard", http.StatusOK)
	_, err := pool.Exec(t.Context(), `UPDATE dead_letters SET alerted_at = now() - interval '61 minutes' WHERE id IN ($1, $2)`, discarded, old)
	require.NoError(t, err)
	before := alerts(t, pool)
	require.Len(t, before, 3)

	var sweeps errgroup.Group // of all replicas at once
	for range 5 {
		sweeps.Go(func() error {
			if status := deliver(t, url+"/bindings/monitor-dead-letters", ""); status != http.StatusOK {
				return errors.New(strconv.Itoa(status))
			}
			return nil
		})
	}
	require.NoError(t, sweeps.Wait())
	require.Equal(t, append(before, old), alerts(t, pool))
}

func TestRedrive(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	var broken atomic.Bool
	broken.Store(true)
	url := serve(t, pool, func(ctx context.Context, e messaging.Event[sold]) error {
		if broken.Load() {
			return errors.New("still broken")
		}
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			_, err := messaging.FirstTx(ctx, tx, e.ID, e.EventType)
			return err
		})
	})
	archive(t, url, framed(t, "message-1", sale(eventID)))
	path := url + "/api/seats/admin/dead-letters/" + list(t, url, "")[0].ID.String()

	require.Equal(t, "REDRIVE_FAILED", ask[failure](t, http.MethodPost, path+"/redrive", http.StatusConflict).Error)
	require.Equal(t, "still broken", ask[letter](t, http.MethodGet, path, http.StatusOK).Reason)

	broken.Store(false)
	redriven := ask[letter](t, http.MethodPost, path+"/redrive", http.StatusOK)
	require.Equal(t, "REDRIVEN", redriven.State)
	require.NotNil(t, redriven.HandledAt)
	var processed int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM inbox WHERE event_id = $1`, eventID).Scan(&processed))
	require.Equal(t, 1, processed)
	for _, action := range []string{"/redrive", "/discard"} {
		require.Equal(t, "DEAD_LETTER_NOT_OPEN", ask[failure](t, http.MethodPost, path+action, http.StatusConflict).Error)
	}
}

func TestOfConcurrentRedrivesOneRuns(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	var runs atomic.Int32
	release := make(chan struct{})
	url := serve(t, pool, func(context.Context, messaging.Event[sold]) error {
		runs.Add(1)
		<-release
		return nil
	})
	broken, _ := consumer(t, pool, errBroken)
	archive(t, broken, framed(t, "message-1", sale(eventID)))
	path := url + "/api/seats/admin/dead-letters/" + list(t, url, "")[0].ID.String()
	const n = 8
	headers := as(t, identity.RoleAdmin)
	statuses := make(chan int, n)
	for range n {
		go func() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, path+"/redrive", nil)
			if err != nil {
				statuses <- 0
				return
			}
			req.Header.Set(headers[0], headers[1])
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				statuses <- 0
				return
			}
			_ = res.Body.Close()
			statuses <- res.StatusCode
		}()
	}
	for range n - 1 { // all but the one that runs
		require.Equal(t, http.StatusConflict, <-statuses)
	}
	require.Equal(t, "REDRIVE_RUNNING", ask[failure](t, http.MethodPost, path+"/discard", http.StatusConflict).Error)
	close(release)
	require.Equal(t, http.StatusOK, <-statuses)
	require.Equal(t, int32(1), runs.Load())
}

func TestRedriveAll(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	bad := uuid.NewString()
	var order []string
	url := serve(t, pool, func(_ context.Context, e messaging.Event[sold]) error {
		order = append(order, e.ID.String())
		if e.ID.String() == bad {
			return errors.New("bad")
		}
		return nil
	})
	ids := []string{uuid.NewString(), bad, uuid.NewString()}
	broken, _ := consumer(t, pool, errBroken)
	for _, id := range ids {
		archive(t, broken, framed(t, "message-"+id, sale(id)))
	}
	type result struct{ Redriven, Failed int }
	require.Equal(t, result{2, 1}, ask[result](t, http.MethodPost, url+"/api/seats/admin/dead-letters/redrive", http.StatusOK))
	require.Equal(t, ids, order, "the oldest first")
	require.Equal(t, result{0, 1}, ask[result](t, http.MethodPost, url+"/api/seats/admin/dead-letters/redrive", http.StatusOK))
	open := list(t, url, "?state=OPEN")
	require.Len(t, open, 1)
	require.Equal(t, bad, open[0].EventID)
}

func TestDeadLettersAreListedByPage(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	url, _ := consumer(t, pool, nil)
	ids := []string{uuid.NewString(), uuid.NewString(), uuid.NewString()}
	for _, id := range ids {
		archive(t, url, framed(t, "message-"+id, sale(id)))
	}
	var got []string
	query := "?limit=2"
	for {
		page := ask[lettersPage](t, http.MethodGet, url+"/api/seats/admin/dead-letters"+query, http.StatusOK)
		for _, l := range page.DeadLetters {
			got = append(got, l.EventID)
			require.Empty(t, l.Body)
		}
		if page.NextCursor == "" {
			break
		}
		query = "?limit=2&cursor=" + page.NextCursor
	}
	require.Equal(t, []string{ids[2], ids[1], ids[0]}, got)
	require.Equal(t, "state", ask[failure](t, http.MethodGet, url+"/api/seats/admin/dead-letters?state=LOST", http.StatusBadRequest).Field)
}

func TestDeadLettersAreForAdminsAndTheSidecar(t *testing.T) {
	t.Parallel()
	url, _ := consumer(t, setup(t), nil)
	letters := "/api/seats/admin/dead-letters"
	one := letters + "/" + uuid.NewString()
	for path, method := range map[string]string{
		letters: http.MethodGet, one: http.MethodGet, one + "/redrive": http.MethodPost, one + "/discard": http.MethodPost,
		letters + "/redrive": http.MethodPost,
	} {
		status, _ := do(t, method, url+path, "", as(t, identity.RoleOrganizer)...)
		require.Equal(t, http.StatusForbidden, status, path)
		status, _ = do(t, method, url+path, "")
		require.Equal(t, http.StatusUnauthorized, status, path)
	}
	for _, path := range []string{"/events/seat-sold", "/events/other", "/bindings/dead-letters", "/bindings/monitor-dead-letters"} {
		status, _ := do(t, http.MethodPost, url+path, "", as(t, identity.RoleAdmin)...)
		require.Equal(t, http.StatusUnauthorized, status, path)
	}
	for method, path := range map[string]string{http.MethodGet: one, http.MethodPost: one + "/redrive"} {
		require.Equal(t, "DEAD_LETTER_NOT_FOUND", ask[failure](t, method, url+path, http.StatusNotFound).Error)
	}
}
