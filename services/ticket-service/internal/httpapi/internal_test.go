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
	"github.com/eventbooking/eventbooking/services/internal/web"
)

func TestCheckAvailability(t *testing.T) {
	t.Parallel()
	b := setup(t)
	vip, seat := b.newType(t, b.event, "VIP", "1"), b.newType(t, b.event, "Seat", "50")
	ask := func(t *testing.T, lines string) string {
		t.Helper()
		status, body := b.internal(t, "check-availability", `{"eventId":"`+b.event.String()+`","ticketRequests":[`+lines+`]}`)
		require.Equal(t, http.StatusOK, status, body)
		return body
	}
	want := func(kind uuid.UUID, quantity string) string {
		return `{"ticketTypeId":"` + kind.String() + `","quantity":` + quantity + `}`
	}
	t.Run("Available", func(t *testing.T) {
		t.Parallel()
		require.JSONEq(t, `{"available":true,"ticketAvailability":[
			{"ticketTypeId":"`+seat.String()+`","available":true,"quantityAvailable":50,"quantityRequested":50},
			{"ticketTypeId":"`+vip.String()+`","available":true,"quantityAvailable":1,"quantityRequested":1}]}`,
			ask(t, want(seat, "50")+","+want(vip, "1")))
	})
	t.Run("InsufficientInventory", func(t *testing.T) {
		t.Parallel()
		require.JSONEq(t, `{"available":false,"ticketAvailability":[
			{"ticketTypeId":"`+vip.String()+`","available":false,"quantityAvailable":1,"quantityRequested":2,"error":"INSUFFICIENT_INVENTORY"},
			{"ticketTypeId":"`+seat.String()+`","available":true,"quantityAvailable":50,"quantityRequested":1}]}`,
			ask(t, want(vip, "2")+","+want(seat, "1")))
	})
	t.Run("UnknownType", func(t *testing.T) {
		t.Parallel()
		unknown := uuid.New()
		require.JSONEq(t, `{"available":false,"ticketAvailability":[
			{"ticketTypeId":"`+unknown.String()+`","available":false,"quantityAvailable":0,"quantityRequested":1,"error":"TICKET_TYPE_NOT_FOUND"}]}`,
			ask(t, want(unknown, "1")))
	})
}

func TestReserve(t *testing.T) {
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
	require.JSONEq(t, `{"reservationId":"`+id.String()+`","reserved":true,"expiresAt":"`+stamps.ExpiresAt+`","currency":"USD",
		"tickets":[{"ticketTypeId":"`+kind.String()+`","quantity":2,"unitPrice":50.00,"totalPrice":100.00}]}`, body)
	require.Contains(t, body, `"unitPrice":50.00,"totalPrice":100.00`) // all digits of the currency

	t.Run("SameAgain", func(t *testing.T) {
		status, again := b.internal(t, "reserve", reserveBody(id, user, b.event, kind, "2"))
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, body, again)
	})
	t.Run("InsufficientInventory", func(t *testing.T) {
		status, body := b.internal(t, "reserve", reserveBody(uuid.New(), user, b.event, kind, "2"))
		require.Equal(t, http.StatusConflict, status)
		require.JSONEq(t, `{"reserved":false,"error":"INSUFFICIENT_INVENTORY","message":"Not enough tickets available"}`, body)
	})
	for _, tt := range []struct {
		name, body string
		status     int
		code       string
	}{
		{"OtherRequestUnderTheID", reserveBody(id, user, b.event, kind, "1"), 409, "RESERVATION_ID_REUSED"},
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

// A buyer who is faster than EVENT_PUBLISHED is not turned down for it.
func TestReserveAsksForTheEvent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.events.say(b.event, "DRAFT", nil)
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
			b.events.say(b.event, "PUBLISHED", failure)
			status, body := reserve(t)
			require.Equal(t, http.StatusServiceUnavailable, status)
			requireFailure(t, body, "SERVICE_UNAVAILABLE", "")
		})
	}

	b.events.say(b.event, "PUBLISHED", nil)
	status, body = reserve(t)
	require.Equal(t, http.StatusOK, status, body)

	// From here on the event is known.
	b.events.say(b.event, "PUBLISHED", sidecar.ErrUnavailable)
	status, body = reserve(t)
	require.Equal(t, http.StatusOK, status, body)
}

