package httpapi_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
)

func TestCheckAvailabilityReportsEachItem(t *testing.T) {
	t.Parallel()
	b := setup(t)
	vip, seat := b.newType(t, b.event, "VIP", "1"), b.newType(t, b.event, "Seat", "50")
	check := func(t *testing.T, items string) string {
		t.Helper()
		status, body := b.internal(t, "check-availability",
			`{"eventId":"`+b.event.String()+`","ticketRequests":[`+items+`]}`)
		require.Equal(t, http.StatusOK, status, body)
		return body
	}
	request := func(kind uuid.UUID, quantity string) string {
		return `{"ticketTypeId":"` + kind.String() + `","quantity":` + quantity + `}`
	}
	t.Run("Available", func(t *testing.T) {
		t.Parallel()
		require.JSONEq(t, `{"available":true,"ticketAvailability":[
			{"ticketTypeId":"`+seat.String()+`","available":true,"quantityAvailable":50,"quantityRequested":50},
			{"ticketTypeId":"`+vip.String()+`","available":true,"quantityAvailable":1,"quantityRequested":1}]}`,
			check(t, request(seat, "50")+","+request(vip, "1")))
	})
	t.Run("InsufficientInventory", func(t *testing.T) {
		t.Parallel()
		require.JSONEq(t, `{"available":false,"ticketAvailability":[
			{"ticketTypeId":"`+vip.String()+`","available":false,"quantityAvailable":1,"quantityRequested":2,
			 "error":"INSUFFICIENT_INVENTORY"},
			{"ticketTypeId":"`+seat.String()+`","available":true,"quantityAvailable":50,"quantityRequested":1}]}`,
			check(t, request(vip, "2")+","+request(seat, "1")))
	})
	t.Run("UnknownType", func(t *testing.T) {
		t.Parallel()
		unknown := uuid.New()
		require.JSONEq(t, `{"available":false,"ticketAvailability":[
			{"ticketTypeId":"`+unknown.String()+`","available":false,"quantityAvailable":0,"quantityRequested":1,
			 "error":"TICKET_TYPE_NOT_FOUND"}]}`,
			check(t, request(unknown, "1")))
	})
}

func TestReserveReturnsPricesAndExpiry(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind, id, user := b.newType(t, b.event, "VIP", "3"), uuid.New(), uuid.New()
	status, body := b.internal(t, "reserve", reserveBody(id, user, b.event, kind, "2"))
	require.Equal(t, http.StatusOK, status, body)
	var stamps struct{ ExpiresAt string }
	require.NoError(t, json.Unmarshal([]byte(body), &stamps))
	expiresAt, err := time.Parse(time.RFC3339, stamps.ExpiresAt)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(15*time.Minute), expiresAt, time.Minute)
	require.True(t, strings.HasSuffix(stamps.ExpiresAt, "Z"), "UTC")
	require.JSONEq(t, `{"reservationId":"`+id.String()+`","reserved":true,
		"expiresAt":"`+stamps.ExpiresAt+`","currency":"USD",
		"tickets":[{"ticketTypeId":"`+kind.String()+`","ticketTypeName":"VIP","quantity":2,
			"unitPrice":50.00,"totalPrice":100.00}]}`, body)
	require.Contains(t, body, `"unitPrice":50.00,"totalPrice":100.00`) // as many digits as the currency has

	t.Run("Repeated", func(t *testing.T) {
		status, again := b.internal(t, "reserve", reserveBody(id, user, b.event, kind, "2"))
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, body, again)
	})
	t.Run("InsufficientInventory", func(t *testing.T) {
		status, body := b.internal(t, "reserve", reserveBody(uuid.New(), user, b.event, kind, "2"))
		require.Equal(t, http.StatusConflict, status)
		require.JSONEq(t, `{"reserved":false,"error":"INSUFFICIENT_INVENTORY",
			"message":"Not enough tickets available"}`, body)
	})
	for _, tt := range []struct {
		name, body string
		status     int
		code       string
	}{
		{"OtherRequestWithSameID", reserveBody(id, user, b.event, kind, "1"), 409, "RESERVATION_ID_REUSED"},
		{"UnknownType", reserveBody(uuid.New(), user, b.event, uuid.New(), "1"), 404, "TICKET_TYPE_NOT_FOUND"},
		{"UnknownEvent", reserveBody(uuid.New(), user, uuid.New(), kind, "1"), 404, "EVENT_NOT_FOUND"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := b.internal(t, "reserve", tt.body)
			require.Equal(t, tt.status, status, body)
			requireFailure(t, body, tt.code, "")
			require.Contains(t, body, `"reserved":false`)
		})
	}
}

