package httpapi_test

import (
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

func TestCreateTypeChecksTermsOfSale(t *testing.T) {
	t.Parallel()
	b := setup(t)
	post := func(terms string) (int, string) {
		return b.send(t, http.MethodPost, "/api/tickets/types",
			strings.Replace(typeBody(b.event), "}", terms+"}", 1), b.asOrganizer(t))
	}
	status, body := post(
		`,"salesStart":"2024-01-01T01:00:00+01:00","salesEnd":"2099-12-31T23:59:59.123456789Z",
			"maxPerOrder":4,"maxPerPerson":6`)
	require.Equal(t, http.StatusCreated, status, body)
	require.Contains(t, body,
		`"salesStart":"2024-01-01T00:00:00Z","salesEnd":"2099-12-31T23:59:59.123456Z",`+
			`"maxPerOrder":4,"maxPerPerson":6,"onSale":true}`)

	b.event = uuid.New()
	b.services.set(b.event, "DRAFT", nil)
	status, body = post(`,"salesStart":null,"salesEnd":null,"maxPerOrder":null,"maxPerPerson":null`)
	require.Equal(t, http.StatusCreated, status, body)
	require.Contains(t, body, `"quantityAvailable":100,"onSale":false}`)

	for _, tt := range []struct{ name, terms, field string }{
		{"NoTime", `,"salesStart":"tomorrow"`, "salesStart"},
		{"DateOnly", `,"salesEnd":"2099-12-31"`, "salesEnd"},
		{"NumberForTime", `,"salesEnd":1700000000`, "salesEnd"},
		{"YearAfterRFC3339", `,"salesEnd":"9999-12-31T23:59:59-14:00"`, "salesEnd"},
		{"YearBeforeRFC3339", `,"salesStart":"0000-01-01T00:00:00Z"`, "salesStart"},
		{"EndBeforeStart", `,"salesStart":"2099-01-02T00:00:00Z","salesEnd":"2099-01-01T00:00:00Z"`, "salesEnd"},
		{"EndAtStart", `,"salesStart":"2099-01-01T00:00:00Z","salesEnd":"2099-01-01T00:00:00Z"`, "salesEnd"},
		{"EndInThePast", `,"salesEnd":"2020-01-01T00:00:00Z"`, "salesEnd"},
		{"ZeroPerOrder", `,"maxPerOrder":0`, "maxPerOrder"},
		{"NegativePerOrder", `,"maxPerOrder":-1`, "maxPerOrder"},
		{"HugePerOrder", `,"maxPerOrder":101`, "maxPerOrder"},
		{"FractionPerOrder", `,"maxPerOrder":1.5`, "maxPerOrder"},
		{"ZeroPerPerson", `,"maxPerPerson":0`, "maxPerPerson"},
		{"HugePerPerson", `,"maxPerPerson":101`, "maxPerPerson"},
		{"TextPerPerson", `,"maxPerPerson":"2"`, "maxPerPerson"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := post(tt.terms)
			require.Equal(t, http.StatusBadRequest, status, body)
			requireFailure(t, body, "VALIDATION_ERROR", tt.field)
		})
	}
	t.Run("CancelledEvent", func(t *testing.T) {
		b.event = uuid.New()
		b.services.set(b.event, "CANCELLED", nil)
		status, body := post("")
		require.Equal(t, http.StatusConflict, status, body)
		requireFailure(t, body, "EVENT_CANCELLED", "")
	})
}

// The organizer of an event never changes, so that the event is fetched only once.
func TestOrganizerIsStored(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.newType(t, b.event, "VIP", "10")
	b.services.set(b.event, "PUBLISHED", sidecar.ErrUnavailable)
	b.newType(t, b.event, "Seat", "10")
}

