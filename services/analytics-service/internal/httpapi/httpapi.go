// Package httpapi is analytics-service's HTTP API for organizers and the handlers of the events that it consumes. It
// decodes requests and events, calls packages sales and store, and encodes responses.
package httpapi

import (
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/eventbooking/eventbooking/services/analytics-service/internal/sales"
	"github.com/eventbooking/eventbooking/services/analytics-service/internal/store"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// Deps is what the API depends on.
type Deps struct {
	Store    *store.Store
	Guard    identity.Guard
	Database web.Check // the health of the database
}

type api struct{ store *store.Store }

// New returns a router with the service's routes, except those of its event consumer.
func New(deps Deps) *mux.Router {
	a := api{deps.Store}
	r := web.NewRouter()
	web.Health(r, deps.Database)
	web.Docs(r, "analytics-service")
	r.Handle("/api/analytics/events", deps.Guard.Person(a.events)).Methods(http.MethodGet)
	r.Handle("/api/analytics/events/{eventId}/sales", deps.Guard.Person(a.sales)).Methods(http.MethodGet)
	return r
}

type salesJSON struct {
	EventID          uuid.UUID         `json:"eventId"`
	EventName        string            `json:"eventName"`
	Status           sales.EventStatus `json:"status"`
	Currency         *money.Currency   `json:"currency"` // null before the first order or refund
	OrdersCompleted  int64             `json:"ordersCompleted"`
	OrdersFailed     int64             `json:"ordersFailed"`
	TicketsSold      int64             `json:"ticketsSold"`
	TicketsGenerated int64             `json:"ticketsGenerated"`
	TicketsCancelled int64             `json:"ticketsCancelled"`
	CheckedIn        int64             `json:"checkedIn"`
	Revenue          money.Decimal     `json:"revenue"`
	Refunds          int64             `json:"refunds"`
	Refunded         money.Decimal     `json:"refunded"`
	Disputes         int64             `json:"disputes"`
	Disputed         money.Decimal     `json:"disputed"`
	ByTicketType     []typeSalesJSON   `json:"byTicketType"`
	ByHour           []hourSalesJSON   `json:"byHour"`
}

type typeSalesJSON struct {
	TicketTypeID uuid.UUID     `json:"ticketTypeId"`
	TicketsSold  int64         `json:"ticketsSold"`
	Revenue      money.Decimal `json:"revenue"`
	CheckedIn    int64         `json:"checkedIn"`
	Refunded     int64         `json:"refunded"` // tickets
}

type hourSalesJSON struct {
	Hour        time.Time     `json:"hour"`
	TicketsSold int64         `json:"ticketsSold"`
	Revenue     money.Decimal `json:"revenue"`
	CheckedIn   int64         `json:"checkedIn"`
}

// sales returns the figures of one event to its organizer and to admins.
func (a api) sales(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "eventId")
	if err != nil {
		return err
	}
	report, err := a.store.Report(r.Context(), id)
	if err != nil {
		return err
	}
	if !report.VisibleTo(identity.CurrentUser(r.Context())) {
		return sales.ErrNotFound // not "forbidden", which would reveal that the event exists
	}
	decimal := func(minor int64) money.Decimal { return money.Of(minor, report.Currency).Decimal() }
	out := salesJSON{
		EventID: id, EventName: report.Event.Name, Status: report.Event.Status, Currency: orNull(report.Currency),
		OrdersCompleted: report.OrdersCompleted, OrdersFailed: report.OrdersFailed,
		TicketsSold: report.Tickets(), TicketsGenerated: report.TicketsGenerated,
		TicketsCancelled: report.TicketsCancelled, CheckedIn: report.CheckedIn(),
		Revenue: decimal(report.Revenue()), Refunds: report.Refunds, Refunded: decimal(report.Refunded),
		Disputes: report.Disputes, Disputed: decimal(report.Disputed),
		ByTicketType: make([]typeSalesJSON, len(report.ByTicketType)),
		ByHour:       make([]hourSalesJSON, len(report.ByHour)),
	}
	for i, t := range report.ByTicketType {
		out.ByTicketType[i] = typeSalesJSON{
			TicketTypeID: t.TicketTypeID, TicketsSold: t.Tickets, Revenue: decimal(t.Revenue),
			CheckedIn: t.CheckedIn, Refunded: t.Refunded,
		}
	}
	for i, h := range report.ByHour {
		out.ByHour[i] = hourSalesJSON{
			Hour: h.Hour.UTC(), TicketsSold: h.Tickets, Revenue: decimal(h.Revenue), CheckedIn: h.CheckedIn,
		}
	}
	return web.WriteJSON(w, http.StatusOK, out)
}

type totalsJSON struct {
	EventID     uuid.UUID         `json:"eventId"`
	EventName   string            `json:"eventName"`
	Status      sales.EventStatus `json:"status"`
	Currency    *money.Currency   `json:"currency"` // null before the first order or refund
	TicketsSold int64             `json:"ticketsSold"`
	CheckedIn   int64             `json:"checkedIn"`
	Revenue     money.Decimal     `json:"revenue"`
	Refunded    money.Decimal     `json:"refunded"`
}

// events returns a page of the events that the caller organizes.
func (a api) events(w http.ResponseWriter, r *http.Request) error {
	page, err := web.ParsePage(r)
	if err != nil {
		return err
	}
	found, err := a.store.Totals(r.Context(), identity.CurrentUser(r.Context()).ID, page)
	if err != nil {
		return err
	}
	var out struct {
		Events     []totalsJSON `json:"events"`
		NextCursor string       `json:"nextCursor,omitempty"`
	}
	out.Events, out.NextCursor = paging.Cut(page, found, func(t sales.Totals) (time.Time, uuid.UUID) {
		return t.KnownSince, t.EventID
	}, func(t sales.Totals) totalsJSON {
		return totalsJSON{
			EventID: t.EventID, EventName: t.Name, Status: t.Status, Currency: orNull(t.Currency),
			TicketsSold: t.Tickets, CheckedIn: t.CheckedIn,
			Revenue:  money.Of(t.Revenue, t.Currency).Decimal(),
			Refunded: money.Of(t.Refunded, t.Currency).Decimal(),
		}
	})
	return web.WriteJSON(w, http.StatusOK, out)
}

// orNull returns nil for no currency.
func orNull(c money.Currency) *money.Currency {
	if c == "" {
		return nil
	}
	return &c
}
