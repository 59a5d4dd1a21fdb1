package httpapi

import (
	"encoding/csv"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// typeJSON is a ticket type in a response.
type typeJSON struct {
	TicketTypeID      uuid.UUID      `json:"ticketTypeId"`
	EventID           uuid.UUID      `json:"eventId"`
	Name              string         `json:"name"`
	Price             money.Decimal  `json:"price"`
	Currency          money.Currency `json:"currency"`
	Capacity          int            `json:"capacity"`
	QuantityAvailable int            `json:"quantityAvailable"`
	SalesStart        *time.Time     `json:"salesStart,omitempty"`
	SalesEnd          *time.Time     `json:"salesEnd,omitempty"`
	MaxPerOrder       *int           `json:"maxPerOrder,omitempty"`
	MaxPerPerson      *int           `json:"maxPerPerson,omitempty"`
	OnSale            bool           `json:"onSale"`
}

func typeToJSON(t ticket.Type, e ticket.Event) typeJSON {
	utc := func(at *time.Time) *time.Time {
		if at == nil {
			return nil
		}
		return new(at.UTC())
	}
	return typeJSON{
		TicketTypeID: t.ID, EventID: t.EventID, Name: t.Name, Price: t.Price.Decimal(), Currency: t.Price.Currency,
		Capacity: t.Capacity, QuantityAvailable: t.Available(), SalesStart: utc(t.SalesStart), SalesEnd: utc(t.SalesEnd),
		MaxPerOrder: t.MaxPerOrder, MaxPerPerson: t.MaxPerPerson, OnSale: t.CheckSale(e, e.ReadAt) == nil,
	}
}

// parseTime parses a bound of the time of sale; nil is no bound. It returns a *problem.Error that names the field.
func parseTime(field string, value *string) (*time.Time, error) {
	if value == nil {
		return nil, nil
	}
	var t time.Time
	if err := t.UnmarshalText([]byte(*value)); err != nil { // stricter than time.Parse
		return nil, problem.Field(field, "%s must be an RFC 3339 time", field).Because(err)
	}
	t = t.UTC().Truncate(time.Microsecond) // the precision of PostgreSQL
	if t.Year() < 1 || t.Year() > 9999 {   // possible after the conversion to UTC, but RFC 3339 cannot represent it
		return nil, problem.Field(field, "%s must be a time between the years 1 and 9999", field)
	}
	return &t, nil
}

func (a api) createType(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		EventID      string        `json:"eventId"`
		Name         string        `json:"name"`
		Price        money.Decimal `json:"price"`
		Currency     string        `json:"currency"`
		Capacity     int           `json:"capacity"`
		SalesStart   *string       `json:"salesStart"`
		SalesEnd     *string       `json:"salesEnd"`
		MaxPerOrder  *int          `json:"maxPerOrder"`
		MaxPerPerson *int          `json:"maxPerPerson"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	eventID, err := web.ParseID("eventId", in.EventID)
	if err != nil {
		return err
	}
	currency, err := money.ParseCurrency(in.Currency)
	if err != nil {
		return problem.Field("currency", "currency is %s", err)
	}
	price, err := in.Price.In(currency)
	if err != nil {
		return problem.Field("price", "price %s", err)
	}
	t := ticket.Type{
		ID: uuid.New(), EventID: eventID, Name: strings.TrimSpace(in.Name), Price: price, Capacity: in.Capacity,
		MaxPerOrder: in.MaxPerOrder, MaxPerPerson: in.MaxPerPerson,
	}
	if t.SalesStart, err = parseTime("salesStart", in.SalesStart); err != nil {
		return err
	}
	if t.SalesEnd, err = parseTime("salesEnd", in.SalesEnd); err != nil {
		return err
	}
	if err := t.Validate(); err != nil {
		return err
	}
	t, e, err := a.sales.CreateType(r.Context(), identity.CurrentUser(r.Context()), t)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusCreated, typeToJSON(t, e))
}

func (a api) changeType(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "ticketTypeId")
	if err != nil {
		return err
	}
	var in struct {
		Name         web.Optional[string]        `json:"name"`
		Price        web.Optional[money.Decimal] `json:"price"`
		Capacity     web.Optional[int]           `json:"capacity"`
		SalesStart   web.Clearable[string]       `json:"salesStart"`
		SalesEnd     web.Clearable[string]       `json:"salesEnd"`
		MaxPerOrder  web.Clearable[int]          `json:"maxPerOrder"`
		MaxPerPerson web.Clearable[int]          `json:"maxPerPerson"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	start, err := parseTime("salesStart", in.SalesStart.Value)
	if err != nil {
		return err
	}
	end, err := parseTime("salesEnd", in.SalesEnd.Value)
	if err != nil {
		return err
	}
	change := func(t ticket.Type) (ticket.Type, error) {
		if in.Name.Value != nil {
			t.Name = strings.TrimSpace(*in.Name.Value)
		}
		if in.Price.Value != nil {
			price, err := in.Price.Value.In(t.Price.Currency)
			if err != nil {
				return t, problem.Field("price", "price %s", err)
			}
			t.Price = price
		}
		if in.Capacity.Value != nil {
			t.Capacity = *in.Capacity.Value
		}
		if in.SalesStart.Present {
			t.SalesStart = start
		}
		if in.SalesEnd.Present {
			t.SalesEnd = end
		}
		if in.MaxPerOrder.Present {
			t.MaxPerOrder = in.MaxPerOrder.Value
		}
		if in.MaxPerPerson.Present {
			t.MaxPerPerson = in.MaxPerPerson.Value
		}
		return t, t.Validate()
	}
	t, e, err := a.sales.ChangeType(r.Context(), identity.CurrentUser(r.Context()), id, change)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, typeToJSON(t, e))
}