func TestChangeTypeChangesOnlyGivenFields(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, b.event, "VIP", "10")
	b.newType(t, b.event, "Seat", "10")
	b.buy(t, uuid.New(), kind, "2")
	patch := func(t *testing.T, body string) (int, string) {
		t.Helper()
		return b.send(t, http.MethodPatch, "/api/tickets/types/"+kind.String(), body, b.asOrganizer(t))
	}
	requireType := func(t *testing.T, body, rest string) {
		t.Helper()
		require.JSONEq(t, `{"ticketTypeId":"`+kind.String()+`","eventId":"`+b.event.String()+`",
			"currency":"USD",`+rest+`}`, body)
	}

	status, body := patch(t, `{"name":" Front row ","price":60,"capacity":20,
		"salesStart":"2024-01-01T00:00:00Z","salesEnd":"2024-02-01T00:00:00Z","maxPerOrder":4,"maxPerPerson":6}`)
	require.Equal(t, http.StatusOK, status, body)
	requireType(t, body, `"name":"Front row","price":60.00,"capacity":20,"quantityAvailable":18,
		"salesStart":"2024-01-01T00:00:00Z","salesEnd":"2024-02-01T00:00:00Z","maxPerOrder":4,
		"maxPerPerson":6,"onSale":false`)

	t.Run("NothingChanges", func(t *testing.T) {
		status, again := patch(t, `{}`)
		require.Equal(t, http.StatusOK, status, again)
		require.Equal(t, body, again)
	})
	t.Run("RemoveOneTerm", func(t *testing.T) {
		status, body := patch(t, `{"salesEnd":null}`)
		require.Equal(t, http.StatusOK, status, body)
		requireType(t, body, `"name":"Front row","price":60.00,"capacity":20,"quantityAvailable":18,
			"salesStart":"2024-01-01T00:00:00Z","maxPerOrder":4,"maxPerPerson":6,"onSale":true`)
	})
	t.Run("RemoveAllTerms", func(t *testing.T) {
		status, body := patch(t, `{"salesStart":null,"maxPerOrder":null,"maxPerPerson":null}`)
		require.Equal(t, http.StatusOK, status, body)
		requireType(t, body, `"name":"Front row","price":60.00,"capacity":20,"quantityAvailable":18,"onSale":true`)
	})
	t.Run("CapacityEqualToSold", func(t *testing.T) {
		status, body := patch(t, `{"capacity":2}`)
		require.Equal(t, http.StatusOK, status, body)
		requireType(t, body, `"name":"Front row","price":60.00,"capacity":2,"quantityAvailable":0,"onSale":true`)
	})
	for _, tt := range []struct {
		name, body  string
		status      int
		code, field string
	}{
		{"CapacityBelowSold", `{"capacity":1}`, 409, "CAPACITY_BELOW_SOLD", ""},
		{"DuplicateName", `{"name":"Seat"}`, 409, "TICKET_TYPE_EXISTS", ""},
		{"NoName", `{"name":" "}`, 400, "VALIDATION_ERROR", "name"},
		{"NullName", `{"name":null}`, 400, "VALIDATION_ERROR", "name"},
		{"NullPrice", `{"price":null}`, 400, "VALIDATION_ERROR", "price"},
		{"NegativePrice", `{"price":-1}`, 400, "VALIDATION_ERROR", "price"},
		{"ThreeDecimals", `{"price":1.005}`, 400, "VALIDATION_ERROR", "price"},
		{"StringPrice", `{"price":"1"}`, 400, "VALIDATION_ERROR", "price"},
		{"NullCapacity", `{"capacity":null}`, 400, "VALIDATION_ERROR", "capacity"},
		{"ZeroCapacity", `{"capacity":0}`, 400, "VALIDATION_ERROR", "capacity"},
		{"InvalidTime", `{"salesStart":"soon"}`, 400, "VALIDATION_ERROR", "salesStart"},
		{"NumberForTime", `{"salesStart":1}`, 400, "VALIDATION_ERROR", "salesStart"},
		{
			"EndBeforeStart", `{"salesStart":"2024-02-01T00:00:00Z","salesEnd":"2024-01-01T00:00:00Z"}`,
			400, "VALIDATION_ERROR", "salesEnd",
		},
		{"ZeroPerOrder", `{"maxPerOrder":0}`, 400, "VALIDATION_ERROR", "maxPerOrder"},
		{"ZeroPerPerson", `{"maxPerPerson":0}`, 400, "VALIDATION_ERROR", "maxPerPerson"},
		{"ListPerOrder", `{"maxPerOrder":[1]}`, 400, "VALIDATION_ERROR", "maxPerOrder"},
		{"Currency", `{"currency":"EUR"}`, 400, "VALIDATION_ERROR", "currency"},
		{"Sold", `{"sold":0}`, 400, "VALIDATION_ERROR", "sold"},
		{"Empty", ``, 400, "MALFORMED_JSON", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := patch(t, tt.body)
			require.Equal(t, tt.status, status, body)
			requireFailure(t, body, tt.code, tt.field)
		})
	}
	t.Run("Unknown", func(t *testing.T) {
		status, body := b.send(t, http.MethodPatch, "/api/tickets/types/"+uuid.NewString(), `{}`, b.asOrganizer(t))
		require.Equal(t, http.StatusNotFound, status, body)
		requireFailure(t, body, "TICKET_TYPE_NOT_FOUND", "")
	})
	t.Run("InvalidID", func(t *testing.T) {
		status, body := b.send(t, http.MethodPatch, "/api/tickets/types/vip", `{}`, b.asOrganizer(t))
		require.Equal(t, http.StatusBadRequest, status, body)
		requireFailure(t, body, "VALIDATION_ERROR", "ticketTypeId")
	})
	t.Run("Admin", func(t *testing.T) {
		status, body := b.send(t, http.MethodPatch, "/api/tickets/types/"+kind.String(), `{"capacity":3}`,
			b.as(t, uuid.New(), identity.RoleAdmin))
		require.Equal(t, http.StatusOK, status, body)
	})
}

