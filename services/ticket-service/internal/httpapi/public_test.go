package httpapi_test

import (
	"encoding/json"
	"image/png"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

func typeBody(event uuid.UUID) string {
	return `{"eventId":"` + event.String() + `","name":" Early bird ","price":12.5,"currency":"USD","capacity":100}`
}

func TestCreateTypeIsForTheOrganizer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	post := func(t *testing.T, body string, header http.Header) (int, string) {
		t.Helper()
		return b.send(t, http.MethodPost, "/api/tickets/types", body, header)
	}
	organizer := b.asOrganizer(t)
	status, body := post(t, typeBody(b.event), organizer)
	require.Equal(t, http.StatusCreated, status, body)
	var created struct{ TicketTypeID string }
	require.NoError(t, json.Unmarshal([]byte(body), &created))
	require.JSONEq(t, `{"ticketTypeId":"`+created.TicketTypeID+`","eventId":"`+b.event.String()+`","name":"Early bird",
		"price":12.50,"currency":"USD","capacity":100,"quantityAvailable":100,"onSale":true}`, body)
	require.Contains(t, body, `"price":12.50,`)

	for _, tt := range []struct {
		name, body string
		header     http.Header
		status     int
		code       string
	}{
		{"DuplicateName", typeBody(b.event), organizer, 409, "TICKET_TYPE_EXISTS"},
		{"OtherCurrency", strings.Replace(typeBody(b.event), "USD", "EUR", 1), organizer, 409, "CURRENCY_MISMATCH"},
		{"UnknownEvent", typeBody(uuid.New()), organizer, 404, "EVENT_NOT_FOUND"},
		{
			"OrganizerOfAnotherEvent", typeBody(b.event), b.as(t, uuid.New(), identity.RoleOrganizer),
			403, "NOT_EVENT_ORGANIZER",
		},
		{"WithoutOrganizerRole", typeBody(b.event), b.as(t, b.organizer, identity.RoleUser), 403, "FORBIDDEN"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, body := post(t, tt.body, tt.header)
			require.Equal(t, tt.status, status, body)
			requireFailure(t, body, tt.code, "")
		})
	}
	t.Run("Admin", func(t *testing.T) {
		t.Parallel()
		status, body := post(t, strings.Replace(typeBody(b.event), "Early bird", "Press", 1),
			b.as(t, uuid.New(), identity.RoleAdmin))
		require.Equal(t, http.StatusCreated, status, body)
	})
	t.Run("Free", func(t *testing.T) {
		t.Parallel()
		free := strings.NewReplacer("Early bird", "Children", "12.5", "0").Replace(typeBody(b.event))
		status, body := post(t, free, organizer)
		require.Equal(t, http.StatusCreated, status, body)
		require.Contains(t, body, `"price":0.00,`)
	})
}

