// Package httpapi is payment-service's HTTP surface: the public API, the contract's internal endpoint,
// and the routes that its sidecar delivers events and cron ticks to.
package httpapi

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/admission"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/store"
)

// API serves payment-service.
type API struct {
	Pool  *pgxpool.Pool
	Store *store.Store
	Saga  saga.Saga
	Queue *admission.OrderQueue
	Guard identity.Guard
}

// Router gives the routes.
func (a API) Router() *mux.Router {
	r := web.NewRouter()
	web.Health(r, web.Check{Name: "database", Probe: a.Pool.Ping})
	web.Docs(r, "payment-service")
	get := func(path string, h web.Handler) { r.Handle(path, h).Methods(http.MethodGet) }
	post := func(path string, h web.Handler) { r.Handle(path, h).Methods(http.MethodPost) }

	// For services, by the contract's "Payment Service API Contracts".
	get("/api/payments/internal/orders/{orderId}", a.Guard.Service(a.internalOrder))

	// For people.
	post("/api/payments/orders", a.Guard.Person(a.placeOrder))
	get("/api/payments/orders", a.Guard.Person(a.ownOrders))
	get("/api/payments/orders/{orderId}", a.Guard.Person(a.ownOrder))
	get("/api/payments/orders/{orderId}/history", a.Guard.Person(a.history))
	post("/api/payments/orders/{orderId}/refunds", a.Guard.Person(a.requestRefund, identity.RoleOrganizer, identity.RoleAdmin))
	get("/api/payments/orders/{orderId}/refunds", a.Guard.Person(a.listRefunds))
	post("/api/payments/orders/{orderId}/postponement-refund", a.Guard.Person(a.returnPostponed))

	// For admins.
	get("/api/payments/admin/sagas", a.Guard.Person(a.listSagas, identity.RoleAdmin))
	post("/api/payments/admin/orders/{orderId}/retry", a.Guard.Person(a.retry, identity.RoleAdmin))

	// For Stripe, which signs what it sends.
	post("/api/payments/webhooks/stripe", a.stripeWebhook)

	// For the sidecar.
	post("/bindings/resume-sagas", a.Guard.Sidecar(a.resumeSagas))
	return r
}

type itemJSON struct {
	TicketTypeID uuid.UUID     `json:"ticketTypeId"`
	Quantity     int           `json:"quantity"`
	UnitPrice    money.Decimal `json:"unitPrice,omitempty"`
	TotalPrice   money.Decimal `json:"totalPrice,omitempty"`
}

// orderJSON is the contract's OrderInfoDto. Amounts are left out until the tickets are reserved; before
// that nobody knows the price. The failure, and what went back, are beyond the contract.
type orderJSON struct {
	OrderID        uuid.UUID      `json:"orderId"`
	OrderNumber    string         `json:"orderNumber"`
	UserID         uuid.UUID      `json:"userId"`
	EventID        uuid.UUID      `json:"eventId"`
	TotalAmount    money.Decimal  `json:"totalAmount,omitempty"`
	Currency       money.Currency `json:"currency,omitempty"`
	RefundedAmount money.Decimal  `json:"refundedAmount,omitempty"`
	PaymentStatus  order.Status   `json:"paymentStatus"`
	PaymentMethod  order.Method   `json:"paymentMethod"`
	Items          []itemJSON     `json:"items"`
	FailureReason  string         `json:"failureReason,omitempty"`
	FailureMessage string         `json:"failureMessage,omitempty"`
	CreatedAt      time.Time      `json:"createdAt"`
	CompletedAt    *time.Time     `json:"completedAt,omitempty"`
}

func toJSON(o order.Order) orderJSON {
	out := orderJSON{
		OrderID: o.ID, OrderNumber: o.Number, UserID: o.UserID, EventID: o.EventID,
		PaymentStatus: o.Status, PaymentMethod: o.Method, Items: make([]itemJSON, len(o.Items)),
		FailureReason: o.Failure.Code, FailureMessage: o.Failure.Message, CreatedAt: o.CreatedAt.UTC(),
	}
	if !o.CompletedAt.IsZero() {
		completed := o.CompletedAt.UTC()
		out.CompletedAt = &completed
	}
	reserved := o.Total.Currency != ""
	if reserved {
		out.TotalAmount, out.Currency = o.Total.Decimal(), o.Total.Currency
	}
	if o.Refunded.Minor > 0 {
		out.RefundedAmount = o.Refunded.Decimal()
	}
	for i, item := range o.Items {
		out.Items[i] = itemJSON{TicketTypeID: item.TicketTypeID, Quantity: item.Quantity}
		if reserved {
			out.Items[i].UnitPrice = item.UnitPrice.Decimal()
			out.Items[i].TotalPrice = item.UnitPrice.Times(item.Quantity).Decimal()
		}
	}
	return out
}