// A request that arrives before EVENT_PUBLISHED is not refused.
func TestReserveFetchesUnpublishedEvent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.services.set(b.event, "DRAFT", nil)
	kind := b.newType(t, b.event, "VIP", "10")
	reserve := func(t *testing.T) (int, string) {
		t.Helper()
		return b.internal(t, "reserve", reserveBody(uuid.New(), uuid.New(), b.event, kind, "1"))
	}

	status, body := reserve(t)
	require.Equal(t, http.StatusConflict, status)
	require.JSONEq(t, `{"reserved":false,"error":"EVENT_NOT_ON_SALE","message":"The event is not on sale"}`, body)

	for name, failure := range map[string]error{
		"EventServiceDown":    sidecar.ErrUnavailable,
		"EventServiceRefuses": problem.New(problem.Forbidden, "SERVICE_FORBIDDEN", "This service may not call this route"),
	} {
		t.Run(name, func(t *testing.T) {
			b.services.set(b.event, "PUBLISHED", failure)
			status, body := reserve(t)
			require.Equal(t, http.StatusServiceUnavailable, status)
			requireFailure(t, body, "SERVICE_UNAVAILABLE", "")
		})
	}

	b.services.set(b.event, "PUBLISHED", nil)
	status, body = reserve(t)
	require.Equal(t, http.StatusOK, status, body)

	// The event is stored now.
	b.services.set(b.event, "PUBLISHED", sidecar.ErrUnavailable)
	status, body = reserve(t)
	require.Equal(t, http.StatusOK, status, body)
}

// reserveMany sends n concurrent requests for a ticket each and returns the responses as they arrive.
func (b *bundle) reserveMany(t *testing.T, n int, kind uuid.UUID) <-chan *http.Response {
	t.Helper()
	header := from(t, "payment-service")
	responses := make(chan *http.Response, n)
	for range n {
		go func() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+"/api/tickets/internal/reserve",
				strings.NewReader(reserveBody(uuid.New(), uuid.New(), b.event, kind, "1")))
			if err == nil {
				req.Header = header.Clone()
				res, err := http.DefaultClient.Do(req)
				if err == nil {
					_ = res.Body.Close()
					responses <- res
					return
				}
			}
			responses <- &http.Response{Status: "no response"}
		}()
	}
	return responses
}