// checkIn sends a code that was scanned at a gate.
func (b *bundle) checkIn(t *testing.T, code, gate string, header http.Header) (int, string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"code": code, "gate": gate})
	require.NoError(t, err)
	return b.send(t, http.MethodPost, "/api/tickets/check-in", string(body), header)
}

func TestCheckInAdmitsOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind, user := b.newType(t, b.event, "VIP", "10"), uuid.New()
	tickets := b.buy(t, user, kind, "3")
	codeOf := func(id uuid.UUID) string {
		code, err := b.signer.Code(b.ticket(t, id))
		require.NoError(t, err)
		return code
	}
	k := tickets[0]
	status, body := b.checkIn(t, codeOf(k.TicketID), "North", b.asOrganizer(t))
	require.Equal(t, http.StatusOK, status, body)
	var first struct{ CheckedInAt time.Time }
	require.NoError(t, json.Unmarshal([]byte(body), &first))
	require.WithinDuration(t, time.Now(), first.CheckedInAt, time.Minute)
	at := first.CheckedInAt.Format(time.RFC3339Nano)
	require.JSONEq(t, `{"ticketId":"`+k.TicketID.String()+`","ticketNumber":"`+k.TicketNumber+`","holderName":"Ann O'Hara",
		"ticketTypeId":"`+kind.String()+`","eventId":"`+b.event.String()+`","checkedInAt":"`+at+`","gate":"North"}`, body)

	t.Run("SecondScan", func(t *testing.T) {
		status, body := b.checkIn(t, codeOf(k.TicketID), "South", b.asOrganizer(t))
		require.Equal(t, http.StatusConflict, status)
		require.JSONEq(t, `{"error":"ALREADY_CHECKED_IN","message":"The ticket was already used",
			"ticketId":"`+k.TicketID.String()+`","checkedInAt":"`+at+`","gate":"North"}`, body)
	})
	t.Run("UsedTicketHasNoCode", func(t *testing.T) {
		for _, file := range []string{"qr.png", "ticket.pdf"} {
			status, body := b.send(t, http.MethodGet, "/api/tickets/"+k.TicketID.String()+"/"+file, "",
				b.as(t, user, identity.RoleUser))
			require.Equal(t, http.StatusConflict, status, body)
			requireFailure(t, body, "TICKET_NOT_ACTIVE", "")
		}
		status, body := b.send(t, http.MethodGet, "/api/tickets/internal/"+k.TicketID.String()+"/ticket.pdf", "",
			from(t, "notification-service"))
		require.Equal(t, http.StatusConflict, status, body)
		requireFailure(t, body, "TICKET_NOT_ACTIVE", "")
	})
	t.Run("OutsideTheWindow", func(t *testing.T) {
		for _, tt := range []struct{ start, code, message string }{
			{"2099-07-15T18:00:00Z", "CHECK_IN_NOT_OPEN", "The check-in for the event opens at 2099-07-15T12:00:00Z"},
			{"2024-07-15T18:00:00Z", "CHECK_IN_CLOSED", "The check-in for the event closed at 2024-07-16T18:00:00Z"},
		} {
			_, err := b.pool.Exec(t.Context(), `UPDATE events SET event_date = $1`, tt.start)
			require.NoError(t, err)
			status, body := b.checkIn(t, codeOf(tickets[1].TicketID), "North", b.asOrganizer(t))
			require.Equal(t, http.StatusConflict, status, body)
			require.JSONEq(t, `{"error":"`+tt.code+`","message":"`+tt.message+`"}`, body)
		}
		_, err := b.pool.Exec(t.Context(), `UPDATE events SET event_date = now() + interval '1 hour'`)
		require.NoError(t, err)
	})
	t.Run("AdminWithoutGate", func(t *testing.T) {
		status, body := b.send(t, http.MethodPost, "/api/tickets/check-in",
			`{"code":"`+codeOf(tickets[1].TicketID)+`"}`, b.as(t, uuid.New(), identity.RoleAdmin))
		require.Equal(t, http.StatusOK, status, body)
		require.Contains(t, body, `"gate":""`)
	})
	t.Run("TransferredThenCancelled", func(t *testing.T) {
		id, bob := tickets[2].TicketID, uuid.New()
		old := codeOf(id)
		_, err := b.store.Transfer(t.Context(), id, user, bob, "Bob Lee")
		require.NoError(t, err)
		status, body := b.checkIn(t, old, "", b.asOrganizer(t))
		require.Equal(t, http.StatusConflict, status)
		requireFailure(t, body, "CODE_SUPERSEDED", "")
		_, err = b.store.Cancel(t.Context(), id, bob, "")
		require.NoError(t, err)
		status, body = b.checkIn(t, codeOf(id), "", b.asOrganizer(t))
		require.Equal(t, http.StatusConflict, status)
		requireFailure(t, body, "TICKET_NOT_ACTIVE", "")
	})

	forger, err := ticket.NewSigner(base64.StdEncoding.EncodeToString([]byte(strings.Repeat("f", 32))))
	require.NoError(t, err)
	forged, err := forger.Code(b.ticket(t, k.TicketID))
	require.NoError(t, err)
	unknown, err := b.signer.Code(ticket.Ticket{ID: uuid.New(), EventID: b.event, CodeVersion: 1})
	require.NoError(t, err)
	for _, tt := range []struct {
		name, code, gate string
		status           int
		error, field     string
	}{
		{"Forged", forged, "", 400, "INVALID_CODE", "code"},
		{"Garbage", "let me in", "", 400, "INVALID_CODE", "code"},
		{"TicketNumber", k.TicketNumber, "", 400, "INVALID_CODE", "code"},
		{
			"AccessToken", strings.TrimPrefix(b.as(t, user).Get("Authorization"), "Bearer "), "",
			400, "INVALID_CODE", "code",
		},
		{"Unknown", unknown, "", 404, "TICKET_NOT_FOUND", ""},
		{"Empty", "", "", 400, "VALIDATION_ERROR", "code"},
		{"TooLong", strings.Repeat("a", 5000), "", 400, "VALIDATION_ERROR", "code"},
		{"LongGate", unknown, strings.Repeat("N", 101), 400, "VALIDATION_ERROR", "gate"},
		{"NULInGate", unknown, "\x00", 400, "VALIDATION_ERROR", "gate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := b.checkIn(t, tt.code, tt.gate, b.asOrganizer(t))
			require.Equal(t, tt.status, status, body)
			requireFailure(t, body, tt.error, tt.field)
		})
	}
}

