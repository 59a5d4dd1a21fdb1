package httpapi

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

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
		MaxPerOrder: t.MaxPerOrder, OnSale: t.InSales && e.Status == ticket.EventPublished,
	}
}

// parseTime reads a bound of sales. No value is no bound.
func parseTime(field string, value *string) (*time.Time, error) {
	if value == nil {
		return nil, nil
	}
	var t time.Time
	if err := t.UnmarshalText([]byte(*value)); err != nil { // stricter than time.Parse
		return nil, problem.Field(field, "%s must be an RFC 3339 time", field).Because(err)
	}
	t = t.UTC().Truncate(time.Microsecond) // what PostgreSQL keeps
	if t.Year() < 1 || t.Year() > 9999 {   // which its zone can bring about, and RFC 3339 cannot write
		return nil, problem.Field(field, "%s must be a time between the years 1 and 9999", field)
	}
	return &t, nil
}

func (a API) createType(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		EventID     string        `json:"eventId"`
		Name        string        `json:"name"`
		Price       money.Decimal `json:"price"`
		Currency    string        `json:"currency"`
		Capacity    int           `json:"capacity"`
		SalesStart  *string       `json:"salesStart"`
		SalesEnd    *string       `json:"salesEnd"`
		MaxPerOrder *int          `json:"maxPerOrder"`
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
		MaxPerOrder: in.MaxPerOrder,
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
	e, err := a.organized(r.Context(), eventID)
	if err != nil {
		return err
	}
	if t, err = a.Store.CreateType(r.Context(), t); err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusCreated, typeToJSON(t, e))
}

// clearable is a field of a change that may be absent, and may be null, which takes away what is there.
type clearable[T any] struct {
	present bool
	value   *T
}

// UnmarshalJSON reads the field's value. web.Decode names the field in its error.
func (c *clearable[T]) UnmarshalJSON(body []byte) error {
	c.present = true
	return json.Unmarshal(body, &c.value)
}

func (a API) changeType(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "ticketTypeId")
	if err != nil {
		return err
	}
	var in struct {
		Name        web.Optional[string]        `json:"name"`
		Price       web.Optional[money.Decimal] `json:"price"`
		Capacity    web.Optional[int]           `json:"capacity"`
		SalesStart  clearable[string]           `json:"salesStart"`
		SalesEnd    clearable[string]           `json:"salesEnd"`
		MaxPerOrder clearable[int]              `json:"maxPerOrder"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	start, err := parseTime("salesStart", in.SalesStart.value)
	if err != nil {
		return err
	}
	end, err := parseTime("salesEnd", in.SalesEnd.value)
	if err != nil {
		return err
	}
	t, err := a.Store.Type(r.Context(), id)
	if err != nil {
		return err
	}
	e, err := a.organized(r.Context(), t.EventID)
	if err != nil {
		return err
	}
	t, err = a.Store.ChangeType(r.Context(), id, func(t ticket.Type) (ticket.Type, error) {
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
		if in.SalesStart.present {
			t.SalesStart = start
		}
		if in.SalesEnd.present {
			t.SalesEnd = end
		}
		if in.MaxPerOrder.present {
			t.MaxPerOrder = in.MaxPerOrder.value
		}
		return t, t.Validate()
	})
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, typeToJSON(t, e))
}

// Limits of a check-in, in characters. No code of ours comes near this one.
const (
	maxCode = 4096
	maxGate = 100
)

func (a API) checkIn(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Code string `json:"code"`
		Gate string `json:"gate"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	if in.Code == "" || len(in.Code) > maxCode {
		return problem.Field("code", "code must have 1 to %d characters", maxCode)
	}
	if err := ticket.ValidateText("gate", in.Gate, maxGate); err != nil {
		return err
	}
	id, version, err := a.Signer.Verify(in.Code)
	if err != nil {
		return err
	}
	t, err := a.Store.Ticket(r.Context(), id)
	if err != nil {
		return err
	}
	// First of all: what became of a ticket is the business of its event's organizer only.
	if _, err := a.organized(r.Context(), t.EventID); err != nil {
		return err
	}
	t, err = a.Store.CheckIn(r.Context(), id, version, in.Gate)
	if errors.Is(err, ticket.ErrAlreadyCheckedIn) {
		p := web.Problem(r, err)
		return web.WriteJSON(w, web.Status(p.Kind), struct {
			Error       string    `json:"error"`
			Message     string    `json:"message"`
			CheckedInAt time.Time `json:"checkedInAt"`
			Gate        string    `json:"gate"`
		}{p.Code, p.Message, t.CheckedInAt.UTC(), t.Gate})
	}
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, struct {
		TicketID     uuid.UUID `json:"ticketId"`
		TicketNumber string    `json:"ticketNumber"`
		HolderName   string    `json:"holderName"`
		TicketTypeID uuid.UUID `json:"ticketTypeId"`
		EventID      uuid.UUID `json:"eventId"`
		CheckedInAt  time.Time `json:"checkedInAt"`
		Gate         string    `json:"gate"`
	}{t.ID, t.Number, t.HolderName, t.TypeID, t.EventID, t.CheckedInAt.UTC(), t.Gate})
}

// attendeesBatch is how many lines of a table are read at a time.
const attendeesBatch = 500

// attendees writes a line per ticket, by number. It reads a batch at a time: neither does the table have
// to fit in memory, nor does a slow reader keep a connection to the database.
func (a API) attendees(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "eventId")
	if err != nil {
		return err
	}
	if _, err := a.organized(r.Context(), id); err != nil {
		return err
	}
	tickets, err := a.Store.TicketsOfEvent(r.Context(), id, "", attendeesBatch)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="attendees.csv"`)
	w.Header().Set("Cache-Control", "private, no-store")
	table := csv.NewWriter(w)
	// Its errors are those of the connection, kept for after the batch.
	_ = table.Write([]string{"ticketNumber", "ticketType", "holderName", "status", "checkedInAt"})
	for {
		for _, t := range tickets {
			var checkedInAt string
			if !t.CheckedInAt.IsZero() { // also of one that was cancelled with its event afterwards
				checkedInAt = t.CheckedInAt.UTC().Format(time.RFC3339)
			}
			_ = table.Write([]string{t.Number, cell(t.TypeName), cell(t.HolderName), string(t.Status), checkedInAt})
		}
		table.Flush()
		if err := table.Error(); err != nil { // the reader went away; there is nobody to tell
			slog.DebugContext(r.Context(), "attendees not written", "error", err.Error())
			return nil
		}
		if len(tickets) < attendeesBatch {
			return nil
		}
		next, err := a.Store.TicketsOfEvent(r.Context(), id, tickets[len(tickets)-1].Number, attendeesBatch)
		if err != nil {
			// The status is out. Only a connection that breaks off tells the reader that lines are missing.
			slog.ErrorContext(r.Context(), "attendees cut off", "error", err.Error())
			panic(http.ErrAbortHandler)
		}
		tickets = next
	}
}

// cell keeps spreadsheets from taking a text for a formula (OWASP, "CSV Injection").
func cell(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r\n", rune(text[0])) {
		return "'" + text
	}
	return text
}