// Requests beyond the queue size are rejected with Retry-After. Queued requests are served before the server shuts
// down.
func TestReserveRejectsRequestsBeyondQueueSize(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, b.event, "Floor", "1000")
	status, body := b.internal(t, "reserve", reserveBody(uuid.New(), uuid.New(), b.event, kind, "1")) // stores the event
	require.Equal(t, http.StatusOK, status, body)
	tx, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT FROM ticket_types WHERE id = $1 FOR UPDATE`, kind)
	require.NoError(t, err)

	const excess = 5
	first := b.reserveMany(t, 1, kind) // waits for the lock
	require.Eventually(t, func() bool {
		var blocked bool
		err := b.pool.QueryRow(t.Context(), `
			SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid)))`,
			tx.Conn().PgConn().PID()).Scan(&blocked)
		return err == nil && blocked
	}, 10*time.Second, 5*time.Millisecond)
	rest := b.reserveMany(t, queueSize+excess, kind)
	for range excess {
		res := <-rest
		require.Equal(t, http.StatusTooManyRequests, res.StatusCode, res.Status)
		seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
		require.NoError(t, err)
		require.Positive(t, seconds)
	}
	status, body = b.internal(t, "reserve", reserveBody(uuid.New(), uuid.New(), b.event, kind, "1"))
	require.Equal(t, http.StatusTooManyRequests, status)
	requireFailure(t, body, "TOO_MANY_REQUESTS", "")

	stopped := make(chan error)
	go func() { stopped <- b.server.Config.Shutdown(t.Context()) }()
	require.NoError(t, tx.Rollback(t.Context()))
	require.Equal(t, http.StatusOK, (<-first).StatusCode)
	for range queueSize {
		res := <-rest
		require.Equal(t, http.StatusOK, res.StatusCode, res.Status)
	}
	require.NoError(t, <-stopped)
	types, err := b.store.Types(t.Context(), b.event)
	require.NoError(t, err)
	require.Equal(t, 1+1+queueSize, types[0].Held)
}

// Concurrent requests that arrive before EVENT_PUBLISHED share the calls of event-service.
func TestConcurrentReservesShareFetches(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.services.set(b.event, "DRAFT", nil)
	kind := b.newType(t, b.event, "VIP", "10")
	const buyers = 20
	b.services.mu.Lock() // delays the response of event-service
	before := len(b.services.paths)
	responses := b.reserveMany(t, buyers, kind)
	require.Never(t, func() bool { return len(responses) > 0 }, 200*time.Millisecond, 10*time.Millisecond)
	b.services.mu.Unlock()
	for range buyers {
		require.Equal(t, http.StatusConflict, (<-responses).StatusCode)
	}
	require.Less(t, len(b.services.paths)-before, buyers/2)
}

func TestConfirmPurchaseReturnsTickets(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind, id, user, order := b.newType(t, b.event, "VIP", "10"), uuid.New(), uuid.New(), uuid.New()
	status, body := b.internal(t, "reserve", reserveBody(id, user, b.event, kind, "2"))
	require.Equal(t, http.StatusOK, status, body)
	status, body = b.internal(t, "confirm-purchase", confirmBody(id, order, user))
	require.Equal(t, http.StatusOK, status, body)
	var confirmed struct{ Tickets []confirmedTicket }
	require.NoError(t, json.Unmarshal([]byte(body), &confirmed))
	require.Len(t, confirmed.Tickets, 2)
	ticketJSON := func(k confirmedTicket) string {
		require.Regexp(t, `^TKT-\d{4}-\d{6}$`, k.TicketNumber)
		return `{"ticketId":"` + k.TicketID.String() + `","ticketNumber":"` + k.TicketNumber + `",
			"qrCode":"` + publicURL.QRCode(k.TicketID) + `","ticketTypeId":"` + kind.String() + `"}`
	}
	require.JSONEq(t, `{"confirmed":true,"orderId":"`+order.String()+`","tickets":[
		`+ticketJSON(confirmed.Tickets[0])+`,`+ticketJSON(confirmed.Tickets[1])+`]}`, body)

	t.Run("Repeated", func(t *testing.T) {
		t.Parallel()
		status, again := b.internal(t, "confirm-purchase", confirmBody(id, order, user))
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, body, again)
	})
	t.Run("NotFound", func(t *testing.T) {
		t.Parallel()
		unknown := uuid.New()
		status, body := b.internal(t, "confirm-purchase", confirmBody(unknown, order, user))
		require.Equal(t, http.StatusNotFound, status)
		require.JSONEq(t, `{"confirmed":false,"error":"RESERVATION_NOT_FOUND",
			"message":"Reservation `+unknown.String()+` not found or expired"}`, body)
	})
	t.Run("OtherUser", func(t *testing.T) {
		t.Parallel()
		status, body := b.internal(t, "confirm-purchase", confirmBody(id, order, uuid.New()))
		require.Equal(t, http.StatusNotFound, status)
		require.JSONEq(t, `{"confirmed":false,"error":"RESERVATION_NOT_FOUND",
			"message":"Reservation `+id.String()+` not found or expired"}`, body)
	})
	t.Run("OtherOrder", func(t *testing.T) {
		t.Parallel()
		status, body := b.internal(t, "confirm-purchase", confirmBody(id, uuid.New(), user))
		require.Equal(t, http.StatusConflict, status)
		require.JSONEq(t, `{"confirmed":false,"error":"RESERVATION_COMPLETED",
			"message":"The reservation is already completed"}`, body)
	})
	t.Run("LateRelease", func(t *testing.T) {
		t.Parallel()
		status, body := b.internal(t, "release-reservation", releaseBody(id))
		require.Equal(t, http.StatusConflict, status)
		require.JSONEq(t, `{"released":false,"error":"RESERVATION_COMPLETED",
			"message":"The reservation is already completed"}`, body)
	})
	t.Run("Ticket", func(t *testing.T) {
		t.Parallel()
		k := confirmed.Tickets[0]
		status, body := b.send(t, http.MethodGet, "/api/tickets/internal/"+k.TicketID.String(), "",
			from(t, "notification-service"))
		require.Equal(t, http.StatusOK, status)
		var stamps struct{ CreatedAt string }
		require.NoError(t, json.Unmarshal([]byte(body), &stamps))
		require.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$`, stamps.CreatedAt)
		require.JSONEq(t, `{"ticketId":"`+k.TicketID.String()+`","ticketNumber":"`+k.TicketNumber+`",
			"ticketTypeId":"`+kind.String()+`","eventId":"`+b.event.String()+`","orderId":"`+order.String()+`",
			"holderName":"Ann O'Hara","qrCode":"`+publicURL.QRCode(k.TicketID)+`","status":"ACTIVE",
			"createdAt":"`+stamps.CreatedAt+`"}`, body)
	})
	t.Run("PDF", func(t *testing.T) {
		t.Parallel()
		path := "/api/tickets/internal/" + confirmed.Tickets[0].TicketID.String() + "/ticket.pdf"
		status, body := b.send(t, http.MethodGet, path, "", from(t, "notification-service"))
		require.Equal(t, http.StatusOK, status)
		require.True(t, strings.HasPrefix(body, "%PDF-"))
	})
	for _, path := range []string{uuid.NewString(), uuid.NewString() + "/ticket.pdf"} {
		t.Run("UnknownTicket", func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, http.MethodGet, "/api/tickets/internal/"+path, "",
				from(t, "notification-service"))
			require.Equal(t, http.StatusNotFound, status)
			require.JSONEq(t, `{"error":"TICKET_NOT_FOUND","message":"No such ticket"}`, body)
		})
	}
}