// crowd has that many people reserve a ticket at once, and gives what they hear.
func (b *bundle) crowd(t *testing.T, n int, kind uuid.UUID) <-chan *http.Response {
	t.Helper()
	header := from(t, "payment-service")
	answers := make(chan *http.Response, n)
	for range n {
		go func() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+"/api/tickets/internal/reserve",
				strings.NewReader(reserveBody(uuid.New(), uuid.New(), b.event, kind, "1")))
			if err == nil {
				req.Header = header.Clone()
				res, err := http.DefaultClient.Do(req)
				if err == nil {
					_ = res.Body.Close()
					answers <- res
					return
				}
			}
			answers <- &http.Response{Status: "no answer"}
		}()
	}
	return answers
}

// Whoever finds too many others before them is told when to come again, and all who wait are served before the server is gone.
func TestReserveInACrowd(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, b.event, "Floor", "1000")
	status, body := b.internal(t, "reserve", reserveBody(uuid.New(), uuid.New(), b.event, kind, "1")) // the event is known from now on
	require.Equal(t, http.StatusOK, status, body)
	tx, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT FROM ticket_types WHERE id = $1 FOR UPDATE`, kind)
	require.NoError(t, err)

	const tooMany = 5
	first := b.crowd(t, 1, kind) // whose batch cannot go on
	require.Eventually(t, func() bool {
		var blocked bool
		err := b.pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid)))`,
			tx.Conn().PgConn().PID()).Scan(&blocked)
		return err == nil && blocked
	}, 10*time.Second, 5*time.Millisecond)
	rest := b.crowd(t, lineLimit+tooMany, kind)
	for range tooMany {
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
	for range lineLimit {
		res := <-rest
		require.Equal(t, http.StatusOK, res.StatusCode, res.Status)
	}
	require.NoError(t, <-stopped)
	types, err := b.store.Types(t.Context(), b.event)
	require.NoError(t, err)
	require.Equal(t, 1+1+lineLimit, types[0].Held)
}

// A crowd that is faster than EVENT_PUBLISHED is none to event-service.
func TestReserveAsksForACrowd(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.events.say(b.event, "DRAFT", nil)
	kind := b.newType(t, b.event, "VIP", "10")
	const crowd = 20
	b.events.mu.Lock() // the answer takes its time
	before := len(b.events.asked)
	answers := b.crowd(t, crowd, kind)
	require.Never(t, func() bool { return len(answers) > 0 }, 200*time.Millisecond, 10*time.Millisecond)
	b.events.mu.Unlock()
	for range crowd {
		require.Equal(t, http.StatusConflict, (<-answers).StatusCode)
	}
	require.Less(t, len(b.events.asked)-before, crowd/2)
}

func TestConfirmPurchase(t *testing.T) {
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

	t.Run("SameAgain", func(t *testing.T) {
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
	t.Run("SomebodyElses", func(t *testing.T) {
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
		require.JSONEq(t, `{"confirmed":false,"error":"RESERVATION_COMPLETED","message":"The reservation is already completed"}`, body)
	})
	t.Run("ReleaseAfterIt", func(t *testing.T) {
		t.Parallel()
		status, body := b.internal(t, "release-reservation", releaseBody(id))
		require.Equal(t, http.StatusConflict, status)
		require.JSONEq(t, `{"released":false,"error":"RESERVATION_COMPLETED","message":"The reservation is already completed"}`, body)
	})
	t.Run("Ticket", func(t *testing.T) {
		t.Parallel()
		k := confirmed.Tickets[0]
		status, body := b.send(t, http.MethodGet, "/api/tickets/internal/"+k.TicketID.String(), "", from(t, "notification-service"))
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
		status, body := b.send(t, http.MethodGet, "/api/tickets/internal/"+confirmed.Tickets[0].TicketID.String()+"/ticket.pdf", "", from(t, "notification-service"))
		require.Equal(t, http.StatusOK, status)
		require.True(t, strings.HasPrefix(body, "%PDF-"))
	})
	for _, path := range []string{uuid.NewString(), uuid.NewString() + "/ticket.pdf"} {
		t.Run("NoSuchTicket", func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, http.MethodGet, "/api/tickets/internal/"+path, "", from(t, "notification-service"))
			require.Equal(t, http.StatusNotFound, status)
			require.JSONEq(t, `{"error":"TICKET_NOT_FOUND","message":"No such ticket"}`, body)
		})
	}
}

