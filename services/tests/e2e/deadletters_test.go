package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
)

// deadLetter is an event that could not be processed, as an administrator sees it.
type deadLetter struct {
	ID      uuid.UUID `json:"deadLetterId"`
	EventID string    `json:"eventId"`
	Reason  string    `json:"reason"`
	State   string    `json:"state"`
	Times   int       `json:"times"`
}

// The events fail as in production: the queue delivers them three times, thirty seconds apart, and then moves them to
// the dead-letter queue.
func TestRefusedEventBecomesADeadLetterThatCanBeRedriven(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db, err := pgx.Connect(ctx, system.DatabaseURL("analytics-service"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close(ctx)) })

	// analytics-service cannot store this event until the trigger is dropped.
	event := uuid.New()
	trigger := "refuse_" + strings.ReplaceAll(event.String(), "-", "")
	_, err = db.Exec(ctx, fmt.Sprintf(`
		CREATE FUNCTION %[1]s() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused by the test'; END $$;
		CREATE TRIGGER %[1]s BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.id = '%[2]s') EXECUTE FUNCTION %[1]s()`,
		trigger, event))
	require.NoError(t, err)

	failing, malformed := uuid.NewString(), uuid.NewString()
	publishEvent(t, failing, fmt.Sprintf(`{"eventId": %q, "organizerId": %q, "eventName": "Refused",
		"eventDate": "2030-07-15T18:00:00Z", "venueName": "Hall", "category": "MUSIC", "status": "DRAFT",
		"updatedAt": "2024-01-15T10:30:00Z"}`, event, uuid.New()))
	publishEvent(t, malformed, `{"eventId": 7}`)

	c := client(t)
	var admin struct {
		AccessToken demo.Token `json:"accessToken"`
	}
	secrets, err := os.ReadFile(filepath.Join(system.DataDir(), "secrets.json"))
	require.NoError(t, err)
	var secret map[string]string
	require.NoError(t, json.Unmarshal(secrets, &secret))
	require.NoError(t, c.Do(ctx, post("auth-service", "/api/auth/login", "", map[string]string{
		"email": "admin@eventbooking.example", "password": secret["auth-service-admin-password"],
	}), &admin))

	letters := map[string]deadLetter{}
	const path = "/api/analytics/admin/dead-letters"
	require.Eventually(t, func() bool {
		var page struct {
			DeadLetters []deadLetter `json:"deadLetters"`
		}
		err := c.Do(ctx, get("analytics-service", path+"?state=OPEN&limit=100", admin.AccessToken), &page)
		if err != nil {
			t.Log(err)
			return false
		}
		for _, l := range page.DeadLetters {
			letters[l.EventID] = l
		}
		return letters[failing].ID != uuid.Nil && letters[malformed].ID != uuid.Nil
	}, 4*time.Minute, time.Second)
	require.Contains(t, letters[failing].Reason, "refused by the test")
	require.Contains(t, letters[malformed].Reason, "MALFORMED_EVENT")
	require.Equal(t, 1, letters[failing].Times)

	redrive := post("analytics-service", path+"/"+letters[failing].ID.String()+"/redrive", admin.AccessToken, nil)
	require.Equal(t, "REDRIVE_FAILED", refusal(t, c, redrive).Code)
	_, err = db.Exec(ctx, fmt.Sprintf(`DROP TRIGGER %[1]s ON events; DROP FUNCTION %[1]s()`, trigger))
	require.NoError(t, err)
	var redriven deadLetter
	require.NoError(t, c.Do(ctx, redrive, &redriven))
	require.Equal(t, "REDRIVEN", redriven.State)
	require.Equal(t, "DEAD_LETTER_NOT_OPEN", refusal(t, c, redrive).Code)
	var known, processed int
	require.NoError(t, db.QueryRow(ctx, `
		SELECT (SELECT count(*) FROM events WHERE id = $1), (SELECT count(*) FROM inbox WHERE event_id = $2)`,
		event, failing).Scan(&known, &processed))
	require.Equal(t, 1, known)
	require.Equal(t, 1, processed)

	discard := post("analytics-service", path+"/"+letters[malformed].ID.String()+"/discard", admin.AccessToken, nil)
	require.NoError(t, c.Do(ctx, discard, nil))
	// Each of the two raises an alert to operations.
	require.Eventually(t, func() bool {
		var alerts int
		err := db.QueryRow(ctx, `
			SELECT count(*) FROM outbox WHERE published_at IS NOT NULL AND topic = 'operations-events'
			AND cloud_event->'data'->'payload'->>'eventId' IN ($1, $2)`, failing, malformed).Scan(&alerts)
		return err == nil && alerts == 2
	}, 30*time.Second, time.Second)
}

// publishEvent publishes an EVENT_CREATED with the payload through event-service's sidecar. event-service itself does
// not know the event.
func publishEvent(t *testing.T, id, payload string) {
	t.Helper()
	body := fmt.Sprintf(`{"specversion": "1.0", "id": %q, "source": "event-service", "type": "EVENT_CREATED",
		"subject": "test",
		"time": "2024-01-15T10:30:00Z", "datacontenttype": "application/json", "correlationid": "e2e", "data": {
		"eventType": "EVENT_CREATED", "version": "1.0", "timestamp": "2024-01-15T10:30:00Z", "correlationId": "e2e",
		"payload": %s}}`, id, payload)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		system.App("event-service").SidecarURL()+"/v1.0/publish/pubsub/event-events", strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/cloudevents+json")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusNoContent, res.StatusCode)
}
