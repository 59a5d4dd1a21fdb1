package httpapi_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
)

// affectedTickets returns the number of affected tickets in each EVENT_CANCELLED in the outbox.
func (b *bundle) affectedTickets(t *testing.T) []int {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `
		SELECT (cloud_event->'data'->'payload'->>'affectedTicketCount')::int FROM outbox
		WHERE cloud_event->>'type' = 'EVENT_CANCELLED' AND topic = 'event-events'`)
	require.NoError(t, err)
	counts, err := pgx.CollectRows(rows, pgx.RowTo[int])
	require.NoError(t, err)
	return counts
}

func TestCancelIsIdempotentAndPublishesTheTicketCount(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		change  string // SQL before the request
		answer  string // of ticket-service
		err     error
		tickets int // in EVENT_CANCELLED
	}{
		{"Draft", ``, ``, errors.New("must not be called"), 0},
		{
			"Published", setPublished, `{"eventId":"550e8400-e29b-41d4-a716-446655440000","ticketCount":150}`, nil, 150,
		},
		{"PublishedWithoutTickets", setPublished, `{"ticketCount":0}`, nil, 0},
		{"UnknownToTicketService", setPublished, ``, problem.New(problem.NotFound, "EVENT_NOT_FOUND", "no"), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.tickets.answer, b.tickets.err = tt.answer, tt.err
			id := b.createWith(t, tt.change)
			path := "/api/events/" + id + "/cancel"
			status, body := b.send(t, http.MethodPost, path, `{"reason":"Storm"}`, b.asOrganizer(t))
			require.Equal(t, http.StatusOK, status, body)
			want := strings.Replace(b.details(id, "CANCELLED"),
				`"CANCELLED"`, `"CANCELLED","cancellationReason":"Storm"`, 1)
			require.JSONEq(t, want, body)
			require.Equal(t, []int{tt.tickets}, b.affectedTickets(t))
			if tt.change == setPublished {
				count := "ticket-service GET /api/tickets/internal/events/" + id + "/ticket-count"
				require.Equal(t, []string{count}, b.tickets.requests)
			}

			// A second cancellation, for another reason, makes no call and changes nothing.
			before := len(b.tickets.requests)
			status, body = b.send(t, http.MethodPost, path, `{"reason":"Rain"}`, b.as(t, b.admin, identity.RoleAdmin))
			require.Equal(t, http.StatusOK, status)
			require.JSONEq(t, want, body)
			require.Len(t, b.tickets.requests, before)
			require.Equal(t, []int{tt.tickets}, b.affectedTickets(t))

			// Other services get only the fields of the contract.
			_, body = b.send(t, http.MethodGet, "/api/events/internal/"+id, "", from(t, "ticket-service"))
			require.JSONEq(t, b.details(id, "CANCELLED"), body)
		})
	}
}

func TestCancelChangesNothingIfTheTicketsCannotBeCounted(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		answer string // of ticket-service
		err    error
	}{
		{"NoAnswer", ``, sidecar.ErrUnavailable},
		{"Refused", ``, identity.ErrServiceForbidden},
		{"AnswerWithoutCount", `{}`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.tickets.answer, b.tickets.err = tt.answer, tt.err
			id := b.createWith(t, setPublished)
			status, body := b.send(t, http.MethodPost, "/api/events/"+id+"/cancel", `{"reason":"Storm"}`, b.asOrganizer(t))
			require.Equal(t, http.StatusServiceUnavailable, status, body)
			requireFailure(t, body, "SERVICE_UNAVAILABLE", "")
			require.Empty(t, b.affectedTickets(t))
			_, body = b.send(t, http.MethodGet, "/api/events/"+id, "", nil)
			require.JSONEq(t, b.details(id, "PUBLISHED"), body)
		})
	}
}

func TestCancelRejectsInvalidRequestsWithoutACall(t *testing.T) {
	t.Parallel()
	b := setup(t)
	t.Cleanup(func() { require.Empty(t, b.tickets.requests) })
	draft, published := b.create(t), b.createWith(t, setPublished)
	tooLong := `{"reason":"` + strings.Repeat("a", 501) + `"}`
	for _, tt := range []struct {
		name, id, body string
		user           uuid.UUID
		status         int
		code, field    string
	}{
		{"OthersDraft", draft, `{"reason":"Storm"}`, b.user, 404, "EVENT_NOT_FOUND", ""},
		{"OthersPublished", published, `{"reason":"Storm"}`, b.user, 403, "FORBIDDEN", ""},
		{"Unknown", uuid.NewString(), `{"reason":"Storm"}`, b.organizer, 404, "EVENT_NOT_FOUND", ""},
		{"NotAUUID", "mine", `{"reason":"Storm"}`, b.organizer, 400, "VALIDATION_ERROR", "eventId"},
		{"NoReason", published, `{}`, b.organizer, 400, "VALIDATION_ERROR", "reason"},
		{"ReasonTooLong", published, tooLong, b.organizer, 400, "VALIDATION_ERROR", "reason"},
		{"NoBody", published, ``, b.organizer, 400, "MALFORMED_JSON", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, http.MethodPost, "/api/events/"+tt.id+"/cancel", tt.body,
				b.as(t, tt.user, identity.RoleOrganizer))
			require.Equal(t, tt.status, status, body)
			requireFailure(t, body, tt.code, tt.field)
		})
	}
}