// attendeesBatch is how many rows of the table are read at a time.
const attendeesBatch = 500

// byteOrderMark at the start of a file lets a spreadsheet recognize UTF-8. Excel takes other files for its own
// encoding.
const byteOrderMark = "\ufeff"

// attendees writes a CSV table with one row per ticket, in the order of their numbers. It reads the tickets in batches,
// so that the table need not fit in memory and a slow client does not occupy a database connection.
func (a api) attendees(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "eventId")
	if err != nil {
		return err
	}
	if _, err := a.sales.OrganizedEvent(r.Context(), identity.CurrentUser(r.Context()), id); err != nil {
		return err
	}
	tickets, err := a.store.TicketsOfEvent(r.Context(), id, "", attendeesBatch)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="attendees.csv"`)
	w.Header().Set("Cache-Control", "private, no-store")
	// Write errors are those of the connection; table.Error returns them after each batch.
	_, _ = io.WriteString(w, byteOrderMark)
	table := csv.NewWriter(w)
	_ = table.Write([]string{
		"ticketNumber", "ticketType", "holderName", "status", "checkedInAt", "ticketId", "orderId",
	})
	for {
		for _, t := range tickets {
			var checkedInAt string
			if !t.CheckedInAt.IsZero() { // includes used tickets that were cancelled with their event
				checkedInAt = t.CheckedInAt.UTC().Format(time.RFC3339)
			}
			_ = table.Write([]string{
				t.Number, cell(t.TypeName), cell(t.HolderName), string(t.Status), checkedInAt,
				t.ID.String(), t.OrderID.String(),
			})
		}
		table.Flush()
		if err := table.Error(); err != nil { // the client has disconnected
			slog.DebugContext(r.Context(), "write attendees failed", "error", err.Error())
			return nil
		}
		if len(tickets) < attendeesBatch {
			return nil
		}
		next, err := a.store.TicketsOfEvent(r.Context(), id, tickets[len(tickets)-1].Number, attendeesBatch)
		if err != nil {
			// The status has been sent. Closing the connection is the only way to report that rows are missing.
			slog.ErrorContext(r.Context(), "read attendees failed", "error", err.Error())
			panic(http.ErrAbortHandler)
		}
		tickets = next
	}
}

// cell escapes a text that a spreadsheet would interpret as a formula (OWASP, "CSV Injection").
func cell(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r\n", rune(text[0])) {
		return "'" + text
	}
	return text
}
