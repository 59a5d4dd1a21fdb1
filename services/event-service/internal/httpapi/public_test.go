package httpapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/paging"
)

type list struct {
	Events     []struct{ EventID, Status string }
	NextCursor string
}

func (b *bundle) list(t *testing.T, path string, header http.Header) list {
	t.Helper()
	status, body := b.send(t, http.MethodGet, path, "", header)
	require.Equal(t, http.StatusOK, status, body)
	var l list
	require.NoError(t, json.Unmarshal([]byte(body), &l))
	return l
}

func TestGetHidesDraftsFromOthers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	draft, published := b.create(t), b.create(t)
	b.publish(t, published)
	for _, tt := range []struct {
		name, id string
		header   http.Header
		status   string // of the event; empty if it does not exist for the caller
	}{
		{"PublishedForAnonymous", published, nil, "PUBLISHED"},
		{"PublishedForAUser", published, b.as(t, b.user, identity.RoleUser), "PUBLISHED"},
		{"DraftForItsOrganizer", draft, b.asOrganizer(t), "DRAFT"},
		{"DraftForAnAdmin", draft, b.as(t, b.admin, identity.RoleAdmin), "DRAFT"},
		{"DraftForAnonymous", draft, nil, ""},
		{"DraftForAnotherOrganizer", draft, b.as(t, b.user, identity.RoleOrganizer), ""},
		{"Unknown", uuid.NewString(), nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, http.MethodGet, "/api/events/"+tt.id, "", tt.header)
			if tt.status == "" {
				require.Equal(t, http.StatusNotFound, status)
				require.JSONEq(t, `{"error":"EVENT_NOT_FOUND","message":"Event with ID `+tt.id+` not found"}`, body)
				return
			}
			require.Equal(t, http.StatusOK, status)
			require.JSONEq(t, b.details(tt.id, tt.status), body)
		})
	}
	for _, id := range []string{"1", "internal", "batch", "%00", strings.Repeat("a", 5000)} {
		t.Run("NotAUUID", func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, http.MethodGet, "/api/events/"+id, "", nil)
			require.Equal(t, http.StatusBadRequest, status)
			requireFailure(t, body, "VALIDATION_ERROR", "eventId")
		})
	}
}

func TestSearchFindsPublishedEvents(t *testing.T) {
	t.Parallel()
	b := setup(t)
	published := b.create(t)
	b.create(t) // a draft
	b.publish(t, published)
	for _, tt := range []struct {
		query string
		found int
	}{
		{"", 1},
		{"?category=MUSIC&q=amphitheater%20SUMMER&from=2099-07-15T20:00:00%2B02:00&to=2099-07-16T00:00:00Z&limit=1", 1},
		{"?category=SPORTS", 0},
		{"?q=winter", 0},
		{"?to=2099-07-15T18:00:00Z", 0},
		{"?from=2099-07-15T18:00:01Z", 0},
		{"?from=9999-12-31T23:59:59-23:00", 0},
		{"?from=0000-01-01T00:00:00%2B23:00", 1},
	} {
		t.Run(tt.query, func(t *testing.T) {
			t.Parallel()
			l := b.list(t, "/api/events"+tt.query, nil)
			require.Len(t, l.Events, tt.found)
			require.Empty(t, l.NextCursor)
			for _, e := range l.Events {
				require.Equal(t, published, e.EventID)
			}
		})
	}
	t.Run("EmptyParametersSelectAll", func(t *testing.T) {
		t.Parallel()
		status, body := b.sendUndocumented(t, http.MethodGet, "/api/events?category=&q=&from=&to=", nil)
		require.Equal(t, http.StatusOK, status, body)
		var l list
		require.NoError(t, json.Unmarshal([]byte(body), &l))
		require.Len(t, l.Events, 1)
		require.Equal(t, published, l.Events[0].EventID)
		require.Empty(t, l.NextCursor)
	})
	t.Run("NoResultIsAnEmptyArray", func(t *testing.T) {
		t.Parallel()
		_, body := b.send(t, http.MethodGet, "/api/events?q=winter", "", nil)
		require.JSONEq(t, `{"events":[]}`, body)
	})
}

func TestSearchNamesTheInvalidParameter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, tt := range []struct{ query, field string }{
		{"?category=OPERA", "category"},
		{"?q=a%00", "q"},
		{"?q=%ff", "q"},
		{"?q=" + strings.Repeat("a", 5000), "q"},
		{"?from=tomorrow", "from"},
		{"?to=2099-02-30T18:00:00Z", "to"},
		{"?from=2099-07-16T00:00:00Z&to=2099-07-15T00:00:00Z", "to"},
		{"?limit=0", "limit"},
		{"?limit=101", "limit"},
		{"?limit=many", "limit"},
		{"?cursor=%27%3BDROP", "cursor"},
	} {
		t.Run(tt.query[:min(40, len(tt.query))], func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, http.MethodGet, "/api/events"+tt.query, "", nil)
			require.Equal(t, http.StatusBadRequest, status, body)
			requireFailure(t, body, "VALIDATION_ERROR", tt.field)
		})
	}
}

func TestMineReturnsAllOwnEventsInPages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	want := map[string]string{}
	for i := range 5 {
		id := b.create(t)
		want[id] = "DRAFT"
		if i%2 == 0 {
			b.publish(t, id)
			want[id] = "PUBLISHED"
		}
	}
	got, path := map[string]string{}, "/api/events/mine?limit=2"
	for pages := 1; ; pages++ {
		l := b.list(t, path, b.asOrganizer(t))
		for _, e := range l.Events {
			got[e.EventID] = e.Status
		}
		if l.NextCursor == "" {
			require.Equal(t, 3, pages)
			break
		}
		path = "/api/events/mine?limit=2&cursor=" + l.NextCursor
	}
	require.Equal(t, want, got)
	require.Empty(t, b.list(t, "/api/events/mine", b.as(t, b.admin, identity.RoleAdmin)).Events)
}

// A page of long descriptions ends early, in a response of bounded size, and the next one continues there.
func TestPageIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const events = 90
	_, err := b.pool.Exec(t.Context(), `
		INSERT INTO events (organizer_id, name, description, event_date, venue_name, venue_address, category, image_url)
		SELECT $1, 'Event ' || n, repeat('<', 5000), now() + n * interval '1 day', 'Park', '1 Park Ave', 'MUSIC', ''
		FROM generate_series(1, $2) n`, b.organizer, events)
	require.NoError(t, err)
	got, path := map[string]bool{}, "/api/events/mine?limit=100"
	for pages := 1; ; pages++ {
		status, body := b.send(t, http.MethodGet, path, "", b.asOrganizer(t))
		require.Equal(t, http.StatusOK, status, body)
		require.Less(t, len(body), paging.MaxBytes+1000)
		var l list
		require.NoError(t, json.Unmarshal([]byte(body), &l))
		for _, e := range l.Events {
			got[e.EventID] = true
		}
		if l.NextCursor == "" {
			require.Equal(t, 3, pages)
			break
		}
		path = "/api/events/mine?limit=100&cursor=" + l.NextCursor
	}
	require.Len(t, got, events)
}