func TestCreateTypeRefusesBadInput(t *testing.T) {
	t.Parallel()
	b := setup(t)
	change := func(old, replacement string) string {
		require.Contains(t, typeBody(b.event), old)
		return strings.Replace(typeBody(b.event), old, replacement, 1)
	}
	for _, tt := range []struct {
		name, body  string
		status      int
		code, field string
	}{
		{"Empty", "", 400, "MALFORMED_JSON", ""},
		{"MalformedJSON", change("}", ""), 400, "MALFORMED_JSON", ""},
		{"TooLarge", change("Early", strings.Repeat("a", web.MaxBody)), 413, "BODY_TOO_LARGE", ""},
		{"UnknownField", change("{", `{"sold":0,`), 400, "VALIDATION_ERROR", "sold"},
		{"InvalidEvent", change(b.event.String(), "festival"), 400, "VALIDATION_ERROR", "eventId"},
		{"NoEvent", change(`"`+b.event.String()+`"`, "null"), 400, "VALIDATION_ERROR", "eventId"},
		{"NoName", change(" Early bird ", " "), 400, "VALIDATION_ERROR", "name"},
		{"LongName", change("Early", strings.Repeat("a", 100)), 400, "VALIDATION_ERROR", "name"},
		{"NULInName", change("Early", `\u0000`), 400, "VALIDATION_ERROR", "name"},
		{"NumberForName", change(`" Early bird "`, "7"), 400, "VALIDATION_ERROR", "name"},
		{"NoPrice", change(`"price":12.5,`, ""), 400, "VALIDATION_ERROR", "price"},
		{"NullPrice", change("12.5", "null"), 400, "VALIDATION_ERROR", "price"},
		{"StringPrice", change("12.5", `"12.5"`), 400, "VALIDATION_ERROR", "price"},
		{"ThreeDecimals", change("12.5", "12.505"), 400, "VALIDATION_ERROR", "price"},
		{"NegativePrice", change("12.5", "-12.5"), 400, "VALIDATION_ERROR", "price"},
		{"PriceWithExponent", change("12.5", "1e2"), 400, "VALIDATION_ERROR", "price"},
		{"HugePrice", change("12.5", "99999999999999999999"), 400, "VALIDATION_ERROR", "price"},
		{"CurrencyWithoutDecimals", change("USD", "JPY"), 400, "VALIDATION_ERROR", "price"},
		{"NoCurrency", change("USD", ""), 400, "VALIDATION_ERROR", "currency"},
		{"LowerCaseCurrency", change("USD", "usd"), 400, "VALIDATION_ERROR", "currency"},
		{"UnknownCurrency", change("USD", "ABC"), 400, "VALIDATION_ERROR", "currency"},
		{"NoCapacity", change(`,"capacity":100`, ""), 400, "VALIDATION_ERROR", "capacity"},
		{"NegativeCapacity", change(`:100`, `:-1`), 400, "VALIDATION_ERROR", "capacity"},
		{"HugeCapacity", change(`:100`, `:1000001`), 400, "VALIDATION_ERROR", "capacity"},
		{"FractionalCapacity", change(`:100`, `:1.5`), 400, "VALIDATION_ERROR", "capacity"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, http.MethodPost, "/api/tickets/types", tt.body,
				b.as(t, b.organizer, identity.RoleOrganizer))
			require.Equal(t, tt.status, status, body)
			requireFailure(t, body, tt.code, tt.field)
		})
	}
}

func TestCreateTypeNeedsEventService(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.services.set(b.event, "PUBLISHED", sidecar.ErrUnavailable)
	status, body := b.send(t, http.MethodPost, "/api/tickets/types", typeBody(b.event),
		b.as(t, b.organizer, identity.RoleOrganizer))
	require.Equal(t, http.StatusServiceUnavailable, status)
	requireFailure(t, body, "SERVICE_UNAVAILABLE", "")
}