func TestReleaseReservation(t *testing.T) {
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
		require.JSONEq(t, `{"reserved":false,"error":"RESERVATION_ENDED","message":"The reservation was released or has expired"}`, body)
	})
	t.Run("NoReason", func(t *testing.T) {
		t.Parallel()
		status, body := b.internal(t, "release-reservation", `{"reservationId":"`+id.String()+`"}`)
		require.Equal(t, http.StatusOK, status, body)
	})
	t.Run("TicketsAreOnSaleAgain", func(t *testing.T) {
		t.Parallel()
		status, body := b.internal(t, "reserve", reserveBody(uuid.New(), user, b.event, kind, "2"))
		require.Equal(t, http.StatusOK, status, body)
	})
}

// Every holder of a valid ticket is listed once for an order, whatever the pages.
func TestHolders(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind, ann, bob := b.newType(t, b.event, "VIP", "20"), uuid.New(), uuid.New()
	type holder struct {
		UserID, OrderID uuid.UUID
		TicketCount     int
	}
	order := func(k confirmedTicket) uuid.UUID { return b.ticket(t, k.TicketID).OrderID }
	first, second, void := b.buy(t, ann, kind, "3"), b.buy(t, ann, kind, "1"), b.buy(t, ann, kind, "1")
	_, err := b.store.Transfer(t.Context(), first[0].TicketID, ann, bob, "Bob Lee")
	require.NoError(t, err)
	_, err = b.store.Cancel(t.Context(), void[0].TicketID, ann, "")
	require.NoError(t, err)
	want := []holder{{ann, order(first[0]), 2}, {bob, order(first[0]), 1}, {ann, order(second[0]), 1}}

	for _, limit := range []string{"1", "2", "20"} {
		var got []holder
		path := "/api/tickets/internal/events/" + b.event.String() + "/holders?limit=" + limit
		for cursor := ""; ; {
			status, body := b.send(t, http.MethodGet, path+cursor, "", from(t, "notification-service"))
			require.Equal(t, http.StatusOK, status, body)
			var page struct {
				Holders    []holder
				NextCursor string
			}
			require.NoError(t, json.Unmarshal([]byte(body), &page))
			got = append(got, page.Holders...)
			if page.NextCursor == "" {
				break
			}
			cursor = "&cursor=" + page.NextCursor
		}
		require.ElementsMatch(t, want, got)
	}
	status, body := b.send(t, http.MethodGet, "/api/tickets/internal/events/"+uuid.NewString()+"/holders", "", from(t, "notification-service"))
	require.Equal(t, http.StatusOK, status, body)
	require.JSONEq(t, `{"holders":[]}`, body)
}