func TestReleaseReservationIsIdempotent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind, id, user := b.newType(t, b.event, "VIP", "2"), uuid.New(), uuid.New()
	status, body := b.internal(t, "reserve", reserveBody(id, user, b.event, kind, "2"))
	require.Equal(t, http.StatusOK, status, body)
	for range 2 {
		status, body := b.internal(t, "release-reservation", releaseBody(id))
		require.Equal(t, http.StatusOK, status, body)
		require.JSONEq(t, `{"released":true,"reservationId":"`+id.String()+`","ticketsReleased":2}`, body)
	}

	t.Run("BeforeReserve", func(t *testing.T) {
		t.Parallel()
		late := uuid.New()
		status, body := b.internal(t, "release-reservation", releaseBody(late))
		require.Equal(t, http.StatusOK, status)
		require.JSONEq(t, `{"released":true,"reservationId":"`+late.String()+`","ticketsReleased":0}`, body)
		status, body = b.internal(t, "reserve", reserveBody(late, user, b.event, kind, "1"))
		require.Equal(t, http.StatusConflict, status)
		require.JSONEq(t, `{"reserved":false,"error":"RESERVATION_ENDED",
			"message":"The reservation was released or has expired"}`, body)
	})
	t.Run("NoReason", func(t *testing.T) {
		t.Parallel()
		status, body := b.internal(t, "release-reservation", `{"reservationId":"`+id.String()+`"}`)
		require.Equal(t, http.StatusOK, status, body)
	})
	t.Run("TicketsAvailableAgain", func(t *testing.T) {
		t.Parallel()
		status, body := b.internal(t, "reserve", reserveBody(uuid.New(), user, b.event, kind, "2"))
		require.Equal(t, http.StatusOK, status, body)
	})
}