func TestAvailabilityHidesDrafts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	get := func(t *testing.T, event string) (int, string) {
		t.Helper()
		return b.send(t, http.MethodGet, "/api/tickets/events/"+event+"/availability", "", nil)
	}

	t.Run("OnSale", func(t *testing.T) {
		t.Parallel()
		event := uuid.New()
		b.services.set(event, "PUBLISHED", nil)
		kind := b.newType(t, event, "VIP", "3")
		status, body := b.internal(t, "reserve", reserveBody(uuid.New(), uuid.New(), event, kind, "1"))
		require.Equal(t, http.StatusOK, status, body)
		status, body = get(t, event.String())
		require.Equal(t, http.StatusOK, status)
		require.JSONEq(t, `{"eventId":"`+event.String()+`","onSale":true,"ticketTypes":[{"ticketTypeId":"`+kind.String()+`",
			"eventId":"`+event.String()+`","name":"VIP","price":50.00,"currency":"USD","capacity":3,
			"quantityAvailable":2,"onSale":true}]}`, body)
	})
	t.Run("NoTypes", func(t *testing.T) {
		t.Parallel()
		status, body := get(t, b.event.String())
		require.Equal(t, http.StatusOK, status)
		require.JSONEq(t, `{"eventId":"`+b.event.String()+`","onSale":true,"ticketTypes":[]}`, body)
	})
	t.Run("Cancelled", func(t *testing.T) {
		t.Parallel()
		event := uuid.New()
		b.services.set(event, "CANCELLED", nil)
		status, body := get(t, event.String())
		require.Equal(t, http.StatusOK, status)
		require.JSONEq(t, `{"eventId":"`+event.String()+`","onSale":false,"ticketTypes":[]}`, body)
	})
	t.Run("DraftThenPublished", func(t *testing.T) {
		t.Parallel()
		event := uuid.New()
		b.services.set(event, "DRAFT", nil)
		b.newType(t, event, "VIP", "3")
		status, body := get(t, event.String())
		require.Equal(t, http.StatusNotFound, status)
		require.JSONEq(t, `{"error":"EVENT_NOT_FOUND","message":"No such event"}`, body)
		b.services.set(event, "PUBLISHED", nil)
		status, body = get(t, event.String())
		require.Equal(t, http.StatusOK, status, body)
	})
	t.Run("Unknown", func(t *testing.T) {
		t.Parallel()
		status, body := get(t, uuid.NewString())
		require.Equal(t, http.StatusNotFound, status)
		require.JSONEq(t, `{"error":"EVENT_NOT_FOUND","message":"No such event"}`, body)
	})
	for _, bad := range []string{"festival", strings.Repeat("g", 36), "%7B" + b.event.String() + "%7D"} {
		t.Run("InvalidID", func(t *testing.T) {
			t.Parallel()
			status, body := get(t, bad)
			require.Equal(t, http.StatusBadRequest, status)
			requireFailure(t, body, "VALIDATION_ERROR", "eventId")
		})
	}
}

func TestAvailabilityOfStoredEventNeedsNoOtherService(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.newType(t, b.event, "VIP", "3")
	b.services.set(b.event, "PUBLISHED", sidecar.ErrUnavailable)
	status, body := b.send(t, http.MethodGet, "/api/tickets/events/"+b.event.String()+"/availability", "", nil)
	require.Equal(t, http.StatusOK, status, body)
	status, body = b.send(t, http.MethodGet, "/api/tickets/events/"+uuid.NewString()+"/availability", "", nil)
	require.Equal(t, http.StatusServiceUnavailable, status)
	requireFailure(t, body, "SERVICE_UNAVAILABLE", "")
}