// retryAfter is when a buyer whose order found no service, or a crowd, should come back with the same key.
const retryAfter = 5 * time.Second

// errCrowd is ticket-service's refusal when more want the same tickets than it can serve in time, and the buyer's answer then.
var errCrowd = problem.New(problem.Throttled, "TOO_MANY_REQUESTS", "Too many people want these tickets at this moment")

// sagaTimeout bounds how long a person waits for an answer.
const sagaTimeout = 50 * time.Second

// sweepTimeout bounds a sweep: the time in which it takes up sagas, and that of the last one's calls.
const sweepTimeout = time.Minute

// orderRequest is an order as a buyer sends it. Ids are read later, so that a bad one can be named.
type orderRequest struct {
	EventID        string `json:"eventId"`
	TicketRequests []struct {
		TicketTypeID string `json:"ticketTypeId"`
		Quantity     int    `json:"quantity"`
	} `json:"ticketRequests"`
	PaymentMethod order.Method `json:"paymentMethod"`
	PaymentToken  string       `json:"paymentToken"`
	HolderName    string       `json:"holderName"`
}

// idempotencyKey reads the header by which a person's request can be sent again.
func idempotencyKey(r *http.Request) (string, error) {
	key := r.Header.Get("Idempotency-Key")
	if !order.IsToken(key) {
		return "", problem.Field("Idempotency-Key",
			"The header Idempotency-Key must have 1 to %d printable ASCII characters", order.MaxToken)
	}
	return key, nil
}

// hashOf tells requests apart that came under one key.
func hashOf(request any) ([]byte, error) {
	canonical, err := json.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("hash the request: %w", err)
	}
	hash := sha256.Sum256(canonical)
	return hash[:], nil
}

func (a API) placeOrder(w http.ResponseWriter, r *http.Request) error {
	key, err := idempotencyKey(r)
	if err != nil {
		return err
	}
	var in orderRequest
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	eventID, err := web.ParseID("eventId", in.EventID)
	if err != nil {
		return err
	}
	user := identity.CurrentUser(r.Context())
	o := order.Order{
		// Ordered by time: new ones are neighbours in the indexes, here and at ticket-service, however many there are.
		ID: uuid.Must(uuid.NewV7()), ReservationID: uuid.Must(uuid.NewV7()), UserID: user.ID, EventID: eventID,
		HolderName: strings.TrimSpace(in.HolderName), Method: in.PaymentMethod, PaymentToken: in.PaymentToken,
	}
	if in.HolderName == "" {
		o.HolderName = user.Name
	}
	for _, t := range in.TicketRequests {
		typeID, err := web.ParseID("ticketRequests.ticketTypeId", t.TicketTypeID)
		if err != nil {
			return err
		}
		o.Items = append(o.Items, order.Item{TicketTypeID: typeID, Quantity: t.Quantity})
	}
	if err := o.Validate(); err != nil {
		return err
	}
	hash, err := hashOf(in)
	if err != nil {
		return err
	}

	leave, err := a.Queue.Enter(r.Context())
	if err != nil {
		return err
	}
	defer leave()
	// From here on the order is driven to an end even if the buyer goes away.
	ctx, cancel := web.Detach(r.Context(), sagaTimeout)
	defer cancel()
	id, leased, err := a.Store.Create(ctx, o, key, hash)
	if err != nil {
		return err
	}
	if !leased { // the same request again: go on where it got stuck, if nobody is at it
		if leased, err = a.Store.Lease(ctx, id); err != nil {
			return err
		}
	}
	var stopped error
	if leased {
		if o, stopped = a.Saga.Drive(ctx, id); stopped != nil && !errors.Is(stopped, sidecar.ErrUnavailable) {
			return stopped
		}
	} else if o, err = a.Store.Order(ctx, id); err != nil {
		return err
	}
	return answer(w, o, stopped)
}