func TestExtendReservation(t *testing.T) {
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
	require.JSONEq(t, `{"extended":false,"error":"RESERVATION_NOT_FOUND","message":"Reservation not found or expired"}`, body)
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

// A refusal because of what the organizer says of sales has the contract's form.
func TestReserveKeepsToTheTerms(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, b.event, "VIP", "10")
	for _, tt := range []struct{ name, terms, code string }{
		{"NotStarted", `{"salesStart":"2099-01-01T00:00:00Z","salesEnd":null}`, "SALES_NOT_STARTED"},
		{"Ended", `{"salesStart":null,"salesEnd":"2024-01-01T00:00:00Z"}`, "SALES_ENDED"},
		{"TooManyForOneOrder", `{"salesEnd":null,"maxPerOrder":1}`, "ORDER_LIMIT_EXCEEDED"},
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

func TestCancelRefunded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind, user := b.newType(t, b.event, "VIP", "10"), uuid.New()
	tickets := b.buy(t, user, kind, "3")
	order := b.ticket(t, tickets[0].TicketID).OrderID
	request := func(order, ticketIDs string) string {
		return `{"orderId":"` + order + `",` + ticketIDs + `"refundKey":"refund-1","reason":"Seats double-booked"}`
	}
	some := func(ids ...uuid.UUID) string {
		list, err := json.Marshal(ids)
		require.NoError(t, err)
		return `"ticketIds":` + string(list) + `,`
	}
	item := func(k confirmedTicket) string {
		return `{"ticketId":"` + k.TicketID.String() + `","ticketTypeId":"` + kind.String() + `"}`
	}
	for range 2 {
		status, body := b.internal(t, "cancel", request(order.String(), some(tickets[0].TicketID)))
		require.Equal(t, http.StatusOK, status, body)
		require.JSONEq(t, `{"cancelled":true,"orderId":"`+order.String()+`","tickets":[`+item(tickets[0])+`]}`, body)
	}
	t.Run("OneIsOfAnotherOrder", func(t *testing.T) {
		status, body := b.internal(t, "cancel", request(order.String(), some(tickets[1].TicketID, uuid.New())))
		require.Equal(t, http.StatusNotFound, status, body)
		requireFailure(t, body, "TICKET_NOT_FOUND", "")
		require.Contains(t, body, `"cancelled":false`)
	})
	for range 2 {
		status, body := b.internal(t, "cancel", request(order.String(), ""))
		require.Equal(t, http.StatusOK, status, body)
		var whole struct{ Tickets []confirmedTicket }
		require.NoError(t, json.Unmarshal([]byte(body), &whole))
		require.Len(t, whole.Tickets, 3)
	}
	_, body := b.send(t, http.MethodGet, "/api/tickets/events/"+b.event.String()+"/availability", "", nil)
	require.Contains(t, body, `"quantityAvailable":10`)

	t.Run("OneWasUsed", func(t *testing.T) {
		used := b.ticket(t, b.buy(t, user, kind, "1")[0].TicketID)
		_, err := b.store.CheckIn(t.Context(), used.ID, 1, "")
		require.NoError(t, err)
		status, body := b.internal(t, "cancel", request(used.OrderID.String(), ""))
		require.Equal(t, http.StatusConflict, status, body)
		requireFailure(t, body, "TICKET_USED", "")
		require.Contains(t, body, `"cancelled":false`)
	})
	t.Run("OvertakesThePayment", func(t *testing.T) {
		reservation, order := uuid.New(), uuid.New()
		status, body := b.internal(t, "reserve", reserveBody(reservation, user, b.event, kind, "1"))
		require.Equal(t, http.StatusOK, status, body)
		status, body = b.internal(t, "cancel", request(order.String(), ""))
		require.Equal(t, http.StatusOK, status, body)
		require.JSONEq(t, `{"cancelled":true,"orderId":"`+order.String()+`","tickets":[]}`, body)
		status, body = b.internal(t, "confirm-purchase", confirmBody(reservation, order, user))
		require.Equal(t, http.StatusConflict, status, body)
		requireFailure(t, body, "ORDER_REFUSED", "")
		require.Contains(t, body, `"confirmed":false`)
	})
	for _, tt := range []struct{ name, body, field string }{
		{"NoOrder", request("", ""), "orderId"},
		{"OrderThatIsNone", request("ORD-2024-000001", ""), "orderId"},
		{"NullTickets", request(order.String(), `"ticketIds":null,`), "ticketIds"},
		{"NoTickets", request(order.String(), `"ticketIds":[],`), "ticketIds"},
		{"TicketThatIsNone", request(order.String(), `"ticketIds":["vip"],`), "ticketIds[0]"},
		{"NumberForTickets", request(order.String(), `"ticketIds":3,`), "ticketIds"},
		{"NoKey", strings.Replace(request(order.String(), ""), "refund-1", "", 1), "refundKey"},
		{"LongKey", strings.Replace(request(order.String(), ""), "refund-1", strings.Repeat("k", 129), 1), "refundKey"},
		{"LongReason", strings.Replace(request(order.String(), ""), "Seats", strings.Repeat("a", 500), 1), "reason"},
		{"NULInReason", strings.Replace(request(order.String(), ""), "Seats", `\u0000`, 1), "reason"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := b.internal(t, "cancel", tt.body)
			require.Equal(t, http.StatusBadRequest, status, body)
			requireFailure(t, body, "VALIDATION_ERROR", tt.field)
		})
	}
}

