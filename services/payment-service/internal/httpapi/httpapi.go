// Package httpapi is payment-service's HTTP API: the public routes, the contract's internal route, Stripe's webhook,
// and the route of the sidecar's cron ticks. It decodes requests, calls packages saga and store, and encodes responses.
package httpapi

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/admission"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/store"
)

// Deps is what the API depends on.
type Deps struct {
	Store    *store.Store
	Saga     saga.Saga
	Queue    *admission.OrderQueue // of new orders
	Guard    identity.Guard
	Database web.Check // the health of the database
}

type api struct {
	store *store.Store
	saga  saga.Saga
	queue *admission.OrderQueue
}

// New returns the router.
func New(deps Deps) *mux.Router {
	a, guard := api{deps.Store, deps.Saga, deps.Queue}, deps.Guard
	r := web.NewRouter()
	web.Health(r, deps.Database)
	web.Docs(r, "payment-service")
	get := func(path string, h web.Handler) { r.Handle(path, h).Methods(http.MethodGet) }
	post := func(path string, h web.Handler) { r.Handle(path, h).Methods(http.MethodPost) }

	// For services: the contract's "Payment Service API Contracts".
	guard.Service(r, calls.OrderInfo.Route, a.internalOrder)

	// For users.
	post("/api/payments/orders", guard.Person(a.placeOrder))
	get("/api/payments/orders", guard.Person(a.ownOrders))
	get("/api/payments/orders/{orderId}", guard.Person(a.ownOrder))
	get("/api/payments/orders/{orderId}/history", guard.Person(a.history))
	post("/api/payments/orders/{orderId}/refunds",
		guard.Person(a.requestRefund, identity.RoleOrganizer, identity.RoleAdmin))
	get("/api/payments/orders/{orderId}/refunds", guard.Person(a.listRefunds))
	post("/api/payments/orders/{orderId}/postponement-refund", guard.Person(a.requestPostponementRefund))

	// For admins.
	get("/api/payments/admin/sagas", guard.Person(a.listSagas, identity.RoleAdmin))
	post("/api/payments/admin/sagas/retry", guard.Person(a.retryStuck, identity.RoleAdmin))
	post("/api/payments/admin/orders/{orderId}/retry", guard.Person(a.retry, identity.RoleAdmin))

	// For Stripe, which signs its requests.
	post("/api/payments/webhooks/stripe", a.stripeWebhook)

	// For the service's own sidecar.
	post("/bindings/resume-sagas", guard.Sidecar(a.resumeSagas))
	return r
}

const (
	// retryAfter is the Retry-After of a response that an unsettled call caused, if the callee sent none.
	retryAfter = 5 * time.Second
	// sagaTimeout bounds the time for which a request drives a saga.
	sagaTimeout = 50 * time.Second
	// sweepTimeout bounds a sweep: the time for which it leases sagas, and the calls of the last ones.
	sweepTimeout = time.Minute
)

// retryLater returns p with the cause err, a call that failed or a step that is unsettled. Its Retry-After is the one
// that the callee sent, or retryAfter.
func retryLater(p *problem.Error, err error) *problem.Error {
	p = p.Because(err)
	p.RetryAfter = retryAfter
	if cause, ok := errors.AsType[*problem.Error](err); ok && cause.RetryAfter > 0 {
		p.RetryAfter = cause.RetryAfter
	}
	return p
}

// idempotencyKey returns the request's Idempotency-Key. It returns a *problem.Error if that is missing or invalid.
func idempotencyKey(r *http.Request) (string, error) {
	key := r.Header.Get("Idempotency-Key")
	if !order.IsToken(key) {
		return "", problem.Field("Idempotency-Key",
			"The header Idempotency-Key must have 1 to %d printable ASCII characters", order.MaxToken)
	}
	return key, nil
}

// hashOf returns a hash that distinguishes different requests with the same Idempotency-Key.
func hashOf(request any) ([]byte, error) {
	canonical, err := json.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("hash the request: %w", err)
	}
	hash := sha256.Sum256(canonical)
	return hash[:], nil
}

// orderOfCaller returns the order in the path if the caller is its buyer or an admin. To other callers the order does
// not exist.
func (a api) orderOfCaller(r *http.Request) (order.Order, error) {
	o, err := a.orderInPath(r)
	if err != nil {
		return o, err
	}
	if user := identity.CurrentUser(r.Context()); o.UserID != user.ID && !user.Has(identity.RoleAdmin) {
		return order.Order{}, notFound(o.ID)
	}
	return o, nil
}

// orderInPath returns the order in the path.
func (a api) orderInPath(r *http.Request) (order.Order, error) {
	id, err := web.PathID(r, "orderId")
	if err != nil {
		return order.Order{}, err
	}
	o, err := a.store.Order(r.Context(), id)
	if errors.Is(err, order.ErrNotFound) {
		return o, notFound(id)
	}
	return o, err
}

func notFound(id uuid.UUID) error {
	return problem.New(problem.NotFound, order.ErrNotFound.Code, "Order with ID %s not found", id)
}

// resumeSagas runs a sweep.
func (a api) resumeSagas(w http.ResponseWriter, r *http.Request) error {
	// If the sidecar dies, the calls of the sweep fail, and the sweep still has the time to end its leases. Otherwise
	// other replicas would have to wait until the leases expire.
	ctx, cancel := web.Detach(r.Context(), sweepTimeout)
	defer cancel()
	n, err := a.saga.Sweep(ctx)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, struct {
		Resumed int `json:"resumed"`
	}{n})
}
