package httpapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
)

// errNotOrganizer reports an organizer of other events than the order's.
var errNotOrganizer = problem.New(problem.Forbidden, "NOT_EVENT_ORGANIZER", "Only the organizer of the event may do that")

type refundJSON struct {
	RefundID  uuid.UUID      `json:"refundId"`
	OrderID   uuid.UUID      `json:"orderId"`
	Status    refund.Status  `json:"status"`
	Amount    money.Decimal  `json:"amount"`
	Currency  money.Currency `json:"currency"`
	Reason    string         `json:"reason"`
	TicketIDs []uuid.UUID    `json:"ticketIds,omitempty"`
	CreatedAt time.Time      `json:"createdAt"`
}

func refundToJSON(r refund.Refund) refundJSON {
	return refundJSON{
		r.ID, r.OrderID, r.Status, r.Amount.Decimal(), r.Amount.Currency, r.Reason, r.TicketIDs, r.CreatedAt.UTC(),
	}
}

func (a API) requestRefund(w http.ResponseWriter, r *http.Request) error {
	key, err := idempotencyKey(r)
	if err != nil {
		return err
	}
	var in struct {
		TicketIDs web.Optional[[]string]      `json:"ticketIds"`
		Amount    web.Optional[money.Decimal] `json:"amount"`
		Reason    string                      `json:"reason"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	hash, err := hashOf(in)
	if err != nil {
		return err
	}
	o, err := a.orderInPath(r)
	if err != nil {
		return err
	}
	if err := a.mayRefund(r.Context(), o); err != nil {
		return err
	}
	asked := refund.Refund{
		ID: uuid.New(), OrderID: o.ID, RequestedBy: identity.CurrentUser(r.Context()).ID,
		Reason: strings.TrimSpace(in.Reason), Whole: in.TicketIDs.Value == nil && in.Amount.Value == nil,
	}
	switch {
	case in.TicketIDs.Value != nil && in.Amount.Value != nil:
		return problem.Field("amount", "amount and ticketIds exclude each other")
	case in.TicketIDs.Value != nil:
		if len(*in.TicketIDs.Value) == 0 {
			return problem.Field("ticketIds", "ticketIds must not be empty")
		}
		if asked.TicketIDs, err = web.ParseIDs("ticketIds", *in.TicketIDs.Value, refund.MaxTickets); err != nil {
			return err
		}
	case in.Amount.Value != nil && o.Total.Currency != "": // an order without a currency is refused anyway
		if asked.Amount, err = in.Amount.Value.In(o.Total.Currency); err != nil {
			return problem.Field("amount", "amount %s", err).Because(err)
		}
		if asked.Amount.Minor == 0 {
			return problem.Field("amount", "amount must be more than 0")
		}
	}
	if err := asked.Validate(); err != nil {
		return err
	}

	return a.carryOut(w, r, func(ctx context.Context) (uuid.UUID, bool, error) {
		return a.Store.CreateRefund(ctx, asked, key, hash)
	})
}

// returnPostponed gives the buyer of an order everything back, in the time after its event was postponed.
func (a API) returnPostponed(w http.ResponseWriter, r *http.Request) error {
	key, err := idempotencyKey(r)
	if err != nil {
		return err
	}
	hash, err := hashOf(refund.ReasonPostponed)
	if err != nil {
		return err
	}
	o, err := a.orderInPath(r)
	if err != nil {
		return err
	}
	user := identity.CurrentUser(r.Context())
	if o.UserID != user.ID {
		return notFound(o.ID)
	}
	return a.carryOut(w, r, func(ctx context.Context) (uuid.UUID, bool, error) {
		return a.Store.CreatePostponementRefund(ctx, refund.Refund{
			ID: uuid.New(), OrderID: o.ID, RequestedBy: user.ID, Reason: refund.ReasonPostponed, Whole: true,
		}, key, hash)
	})
}

// carryOut answers a request for a refund, which create stores if it is new.
func (a API) carryOut(w http.ResponseWriter, r *http.Request, create func(context.Context) (id uuid.UUID, created bool, err error)) error {
	// From here on the refund is driven to an end even if whoever asked for it goes away.
	ctx, cancel := web.Detach(r.Context(), sagaTimeout)
	defer cancel()
	id, leased, err := create(ctx)
	if err != nil {
		return err
	}
	if !leased { // the same request again: go on where it got stuck, if nobody is at it
		if leased, err = a.Store.LeaseRefund(ctx, id); err != nil {
			return err
		}
	}
	var done refund.Refund
	if leased {
		if done, err = a.Saga.DriveRefund(ctx, id); err != nil && !errors.Is(err, sidecar.ErrUnavailable) {
			return err
		}
	} else if done, err = a.Store.Refund(ctx, id); err != nil {
		return err
	}
	return answerRefund(w, done)
}

// answerRefund tells what became of a refund: 202 while that is not known, a 4xx when its tickets were
// refused, and 201 otherwise, with the bank's refusal in it if there was one.
func answerRefund(w http.ResponseWriter, r refund.Refund) error {
	for _, refusal := range []*problem.Error{refund.ErrTicketUsed, refund.ErrTicketNotFound} {
		if r.Failure.Code == refusal.Code {
			return refusal
		}
	}
	status := http.StatusCreated
	if r.Status == refund.Pending {
		status = http.StatusAccepted
	}
	return web.WriteJSON(w, status, refundToJSON(r))
}

// mayRefund lets admins through, and the organizer of the order's event. It returns errNotOrganizer, and
// sidecar.ErrUnavailable when event-service cannot say.
func (a API) mayRefund(ctx context.Context, o order.Order) error {
	user := identity.CurrentUser(ctx)
	if user.Has(identity.RoleAdmin) {
		return nil
	}
	organizes, err := a.Saga.Organizes(ctx, user.ID, o.EventID)
	if err != nil {
		return err
	}
	if !organizes {
		return errNotOrganizer
	}
	return nil
}

// listRefunds shows an order's refunds to its buyer and to whoever could ask for one. To people who are
// neither the order does not exist, as it does not for orderOfCaller.
func (a API) listRefunds(w http.ResponseWriter, r *http.Request) error {
	page, err := web.ParsePage(r)
	if err != nil {
		return err
	}
	o, err := a.orderInPath(r)
	if err != nil {
		return err
	}
	if user := identity.CurrentUser(r.Context()); o.UserID != user.ID {
		if !slices.ContainsFunc([]identity.Role{identity.RoleOrganizer, identity.RoleAdmin}, user.Has) {
			return notFound(o.ID)
		}
		if err := a.mayRefund(r.Context(), o); err != nil {
			return err
		}
	}
	found, err := a.Store.RefundsOf(r.Context(), o.ID, page)
	if err != nil {
		return err
	}
	var out struct {
		Refunds    []refundJSON `json:"refunds"`
		NextCursor string       `json:"nextCursor,omitempty"`
	}
	found, out.NextCursor = paging.Cut(page, found, func(r refund.Refund) (time.Time, uuid.UUID) { return r.CreatedAt, r.ID })
	out.Refunds = make([]refundJSON, len(found))
	for i, r := range found {
		out.Refunds[i] = refundToJSON(r)
	}
	return web.WriteJSON(w, http.StatusOK, out)
}