// Of several concurrent scans one is admitted. The others get its time and gate.
func TestConcurrentScansAdmitOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.buy(t, uuid.New(), b.newType(t, b.event, "VIP", "10"), "1")[0].TicketID
	code, err := b.signer.Code(b.ticket(t, id))
	require.NoError(t, err)
	header := b.asOrganizer(t)
	type response struct {
		status      int
		Gate        string
		CheckedInAt time.Time
	}
	responses := make([]response, 8)
	var gates sync.WaitGroup
	for i := range responses {
		gates.Go(func() {
			status, body := b.checkIn(t, code, "Gate "+strconv.Itoa(i), header)
			responses[i].status = status
			_ = json.Unmarshal([]byte(body), &responses[i])
		})
	}
	gates.Wait()
	admitted := 0
	for _, r := range responses {
		require.Equal(t, responses[0].Gate, r.Gate)
		require.Equal(t, responses[0].CheckedInAt, r.CheckedInAt)
		if r.status == http.StatusOK {
			admitted++
			continue
		}
		require.Equal(t, http.StatusConflict, r.status)
	}
	require.Equal(t, 1, admitted)
}

// The key set is sufficient to verify codes offline.
func TestKeySetVerifiesCodes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	code, err := b.signer.Code(b.ticket(t, b.buy(t, uuid.New(), b.newType(t, b.event, "VIP", "10"), "1")[0].TicketID))
	require.NoError(t, err)
	status, body := b.send(t, http.MethodGet, "/api/tickets/.well-known/jwks.json", "", nil)
	require.Equal(t, http.StatusOK, status, body)
	require.NotContains(t, body, `"d"`) // the private key
	keys, err := keyfunc.NewJWKSetJSON(json.RawMessage(body))
	require.NoError(t, err)
	_, err = jwt.Parse(code, keys.Keyfunc, jwt.WithValidMethods([]string{string(jwkset.AlgEdDSA)}))
	require.NoError(t, err)
}