// answer tells a buyer what became of the order: 201 when it is paid, 402, 409 or another 4xx when it
// failed; when it stopped before anything was charged, 429 if there were too many and 503 if it found no service;
// and 202 while that is not known.
func answer(w http.ResponseWriter, o order.Order, stopped error) error {
	w.Header().Set("Location", "/api/payments/orders/"+o.ID.String())
	switch {
	case o.Status == order.Completed || o.Status == order.Refunded:
		return web.WriteJSON(w, http.StatusCreated, toJSON(o))
	case o.Status == order.Failed:
		p := refusal(o)
		var declineReason string
		if p.Code == codeDeclined {
			declineReason = o.Failure.Code
		}
		return web.WriteJSON(w, web.Status(p.Kind), struct {
			Error         string    `json:"error"`
			Message       string    `json:"message"`
			Field         string    `json:"field,omitempty"`
			DeclineReason string    `json:"declineReason,omitempty"`
			Order         orderJSON `json:"order"`
		}{p.Code, p.Message, p.Field, declineReason, toJSON(o)})
	case o.Step == order.Reserve && stopped != nil:
		again := *sidecar.ErrUnavailable
		if errors.Is(stopped, errCrowd) {
			again = *errCrowd
		}
		again.RetryAfter = retryAfter
		return &again
	default:
		return web.WriteJSON(w, http.StatusAccepted, toJSON(o))
	}
}

// refusal gives the error form of a failed order. One that was never charged keeps ticket-service's code
// and status; after that it is a decline, whose reason stands beside it, unless the request was wrong.
func refusal(o order.Order) *problem.Error {
	kind, known := map[string]problem.Kind{
		"EVENT_NOT_FOUND":           problem.NotFound,
		"TICKET_TYPE_NOT_FOUND":     problem.NotFound,
		order.ErrUnknownMethod.Code: problem.Invalid,
		"VALIDATION_ERROR":          problem.Invalid,
	}[o.Failure.Code]
	switch {
	case known:
	case o.ChargeSince.IsZero():
		kind = problem.Conflict
	default:
		return problem.New(problem.PaymentRequired, codeDeclined, "%s", o.Failure.Message)
	}
	p := problem.New(kind, o.Failure.Code, "%s", o.Failure.Message)
	if p.Is(order.ErrUnknownMethod) {
		p.Field = order.ErrUnknownMethod.Field
	}
	return p
}

// codeDeclined is the error of an order whose charge was declined.
const codeDeclined = "PAYMENT_DECLINED"

func (a API) ownOrders(w http.ResponseWriter, r *http.Request) error {
	page, err := web.ParsePage(r)
	if err != nil {
		return err
	}
	found, err := a.Store.OrdersOf(r.Context(), identity.CurrentUser(r.Context()).ID, page)
	if err != nil {
		return err
	}
	var out struct {
		Orders     []orderJSON `json:"orders"`
		NextCursor string      `json:"nextCursor,omitempty"`
	}
	found, out.NextCursor = paging.Cut(page, found, func(o order.Order) (time.Time, uuid.UUID) { return o.CreatedAt, o.ID })
	out.Orders = make([]orderJSON, len(found))
	for i, o := range found {
		out.Orders[i] = toJSON(o)
	}
	return web.WriteJSON(w, http.StatusOK, out)
}

func (a API) ownOrder(w http.ResponseWriter, r *http.Request) error {
	o, err := a.orderOfCaller(r)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, toJSON(o))
}

// orderOfCaller gives the order in the path to its buyer, and to nobody else but an admin: to others it
// does not exist.
func (a API) orderOfCaller(r *http.Request) (order.Order, error) {
	o, err := a.orderInPath(r)
	if err != nil {
		return o, err
	}
	if user := identity.CurrentUser(r.Context()); o.UserID != user.ID && !user.Has(identity.RoleAdmin) {
		return order.Order{}, notFound(o.ID)
	}
	return o, nil
}

func (a API) orderInPath(r *http.Request) (order.Order, error) {
	id, err := web.PathID(r, "orderId")
	if err != nil {
		return order.Order{}, err
	}
	o, err := a.Store.Order(r.Context(), id)
	if errors.Is(err, order.ErrNotFound) {
		return o, notFound(id)
	}
	return o, err
}

func notFound(id uuid.UUID) error {
	return problem.New(problem.NotFound, order.ErrNotFound.Code, "Order with ID %s not found", id)
}

func (a API) internalOrder(w http.ResponseWriter, r *http.Request) error {
	o, err := a.orderInPath(r)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, toJSON(o))
}

func (a API) resumeSagas(w http.ResponseWriter, r *http.Request) error {
	// A sidecar that dies meanwhile takes the calls with it, and not the time to let go of the sagas, for which
	// others would have to wait until their leases end.
	ctx, cancel := web.Detach(r.Context(), sweepTimeout)
	defer cancel()
	n, err := a.Saga.Sweep(ctx)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, map[string]int{"resumed": n})
}
