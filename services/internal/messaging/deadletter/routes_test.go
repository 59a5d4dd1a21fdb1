package deadletter_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging/inbox"
	"github.com/eventbooking/eventbooking/services/internal/messaging/messagingtest"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
)

func TestRedriveClosesADeadLetterThatSucceeds(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	var broken atomic.Bool
	broken.Store(true)
	url := serve(t, pool, func(ctx context.Context, e inbox.Event[messagingtest.Sold]) error {
		if broken.Load() {
			return errors.New("still broken")
		}
		return postgres.InTx(ctx, pool, func(tx pgx.Tx) error {
			_, err := inbox.FirstTx(ctx, tx, e.ID, e.EventType)
			return err
		})
	})
	archive(t, url, framed(t, "message-1", messagingtest.Sale(eventID)))
	path := url + "/api/seats/admin/dead-letters/" + list(t, url, "")[0].ID.String()

	require.Equal(t, "REDRIVE_FAILED", ask[failure](t, http.MethodPost, path+"/redrive", http.StatusConflict).Error)
	require.Equal(t, "still broken", ask[letter](t, http.MethodGet, path, http.StatusOK).Reason)

	broken.Store(false)
	redriven := ask[letter](t, http.MethodPost, path+"/redrive", http.StatusOK)
	require.Equal(t, "REDRIVEN", redriven.State)
	require.NotNil(t, redriven.HandledAt)
	var processed int
	require.NoError(t, pool.QueryRow(t.Context(),
		`SELECT count(*) FROM inbox WHERE event_id = $1`, eventID).Scan(&processed))
	require.Equal(t, 1, processed)
	for _, action := range []string{"/redrive", "/discard"} {
		require.Equal(t, "DEAD_LETTER_NOT_OPEN", ask[failure](t, http.MethodPost, path+action, http.StatusConflict).Error)
	}
}

func TestOneOfConcurrentRedrivesRuns(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	var runs atomic.Int32
	release := make(chan struct{})
	url := serve(t, pool, func(context.Context, inbox.Event[messagingtest.Sold]) error {
		runs.Add(1)
		<-release
		return nil
	})
	broken, _ := record(t, pool, errBroken)
	archive(t, broken, framed(t, "message-1", messagingtest.Sale(eventID)))
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

func TestRedriveAllReportsHowManyFailed(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	bad := uuid.NewString()
	var order []string
	url := serve(t, pool, func(_ context.Context, e inbox.Event[messagingtest.Sold]) error {
		order = append(order, e.ID.String())
		if e.ID.String() == bad {
			return errors.New("bad")
		}
		return nil
	})
	ids := []string{uuid.NewString(), bad, uuid.NewString()}
	broken, _ := record(t, pool, errBroken)
	for _, id := range ids {
		archive(t, broken, framed(t, "message-"+id, messagingtest.Sale(id)))
	}
	type result struct{ Redriven, Failed int }
	redrive := url + "/api/seats/admin/dead-letters/redrive"
	require.Equal(t, result{2, 1}, ask[result](t, http.MethodPost, redrive, http.StatusOK))
	require.Equal(t, ids, order, "the oldest first")
	require.Equal(t, result{0, 1}, ask[result](t, http.MethodPost, redrive, http.StatusOK))
	open := list(t, url, "?state=OPEN")
	require.Len(t, open, 1)
	require.Equal(t, bad, open[0].EventID)
}

func TestDeadLettersAreListedByPage(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	url, _ := record(t, pool, nil)
	ids := []string{uuid.NewString(), uuid.NewString(), uuid.NewString()}
	for _, id := range ids {
		archive(t, url, framed(t, "message-"+id, messagingtest.Sale(id)))
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
	lost := url + "/api/seats/admin/dead-letters?state=LOST"
	require.Equal(t, "state", ask[failure](t, http.MethodGet, lost, http.StatusBadRequest).Field)
}

func TestDeadLettersAreForAdminsAndTheSidecar(t *testing.T) {
	t.Parallel()
	url, _ := record(t, setup(t), nil)
	letters := "/api/seats/admin/dead-letters"
	one := letters + "/" + uuid.NewString()
	for path, method := range map[string]string{
		letters: http.MethodGet, one: http.MethodGet, one + "/redrive": http.MethodPost, one + "/discard": http.MethodPost,
		letters + "/redrive": http.MethodPost,
	} {
		status, _ := messagingtest.Do(t, method, url+path, "", as(t, identity.RoleOrganizer)...)
		require.Equal(t, http.StatusForbidden, status, path)
		status, _ = messagingtest.Do(t, method, url+path, "")
		require.Equal(t, http.StatusUnauthorized, status, path)
	}
	for _, binding := range []string{"dead-letters", "ordered-dead-letters", "monitor-dead-letters"} {
		path := "/bindings/" + binding
		status, _ := messagingtest.Do(t, http.MethodPost, url+path, "", as(t, identity.RoleAdmin)...)
		require.Equal(t, http.StatusUnauthorized, status, path)
	}
	for method, path := range map[string]string{http.MethodGet: one, http.MethodPost: one + "/redrive"} {
		require.Equal(t, "DEAD_LETTER_NOT_FOUND", ask[failure](t, method, url+path, http.StatusNotFound).Error)
	}
}