func TestTicketsAreVisibleToTheirOwner(t *testing.T) {
	t.Parallel()
	b := setup(t)
	user := uuid.New()
	tickets := b.buy(t, user, b.newType(t, b.event, "VIP", "10"), "2")
	first := tickets[0].TicketID
	owner, stranger := b.as(t, user, identity.RoleUser), b.as(t, uuid.New(), identity.RoleUser)

	t.Run("Mine", func(t *testing.T) {
		t.Parallel()
		status, body := b.send(t, http.MethodGet, "/api/tickets/mine", "", owner)
		require.Equal(t, http.StatusOK, status)
		var mine struct{ Tickets []confirmedTicket }
		require.NoError(t, json.Unmarshal([]byte(body), &mine))
		require.ElementsMatch(t, tickets, mine.Tickets)
		require.Contains(t, body, `"qrCode":"`+publicURL.QRCode(first)+`"`)
	})
	t.Run("Pages", func(t *testing.T) {
		t.Parallel()
		var first, second struct {
			Tickets    []confirmedTicket
			NextCursor *string
		}
		_, body := b.send(t, http.MethodGet, "/api/tickets/mine?limit=1", "", owner)
		require.NoError(t, json.Unmarshal([]byte(body), &first))
		require.NotNil(t, first.NextCursor, body)
		_, body = b.send(t, http.MethodGet, "/api/tickets/mine?limit=1&cursor="+*first.NextCursor, "", owner)
		require.NoError(t, json.Unmarshal([]byte(body), &second))
		require.Nil(t, second.NextCursor)
		require.ElementsMatch(t, tickets, append(first.Tickets, second.Tickets...))
	})
	for name, query := range map[string]string{"limit": "limit=0", "cursor": "cursor=mine"} {
		t.Run("Invalid"+name, func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, http.MethodGet, "/api/tickets/mine?"+query, "", owner)
			require.Equal(t, http.StatusBadRequest, status)
			requireFailure(t, body, "VALIDATION_ERROR", name)
		})
	}
	t.Run("One", func(t *testing.T) {
		t.Parallel()
		status, body := b.send(t, http.MethodGet, "/api/tickets/"+first.String(), "", owner)
		require.Equal(t, http.StatusOK, status)
		_, internal := b.send(t, http.MethodGet, "/api/tickets/internal/"+first.String(), "",
			from(t, "notification-service"))
		require.Contains(t, body, strings.TrimSuffix(internal, "}\n")+`,"event":{`)
		for _, header := range []http.Header{stranger, b.as(t, uuid.New(), identity.RoleAdmin)} {
			status, body = b.send(t, http.MethodGet, "/api/tickets/"+first.String(), "", header)
			require.Equal(t, http.StatusNotFound, status)
			requireFailure(t, body, "TICKET_NOT_FOUND", "")
		}
	})
	t.Run("NoTickets", func(t *testing.T) {
		t.Parallel()
		status, body := b.send(t, http.MethodGet, "/api/tickets/mine", "", stranger)
		require.Equal(t, http.StatusOK, status)
		require.JSONEq(t, `{"tickets":[]}`, body)
	})
	t.Run("QRCode", func(t *testing.T) {
		t.Parallel()
		status, body := b.send(t, http.MethodGet, "/api/tickets/"+first.String()+"/qr.png", "", owner)
		require.Equal(t, http.StatusOK, status)
		picture, err := png.Decode(strings.NewReader(body))
		require.NoError(t, err)
		bitmap, err := gozxing.NewBinaryBitmapFromImage(picture)
		require.NoError(t, err)
		// The picture contains only the code. Without this hint, the reader searches for a code and sometimes fails.
		hints := map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true}
		read, err := qrcode.NewQRCodeReader().Decode(bitmap, hints)
		require.NoError(t, err)
		id, version, err := b.signer.Verify(read.GetText())
		require.NoError(t, err)
		require.Equal(t, first, id)
		require.Equal(t, 1, version)
	})
	t.Run("PDF", func(t *testing.T) {
		t.Parallel()
		path := "/api/tickets/" + first.String() + "/ticket.pdf"
		status, body := b.send(t, http.MethodGet, path, "", owner)
		require.Equal(t, http.StatusOK, status)
		require.True(t, strings.HasPrefix(body, "%PDF-"))
		_, mailed := b.send(t, http.MethodGet, strings.Replace(path, "tickets/", "tickets/internal/", 1), "",
			from(t, "notification-service"))
		require.True(t, body == mailed, "the mailed PDF equals the downloaded one")
	})
	for _, file := range []string{"qr.png", "ticket.pdf"} {
		t.Run(file+"/OtherUser", func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, http.MethodGet, "/api/tickets/"+first.String()+"/"+file, "", stranger)
			require.Equal(t, http.StatusNotFound, status)
			// The response is the same as for an unknown ticket.
			unknownStatus, unknown := b.send(t, http.MethodGet, "/api/tickets/"+uuid.NewString()+"/"+file, "", stranger)
			require.Equal(t, http.StatusNotFound, unknownStatus)
			require.Equal(t, unknown, body)
			requireFailure(t, body, "TICKET_NOT_FOUND", "")
		})
		t.Run(file+"/Admin", func(t *testing.T) {
			t.Parallel()
			status, _ := b.send(t, http.MethodGet, "/api/tickets/"+first.String()+"/"+file, "",
				b.as(t, uuid.New(), identity.RoleAdmin))
			require.Equal(t, http.StatusNotFound, status)
		})
		t.Run(file+"/InvalidID", func(t *testing.T) {
			t.Parallel()
			status, body := b.send(t, http.MethodGet, "/api/tickets/mine/"+file, "", owner)
			require.Equal(t, http.StatusBadRequest, status)
			requireFailure(t, body, "VALIDATION_ERROR", "ticketId")
		})
		t.Run(file+"/NotCacheable", func(t *testing.T) {
			t.Parallel()
			url := b.url + "/api/tickets/" + first.String() + "/" + file
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
			require.NoError(t, err)
			req.Header = owner
			res, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			defer res.Body.Close()
			require.Equal(t, "private, no-store", res.Header.Get("Cache-Control"))
			contentType := map[string]string{"qr.png": "image/png", "ticket.pdf": "application/pdf"}[file]
			require.Equal(t, contentType, res.Header.Get("Content-Type"))
		})
	}
}

