package httpapi

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga"
)

// orderJSON returns the JSON form of an order. It is the same for users and for services. It has amounts only when the
// tickets are reserved, because the price is not known before.
func orderJSON(o order.Order) calls.OrderInfoAnswer {
	out := calls.OrderInfoAnswer{
		OrderID: o.ID, OrderNumber: o.Number, UserID: o.UserID, EventID: o.EventID,
		PaymentStatus: calls.PaymentStatus(o.Status), PaymentMethod: calls.PaymentMethod(o.Method),
		Items:         make([]calls.OrderItem, len(o.Items)),
		FailureReason: o.Failure.Code, FailureMessage: o.Failure.Message, CreatedAt: o.CreatedAt.UTC(),
	}
	if o.Action != nil {
		out.PaymentStatus = calls.PaymentRequiresAction
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
	out.DisputeStatus = o.Dispute
	if o.Disputed.Minor > 0 {
		out.DisputedAmount = o.Disputed.Decimal()
	}
	for i, item := range o.Items {
		out.Items[i] = calls.OrderItem{
			TicketTypeID: item.TicketTypeID, TicketTypeName: item.Name, Quantity: item.Quantity,
		}
		if reserved {
			out.Items[i].UnitPrice = item.UnitPrice.Decimal()
			out.Items[i].TotalPrice = item.UnitPrice.Times(item.Quantity).Decimal()
		}
	}
	return out
}

// buyersJSON returns the JSON form of an order for its buyer. It has the action, which only the buyer may take.
func buyersJSON(o order.Order) buyersOrder { return buyersOrder{orderJSON(o), o.Action} }

type buyersOrder struct {
	calls.OrderInfoAnswer
	Action *calls.PaymentAction `json:"action,omitempty"`
}

// errTooManyRequests is the response to a buyer if ticket-service rejected the reservation because of too many
// requests.
var errTooManyRequests = problem.New(problem.Throttled, "TOO_MANY_REQUESTS",
	"Too many requests for these tickets, please try again shortly")

// orderRequest is a request to place an order. Its ids are strings, so that an invalid one can be named.
type orderRequest struct {
	EventID        string `json:"eventId"`
	TicketRequests []struct {
		TicketTypeID string `json:"ticketTypeId"`
		Quantity     int    `json:"quantity"`
	} `json:"ticketRequests"`
	PaymentMethod order.Method `json:"paymentMethod"`
	PaymentToken  string       `json:"paymentToken"`
	HolderName    string       `json:"holderName"`
	ReturnURL     string       `json:"returnUrl,omitempty"`
	// ExpectedTotal is omitted if empty, so that requests without it have the hash that they had before it existed.
	ExpectedTotal money.Decimal `json:"expectedTotal,omitempty"`
}

// placeOrder stores an order and drives it. A repeated request continues the order.
func (a api) placeOrder(w http.ResponseWriter, r *http.Request) error {
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
		// Version 7 ids are ordered by time, so that new rows are adjacent in the indexes, here and in ticket-service.
		ID: uuid.Must(uuid.NewV7()), ReservationID: uuid.Must(uuid.NewV7()), UserID: user.ID, EventID: eventID,
		HolderName: strings.TrimSpace(in.HolderName), Method: in.PaymentMethod, PaymentToken: in.PaymentToken,
		ReturnURL: in.ReturnURL, ExpectedTotal: in.ExpectedTotal,
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

	leave, err := a.queue.Enter(r.Context())
	if err != nil {
		return err
	}
	defer leave()
	// From here on the order is driven on even if the buyer disconnects.
	ctx, cancel := web.Detach(r.Context(), sagaTimeout)
	defer cancel()
	id, leased, err := a.store.Create(ctx, o, key, hash)
	if err != nil {
		return err
	}
	if !leased { // a repeated request: continue the order, unless another driver holds the lease
		if leased, err = a.store.Lease(ctx, id); err != nil {
			return err
		}
	}
	var stopped error // saga.ErrUnsettled if the saga stopped before its end
	if leased {
		if o, stopped = a.saga.Drive(ctx, id); stopped != nil && !errors.Is(stopped, saga.ErrUnsettled) {
			return stopped
		}
	} else if o, err = a.store.Order(ctx, id); err != nil {
		return err
	}
	return respond(w, o, stopped)
}

// respond writes the outcome of an order: 201 if it is paid; 402, 409 or another 4xx if it failed; 429 or 503 with
// Retry-After if it stopped before a charge, because of too many requests or because a service did not respond; and 202
// if the outcome is not known yet. stopped is the error with which the saga stopped, nil if it did not.
func respond(w http.ResponseWriter, o order.Order, stopped error) error {
	w.Header().Set("Location", "/api/payments/orders/"+o.ID.String())
	switch {
	case o.Status == order.Completed || o.Status == order.Refunded:
		return web.WriteJSON(w, http.StatusCreated, orderJSON(o))
	case o.Status == order.Failed:
		p := refusal(o)
		var declineReason string
		if p.Code == codeDeclined {
			declineReason = o.Failure.Code
		}
		var currentTotal money.Decimal
		if o.Failure.CurrentTotal.Currency != "" {
			currentTotal = o.Failure.CurrentTotal.Decimal()
		}
		return web.WriteJSON(w, web.Status(p.Kind), struct {
			Error         string                `json:"error"`
			Message       string                `json:"message"`
			Field         string                `json:"field,omitempty"`
			DeclineReason string                `json:"declineReason,omitempty"`
			CurrentTotal  money.Decimal         `json:"currentTotal,omitempty"`
			Currency      money.Currency        `json:"currency,omitempty"`
			Order         calls.OrderInfoAnswer `json:"order"`
		}{
			p.Code, p.Message, p.Field, declineReason, currentTotal, o.Failure.CurrentTotal.Currency, orderJSON(o),
		})
	case o.Step == order.Reserve && stopped != nil:
		if errors.Is(stopped, errTooManyRequests) {
			return retryLater(errTooManyRequests, stopped)
		}
		return retryLater(sidecar.ErrUnavailable, stopped)
	default:
		return web.WriteJSON(w, http.StatusAccepted, buyersJSON(o))
	}
}

// refusal returns the error of a failed order. An order that failed before the charge has ticket-service's code and
// status. Any other is PAYMENT_DECLINED, with the reason in a field of its own, unless the request was invalid.
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

// codeDeclined is the error code of an order whose charge was declined.
const codeDeclined = "PAYMENT_DECLINED"

func (a api) ownOrders(w http.ResponseWriter, r *http.Request) error {
	page, err := web.ParsePage(r)
	if err != nil {
		return err
	}
	found, err := a.store.OrdersOf(r.Context(), identity.CurrentUser(r.Context()).ID, page)
	if err != nil {
		return err
	}
	var out struct {
		Orders     []calls.OrderInfoAnswer `json:"orders"`
		NextCursor string                  `json:"nextCursor,omitempty"`
	}
	out.Orders, out.NextCursor = paging.Cut(page, found, func(o order.Order) (time.Time, uuid.UUID) {
		return o.CreatedAt, o.ID
	}, orderJSON)
	return web.WriteJSON(w, http.StatusOK, out)
}

func (a api) ownOrder(w http.ResponseWriter, r *http.Request) error {
	o, err := a.orderOfCaller(r)
	if err != nil {
		return err
	}
	if o.UserID != identity.CurrentUser(r.Context()).ID { // an admin
		o.Action = nil
	}
	return web.WriteJSON(w, http.StatusOK, buyersJSON(o))
}

func (a api) internalOrder(w http.ResponseWriter, r *http.Request) error {
	o, err := a.orderInPath(r)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, orderJSON(o))
}