// readTable parses a CSV file that starts with a byte order mark.
func readTable(t *testing.T, body string) [][]string {
	t.Helper()
	text, marked := strings.CutPrefix(body, "\ufeff")
	require.True(t, marked, "no byte order mark")
	table, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	require.NoError(t, err)
	return table
}

func TestAttendeesListsEveryTicket(t *testing.T) {
	t.Parallel()
	b := setup(t)
	path := func(event uuid.UUID) string { return "/api/tickets/events/" + event.String() + "/attendees.csv" }
	kind, user := b.newType(t, b.event, "=Front, \\\"row\\\"", "1000"), uuid.New()
	tickets := b.buy(t, user, kind, "6")
	for i, name := range []string{`=HYPERLINK("https://evil.test","Click")`, "+1", "-1", "@SUM(A1)", "Ann, \"A\" O'Hara"} {
		_, err := b.store.Transfer(t.Context(), tickets[i].TicketID, user, uuid.New(), name)
		require.NoError(t, err)
	}
	used, err := b.store.CheckIn(t.Context(), tickets[0].TicketID, 2, "North")
	require.NoError(t, err)
	_, err = b.store.Cancel(t.Context(), tickets[5].TicketID, user, "")
	require.NoError(t, err)

	status, body := b.send(t, http.MethodGet, path(b.event), "", b.asOrganizer(t))
	require.Equal(t, http.StatusOK, status, body)
	table := readTable(t, body)
	const front = `'=Front, "row"`
	for i, row := range table[1:] {
		stored, err := b.store.Ticket(t.Context(), tickets[i].TicketID)
		require.NoError(t, err)
		require.Equal(t, []string{stored.ID.String(), stored.OrderID.String()}, row[5:])
		table[i+1] = row[:5]
	}
	require.Equal(t, [][]string{
		{"ticketNumber", "ticketType", "holderName", "status", "checkedInAt", "ticketId", "orderId"},
		{
			tickets[0].TicketNumber, front, `'=HYPERLINK("https://evil.test","Click")`, "USED",
			used.CheckedInAt.UTC().Format(time.RFC3339),
		},
		{tickets[1].TicketNumber, front, "'+1", "ACTIVE", ""},
		{tickets[2].TicketNumber, front, "'-1", "ACTIVE", ""},
		{tickets[3].TicketNumber, front, "'@SUM(A1)", "ACTIVE", ""},
		{tickets[4].TicketNumber, front, `Ann, "A" O'Hara`, "ACTIVE", ""},
		{tickets[5].TicketNumber, front, "Ann O'Hara", "CANCELLED", ""},
	}, table)

	t.Run("MoreThanOneBatch", func(t *testing.T) {
		for range 6 {
			b.buy(t, user, kind, "90")
		}
		status, body := b.send(t, http.MethodGet, path(b.event), "", b.as(t, uuid.New(), identity.RoleAdmin))
		require.Equal(t, http.StatusOK, status)
		table := readTable(t, body)
		require.Len(t, table, 1+6+6*90)
		seen := map[string]bool{}
		for _, row := range table {
			require.False(t, seen[row[0]], row[0])
			seen[row[0]] = true
		}
	})
	t.Run("NoTickets", func(t *testing.T) {
		empty := uuid.New()
		b.services.set(empty, "DRAFT", nil)
		status, body := b.send(t, http.MethodGet, path(empty), "", b.asOrganizer(t))
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, "\ufeffticketNumber,ticketType,holderName,status,checkedInAt,ticketId,orderId\n", body)
	})
	t.Run("EventCancelled", func(t *testing.T) {
		require.NoError(t, b.store.CancelEvent(t.Context(), uuid.New(),
			events.EventCancelled{EventID: b.event, UpdatedAt: time.Now().Add(time.Hour)}))
		_, err := b.store.CancelAll(t.Context())
		require.NoError(t, err)
		status, body := b.send(t, http.MethodGet, path(b.event), "", b.asOrganizer(t))
		require.Equal(t, http.StatusOK, status)
		table := readTable(t, body)
		require.Equal(t, []string{"CANCELLED", used.CheckedInAt.UTC().Format(time.RFC3339)}, table[1][3:5],
			"the time of the check-in is kept")
	})
	t.Run("UnknownEvent", func(t *testing.T) {
		status, body := b.send(t, http.MethodGet, path(uuid.New()), "", b.asOrganizer(t))
		require.Equal(t, http.StatusNotFound, status)
		requireFailure(t, body, "EVENT_NOT_FOUND", "")
	})
}