func TestTransferChangesOwnerAndCode(t *testing.T) {
	t.Parallel()
	b := setup(t)
	user, bob := uuid.New(), uuid.New()
	b.services.users = map[uuid.UUID]string{bob: "Bob", user: "Ann"}
	tickets := b.buy(t, user, b.newType(t, b.event, "VIP", "10"), "2")
	owner := b.as(t, user, identity.RoleUser)
	transfer := func(t *testing.T, id uuid.UUID, to string, header http.Header) (int, string) {
		t.Helper()
		return b.send(t, http.MethodPost, "/api/tickets/"+id.String()+"/transfer", `{"toUserId":"`+to+`"}`, header)
	}
	id := tickets[0].TicketID
	for _, tt := range []struct {
		name, to    string
		header      http.Header
		status      int
		code, field string
	}{
		{"ToOwner", user.String(), owner, 400, "VALIDATION_ERROR", "toUserId"},
		{"ToUnknownUser", uuid.NewString(), owner, 404, "USER_NOT_FOUND", ""},
		{"InvalidID", "bob", owner, 400, "VALIDATION_ERROR", "toUserId"},
		{"ByOtherUser", bob.String(), b.as(t, bob, identity.RoleUser), 404, "TICKET_NOT_FOUND", ""},
		{"ByAdmin", bob.String(), b.as(t, uuid.New(), identity.RoleAdmin), 404, "TICKET_NOT_FOUND", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := transfer(t, id, tt.to, tt.header)
			require.Equal(t, tt.status, status, body)
			requireFailure(t, body, tt.code, tt.field)
		})
	}
	t.Run("OnlyOwnerCanProbeForUsers", func(t *testing.T) {
		b.services.paths = nil
		status, _ := transfer(t, id, uuid.NewString(), b.as(t, bob, identity.RoleUser))
		require.Equal(t, http.StatusNotFound, status)
		require.Empty(t, b.services.paths)
	})
	for name, failure := range map[string]error{
		"AuthServiceDown":    sidecar.ErrUnavailable,
		"AuthServiceRefuses": problem.New(problem.Forbidden, "SERVICE_FORBIDDEN", "This service may not call this route"),
	} {
		t.Run(name, func(t *testing.T) {
			b.services.set(b.event, "PUBLISHED", failure)
			defer b.services.set(b.event, "PUBLISHED", nil)
			status, body := transfer(t, id, bob.String(), owner)
			require.Equal(t, http.StatusServiceUnavailable, status)
			requireFailure(t, body, "SERVICE_UNAVAILABLE", "")
		})
	}

	code, err := b.signer.Code(b.ticket(t, id))
	require.NoError(t, err)
	status, body := transfer(t, id, bob.String(), owner)
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, body, `"holderName":"Bob Lee"`)
	_, stored := b.send(t, http.MethodGet, "/api/tickets/"+id.String(), "", b.as(t, bob, identity.RoleUser))
	require.Equal(t, body, stored)
	status, body = transfer(t, id, bob.String(), owner)
	require.Equal(t, http.StatusNotFound, status)
	requireFailure(t, body, "TICKET_NOT_FOUND", "")
	_, body = b.send(t, http.MethodGet, "/api/tickets/mine", "", owner)
	require.NotContains(t, body, id.String())
	status, body = b.checkIn(t, code, "", b.asOrganizer(t))
	require.Equal(t, http.StatusConflict, status)
	requireFailure(t, body, "CODE_SUPERSEDED", "")

	// A late mail to the former owner does not contain the new code.
	pdf := "/api/tickets/internal/" + id.String() + "/ticket.pdf?userId="
	status, _ = b.send(t, http.MethodGet, pdf+user.String(), "", from(t, "notification-service"))
	require.Equal(t, http.StatusNotFound, status)
	status, _ = b.send(t, http.MethodGet, pdf+bob.String(), "", from(t, "notification-service"))
	require.Equal(t, http.StatusOK, status)

	t.Run("LongestName", func(t *testing.T) {
		long := uuid.New()
		b.services.users[long] = strings.Repeat("ä", ticket.MaxHolderName-len(" Lee"))
		status, body := transfer(t, tickets[1].TicketID, long.String(), owner)
		require.Equal(t, http.StatusOK, status, body)
		require.Contains(t, body, `"holderName":"`+b.services.users[long]+` Lee"`)
		_, err := b.store.Cancel(t.Context(), tickets[1].TicketID, long, "")
		require.NoError(t, err)
		status, body = transfer(t, tickets[1].TicketID, bob.String(), b.as(t, long, identity.RoleUser))
		require.Equal(t, http.StatusConflict, status, body)
		requireFailure(t, body, "TICKET_NOT_ACTIVE", "")
	})
}