func TestTicketCount(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.buy(t, uuid.New(), b.newType(t, b.event, "VIP", "10"), "3")
	for event, n := range map[uuid.UUID]string{b.event: "3", uuid.New(): "0"} {
		status, body := b.send(t, http.MethodGet, "/api/tickets/internal/events/"+event.String()+"/ticket-count", "", from(t, "event-service"))
		require.Equal(t, http.StatusOK, status, body)
		require.JSONEq(t, `{"eventId":"`+event.String()+`","ticketCount":`+n+`}`, body)
	}
	status, body := b.send(t, http.MethodGet, "/api/tickets/internal/events/festival/ticket-count", "", from(t, "event-service"))
	require.Equal(t, http.StatusBadRequest, status, body)
	requireFailure(t, body, "VALIDATION_ERROR", "eventId")
}

// Nothing that a caller sends is more than a 4xx that says what is wrong.
func TestInternalRefusesBadInput(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind, id := b.newType(t, b.event, "VIP", "10"), uuid.New()
	reserve := func(old, replacement string) string {
		good := reserveBody(id, b.organizer, b.event, kind, "1")
		require.Contains(t, good, old)
		return strings.Replace(good, old, replacement, 1)
	}
	line := `{"ticketTypeId":"` + kind.String() + `","quantity":1}`
	check := func(lines string) string {
		return `{"eventId":"` + b.event.String() + `","ticketRequests":` + lines + `}`
	}
	confirm := func(old, replacement string) string {
		return strings.Replace(confirmBody(id, id, id), old, replacement, 1)
	}
	for _, tt := range []struct {
		name, endpoint, body string
		status               int
		code, field          string
	}{
		{"Empty", "reserve", "", 400, "MALFORMED_JSON", ""},
		{"MalformedJSON", "reserve", reserve("}", ""), 400, "MALFORMED_JSON", ""},
		{"Array", "reserve", "[]", 400, "MALFORMED_JSON", ""},
		{"TwoValues", "reserve", reserve("", "") + "{}", 400, "MALFORMED_JSON", ""},
		{"BrokenUTF8", "reserve", reserve("userId", "\xff"), 400, "MALFORMED_JSON", ""},
		{"TooLarge", "reserve", reserve("{", "{"+strings.Repeat(" ", web.MaxBody)), 413, "BODY_TOO_LARGE", ""},
		{"UnknownField", "reserve", reserve("{", `{"price":1,`), 400, "VALIDATION_ERROR", "price"},
		{"NoUser", "reserve", reserve(`"userId":"`+b.organizer.String()+`",`, ""), 400, "VALIDATION_ERROR", "userId"},
		{"NoEvent", "reserve", reserve(`"eventId":"`+b.event.String()+`",`, ""), 400, "VALIDATION_ERROR", "eventId"},
		{"NullReservation", "reserve", reserve(`"reservationId":"`+id.String()+`"`, `"reservationId":null`), 400, "VALIDATION_ERROR", "reservationId"},
		{"IDThatIsNone", "reserve", reserve(id.String(), "ann"), 400, "VALIDATION_ERROR", "reservationId"},
		{"IDWithGarbage", "reserve", reserve(id.String(), strings.Repeat("g", 36)), 400, "VALIDATION_ERROR", "reservationId"},
		{"NumberForID", "reserve", reserve(`"`+id.String()+`"`, "7"), 400, "VALIDATION_ERROR", "reservationId"},
		{"QuantityZero", "reserve", reserve(`"quantity":1`, `"quantity":0`), 400, "VALIDATION_ERROR", "ticketRequests.quantity"},
		{"QuantityMissing", "reserve", reserve(`,"quantity":1`, ""), 400, "VALIDATION_ERROR", "ticketRequests.quantity"},
		{"QuantityNegative", "reserve", reserve(`"quantity":1`, `"quantity":-1`), 400, "VALIDATION_ERROR", "ticketRequests.quantity"},
		{"QuantityTooLarge", "reserve", reserve(`"quantity":1`, `"quantity":101`), 400, "VALIDATION_ERROR", "ticketRequests.quantity"},
		{"QuantityBeyondInt32", "reserve", reserve(`"quantity":1`, `"quantity":4294967297`), 400, "VALIDATION_ERROR", "ticketRequests.quantity"},
		{"QuantityBeyondInt64", "reserve", reserve(`"quantity":1`, `"quantity":99999999999999999999`), 400, "VALIDATION_ERROR", "ticketRequests.quantity"},
		{"QuantityFraction", "reserve", reserve(`"quantity":1`, `"quantity":1.5`), 400, "VALIDATION_ERROR", "ticketRequests.quantity"},
		{"QuantityString", "reserve", reserve(`"quantity":1`, `"quantity":"1"`), 400, "VALIDATION_ERROR", "ticketRequests.quantity"},
		{"SameTypeTwice", "reserve", reserve(line, line+","+line), 400, "VALIDATION_ERROR", "ticketRequests.ticketTypeId"},
		{"NoLines", "reserve", reserve(line, ""), 400, "VALIDATION_ERROR", "ticketRequests"},
		{"TooManyLines", "reserve", reserve(line, strings.Repeat(line+",", 20)+line), 400, "VALIDATION_ERROR", "ticketRequests"},
		{"LinesNoArray", "reserve", reserve("["+line+"]", line), 400, "VALIDATION_ERROR", "ticketRequests"},
		{"NoTime", "reserve", reserve(`Minutes":15`, `Minutes":0`), 400, "VALIDATION_ERROR", "reservationDurationMinutes"},
		{"NegativeTime", "reserve", reserve(`Minutes":15`, `Minutes":-15`), 400, "VALIDATION_ERROR", "reservationDurationMinutes"},

		{"CheckNoEvent", "check-availability", `{"ticketRequests":[` + line + `]}`, 400, "VALIDATION_ERROR", "eventId"},
		{"CheckNoLines", "check-availability", check("[]"), 400, "VALIDATION_ERROR", "ticketRequests"},
		{"CheckSameTypeTwice", "check-availability", check("[" + line + "," + line + "]"), 400, "VALIDATION_ERROR", "ticketRequests.ticketTypeId"},

		{"ConfirmNullOrder", "confirm-purchase", confirm(`"orderId":"`+id.String()+`"`, `"orderId":null`), 400, "VALIDATION_ERROR", "orderId"},
		{"ConfirmNoHolder", "confirm-purchase", confirm("Ann O'Hara", ""), 400, "VALIDATION_ERROR", "holderName"},
		{"ConfirmLongHolder", "confirm-purchase", confirm("Ann", strings.Repeat("Ann", 100)), 400, "VALIDATION_ERROR", "holderName"},
		{"ConfirmNULInHolder", "confirm-purchase", confirm("Ann", `Ann\u0000`), 400, "VALIDATION_ERROR", "holderName"},

		{"ReleaseNothing", "release-reservation", `{}`, 400, "VALIDATION_ERROR", "reservationId"},
		{"ReleaseLongReason", "release-reservation", strings.Replace(releaseBody(id), "PAYMENT", strings.Repeat("P", 300), 1), 400, "VALIDATION_ERROR", "reason"},
		{"ReleaseNULInReason", "release-reservation", strings.Replace(releaseBody(id), "PAYMENT", `\u0000`, 1), 400, "VALIDATION_ERROR", "reason"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, body := b.internal(t, tt.endpoint, tt.body)
			require.Equal(t, tt.status, status, body)
			requireFailure(t, body, tt.code, tt.field)
		})
	}
	t.Run("LongerThanWeHold", func(t *testing.T) {
		t.Parallel()
		status, body := b.internal(t, "reserve", strings.Replace(reserve("", ""), `Minutes":15`, `Minutes":100000`, 1))
		require.Equal(t, http.StatusOK, status, body)
		var got struct{ ExpiresAt time.Time }
		require.NoError(t, json.Unmarshal([]byte(body), &got))
		require.WithinDuration(t, time.Now().Add(15*time.Minute), got.ExpiresAt, time.Minute)
	})
}