func TestExtendReservationReturnsNewExpiry(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind, id, user := b.newType(t, b.event, "VIP", "2"), uuid.New(), uuid.New()
	status, body := b.internal(t, "reserve", reserveBody(id, user, b.event, kind, "1"))
	require.Equal(t, http.StatusOK, status, body)
	request := func(id, minutes string) string { return `{"reservationId":"` + id + `","minutes":` + minutes + `}` }

	status, body = b.internal(t, "extend-reservation", request(id.String(), "25"))
	require.Equal(t, http.StatusOK, status, body)
	var extended struct {
		Extended      bool
		ReservationID uuid.UUID
		ExpiresAt     time.Time
	}
	require.NoError(t, json.Unmarshal([]byte(body), &extended))
	require.True(t, extended.Extended)
	require.Equal(t, id, extended.ReservationID)
	require.WithinDuration(t, time.Now().Add(25*time.Minute), extended.ExpiresAt, time.Minute)

	status, body = b.internal(t, "extend-reservation", request(uuid.NewString(), "5"))
	require.Equal(t, http.StatusNotFound, status, body)
	require.JSONEq(t, `{"extended":false,"error":"RESERVATION_NOT_FOUND",
		"message":"Reservation not found or expired"}`, body)
	for _, tt := range []struct{ name, id, minutes, field string }{
		{"BadID", "x", "5", "reservationId"},
		{"NoMinutes", id.String(), "0", "minutes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, body := b.internal(t, "extend-reservation", request(tt.id, tt.minutes))
			require.Equal(t, http.StatusBadRequest, status, body)
			requireFailure(t, body, "VALIDATION_ERROR", tt.field)
		})
	}
}

// A refusal because of the price has the current total, and holds nothing.
func TestReserveRefusesOtherTotalThanExpected(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind, id, user := b.newType(t, b.event, "VIP", "2"), uuid.New(), uuid.New()
	reserve := func(total string) (int, string) {
		return b.internal(t, "reserve", strings.Replace(reserveBody(id, user, b.event, kind, "2"), "{",
			`{"expectedTotal":`+total+`,`, 1))
	}
	status, body := b.send(t, http.MethodPatch, "/api/tickets/types/"+kind.String(), `{"price":60}`, b.asOrganizer(t))
	require.Equal(t, http.StatusOK, status, body)
	for range 2 {
		status, body := reserve("100.00")
		require.Equal(t, http.StatusConflict, status, body)
		require.JSONEq(t, `{"reserved":false,"error":"PRICE_CHANGED",
			"message":"The price has changed: the total is now 120.00 USD","currentTotal":120.00,"currency":"USD"}`, body)
		require.Contains(t, body, `"currentTotal":120.00`)
	}
	status, body = reserve(`"120.00"`)
	require.Equal(t, http.StatusBadRequest, status, body)
	requireFailure(t, body, "VALIDATION_ERROR", "expectedTotal")
	status, body = reserve("120.00") // all tickets are left
	require.Equal(t, http.StatusOK, status, body)
}