func TestCancelReturnsTicketToInventory(t *testing.T) {
	t.Parallel()
	b := setup(t)
	user := uuid.New()
	kind := b.newType(t, b.event, "VIP", "2")
	tickets := b.buy(t, user, kind, "2")
	owner := b.as(t, user, identity.RoleUser)
	cancel := func(t *testing.T, id, body string, header http.Header) (int, string) {
		t.Helper()
		return b.send(t, http.MethodPost, "/api/tickets/"+id+"/cancel", body, header)
	}
	id := tickets[0].TicketID.String()
	for _, tt := range []struct {
		name, id, body string
		header         http.Header
		status         int
		code, field    string
	}{
		{"OtherUser", id, `{}`, b.as(t, uuid.New(), identity.RoleUser), 404, "TICKET_NOT_FOUND", ""},
		{"Admin", id, `{}`, b.as(t, uuid.New(), identity.RoleAdmin), 404, "TICKET_NOT_FOUND", ""},
		{"Unknown", uuid.NewString(), `{}`, owner, 404, "TICKET_NOT_FOUND", ""},
		{"InvalidID", "first", `{}`, owner, 400, "VALIDATION_ERROR", "ticketId"},
		{"NoBody", id, ``, owner, 400, "MALFORMED_JSON", ""},
		{"LongReason", id, `{"reason":"` + strings.Repeat("a", 201) + `"}`, owner, 400, "VALIDATION_ERROR", "reason"},
		{"NULInReason", id, `{"reason":"\u0000"}`, owner, 400, "VALIDATION_ERROR", "reason"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := cancel(t, tt.id, tt.body, tt.header)
			require.Equal(t, tt.status, status, body)
			requireFailure(t, body, tt.code, tt.field)
		})
	}

	status, body := cancel(t, id, `{"reason":"`+strings.Repeat("ä", 200)+`"}`, owner)
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, body, `"status":"CANCELLED"`)
	_, stored := b.send(t, http.MethodGet, "/api/tickets/"+id, "", owner)
	require.Equal(t, body, stored)
	status, body = cancel(t, id, `{}`, owner)
	require.Equal(t, http.StatusConflict, status)
	requireFailure(t, body, "TICKET_NOT_ACTIVE", "")
	_, body = b.send(t, http.MethodGet, "/api/tickets/events/"+b.event.String()+"/availability", "", nil)
	require.Contains(t, body, `"quantityAvailable":1`)

	_, err := b.pool.Exec(t.Context(), `UPDATE events SET event_date = now()`)
	require.NoError(t, err)
	status, body = cancel(t, tickets[1].TicketID.String(), `{}`, owner)
	require.Equal(t, http.StatusConflict, status)
	requireFailure(t, body, "EVENT_PASSED", "")
}