// From the start of an event on, nothing is offered or reserved, except types that are sold until later.
func TestStartedEventIsNotOnSale(t *testing.T) {
	t.Parallel()
	b := setup(t)
	floor, late := b.newType(t, b.event, "Floor", "10"), b.newType(t, b.event, "Late entry", "10")
	_, err := b.pool.Exec(t.Context(), `UPDATE events SET event_date = now()`)
	require.NoError(t, err)
	availability := func() (event bool, types map[uuid.UUID]bool) {
		status, body := b.send(t, http.MethodGet, "/api/tickets/events/"+b.event.String()+"/availability", "", nil)
		require.Equal(t, http.StatusOK, status, body)
		var out struct {
			OnSale      bool
			TicketTypes []struct {
				TicketTypeID uuid.UUID
				OnSale       bool
			}
		}
		require.NoError(t, json.Unmarshal([]byte(body), &out))
		types = map[uuid.UUID]bool{}
		for _, listed := range out.TicketTypes {
			types[listed.TicketTypeID] = listed.OnSale
		}
		return out.OnSale, types
	}
	event, types := availability()
	require.False(t, event)
	require.Equal(t, map[uuid.UUID]bool{floor: false, late: false}, types)
	status, body := b.internal(t, "reserve", reserveBody(uuid.New(), uuid.New(), b.event, floor, "1"))
	require.Equal(t, http.StatusConflict, status, body)
	requireFailure(t, body, "SALES_ENDED", "")
	require.Contains(t, body, `"reserved":false`)
	status, body = b.internal(t, "check-availability", `{"eventId":"`+b.event.String()+`","ticketRequests":[
		{"ticketTypeId":"`+floor.String()+`","quantity":1}]}`)
	require.Equal(t, http.StatusOK, status, body)
	require.JSONEq(t, `{"available":false,"ticketAvailability":[{"ticketTypeId":"`+floor.String()+`",
		"available":false,"quantityAvailable":10,"quantityRequested":1,"error":"SALES_ENDED"}]}`, body)

	status, body = b.send(t, http.MethodPatch, "/api/tickets/types/"+late.String(),
		`{"salesEnd":"2099-01-01T00:00:00Z"}`, b.asOrganizer(t))
	require.Equal(t, http.StatusOK, status, body)
	event, types = availability()
	require.True(t, event)
	require.Equal(t, map[uuid.UUID]bool{floor: false, late: true}, types)
	status, body = b.internal(t, "reserve", reserveBody(uuid.New(), uuid.New(), b.event, late, "1"))
	require.Equal(t, http.StatusOK, status, body)
}

// A refusal because of the terms of sale has the contract's form.
func TestReserveChecksTermsOfSale(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, b.event, "VIP", "10")
	for _, tt := range []struct{ name, terms, code string }{
		{"NotStarted", `{"salesStart":"2099-01-01T00:00:00Z","salesEnd":null}`, "SALES_NOT_STARTED"},
		{"Ended", `{"salesStart":null,"salesEnd":"2024-01-01T00:00:00Z"}`, "SALES_ENDED"},
		{"TooManyForOneOrder", `{"salesEnd":null,"maxPerOrder":1}`, "ORDER_LIMIT_EXCEEDED"},
		{"TooManyForOnePerson", `{"maxPerOrder":null,"maxPerPerson":1}`, "PERSON_LIMIT_EXCEEDED"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := b.send(t, http.MethodPatch, "/api/tickets/types/"+kind.String(), tt.terms, b.asOrganizer(t))
			require.Equal(t, http.StatusOK, status, body)
			status, body = b.internal(t, "reserve", reserveBody(uuid.New(), uuid.New(), b.event, kind, "2"))
			require.Equal(t, http.StatusConflict, status, body)
			requireFailure(t, body, tt.code, "")
			require.Contains(t, body, `"reserved":false`)
		})
	}
	status, body := b.internal(t, "reserve", reserveBody(uuid.New(), uuid.New(), b.event, kind, "1"))
	require.Equal(t, http.StatusOK, status, body)
}
