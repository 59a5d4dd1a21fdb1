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
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga"
)

// errNotOrganizer reports an organizer who is not the organizer of the order's event.
var errNotOrganizer = problem.New(problem.Forbidden, "NOT_EVENT_ORGANIZER",
	"Only the organizer of the event may do that")

// refundJSON is the JSON form of a refund.
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

// requestRefund creates a refund of tickets, of an amount, or of the whole order, and drives it.
func (a api) requestRefund(w http.ResponseWriter, r *http.Request) error {
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
	if err := a.authorizeRefund(r.Context(), o); err != nil {
		return err
	}
	requested := refund.Refund{
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
		if requested.TicketIDs, err = web.ParseIDs("ticketIds", *in.TicketIDs.Value, refund.MaxTickets); err != nil {
			return err
		}
	case in.Amount.Value != nil && o.Total.Currency != "": // an order without a currency is refused by the store
		if requested.Amount, err = in.Amount.Value.In(o.Total.Currency); err == nil {
			_, err = requested.Amount.CardUnits()
		}
		if err != nil {
			return problem.Field("amount", "amount %s", err).Because(err)
		}
		if requested.Amount.Minor == 0 {
			return problem.Field("amount", "amount must be more than 0")
		}
	}
	if err := requested.Validate(); err != nil {
		return err
	}

	return a.driveRefund(w, r, func(ctx context.Context) (uuid.UUID, bool, error) {
		return a.store.CreateRefund(ctx, requested, key, hash)
	})
}

// requestPostponementRefund cancels tickets that their owner returns, for a limited time after the event was postponed,
// and refunds them to the buyer of the order. The owner need not be the buyer. Without ticketIds, it cancels all
// tickets of the order that the caller owns.
func (a api) requestPostponementRefund(w http.ResponseWriter, r *http.Request) error {
	key, err := idempotencyKey(r)
	if err != nil {
		return err
	}
	var in struct {
		TicketIDs web.Optional[[]string] `json:"ticketIds"`
	}
	if err := web.DecodeOptional(w, r, &in); err != nil {
		return err
	}
	var ids []uuid.UUID
	var request any = refund.ReasonPostponed
	if in.TicketIDs.Value != nil {
		request = in
		if len(*in.TicketIDs.Value) == 0 {
			return problem.Field("ticketIds", "ticketIds must not be empty")
		}
		if ids, err = web.ParseIDs("ticketIds", *in.TicketIDs.Value, refund.MaxTickets); err != nil {
			return err
		}
		if err := refund.ValidateTickets(ids); err != nil {
			return err
		}
	}
	hash, err := hashOf(request)
	if err != nil {
		return err
	}
	o, err := a.orderInPath(r)
	if err != nil {
		return err
	}
	user := identity.CurrentUser(r.Context())
	return a.driveRefund(w, r, func(ctx context.Context) (uuid.UUID, bool, error) {
		// A repetition comes first: the tickets of the earlier request are cancelled by now.
		id, found, err := a.store.EarlierRefund(ctx, o.ID, user.ID, key, hash)
		if err != nil || found {
			return id, false, err
		}
		returned, err := a.saga.Returned(ctx, o, user.ID, ids)
		switch {
		case errors.Is(err, order.ErrNotFound):
			return uuid.Nil, false, notFound(o.ID)
		case errors.Is(err, sidecar.ErrUnavailable):
			return uuid.Nil, false, retryLater(sidecar.ErrUnavailable, err)
		case err != nil:
			return uuid.Nil, false, err
		}
		return a.store.CreatePostponementRefund(ctx, refund.Refund{
			ID: uuid.New(), OrderID: o.ID, RequestedBy: user.ID, HolderID: user.ID,
			TicketIDs: returned, Reason: refund.ReasonPostponed,
		}, key, hash)
	})
}

// driveRefund drives the refund that create stores, and writes its outcome. If the request is a repetition, create
// returns the earlier refund, and driveRefund continues that.
func (a api) driveRefund(
	w http.ResponseWriter, r *http.Request, create func(context.Context) (id uuid.UUID, created bool, err error),
) error {
	// From here on the refund is driven on even if the caller disconnects.
	ctx, cancel := web.Detach(r.Context(), sagaTimeout)
	defer cancel()
	id, leased, err := create(ctx)
	if err != nil {
		return err
	}
	if !leased { // a repeated request: continue the refund, unless another driver holds the lease
		if leased, err = a.store.LeaseRefund(ctx, id); err != nil {
			return err
		}
	}
	var driven refund.Refund
	if leased {
		if driven, err = a.saga.DriveRefund(ctx, id); err != nil && !errors.Is(err, saga.ErrUnsettled) {
			return err
		}
	} else if driven, err = a.store.Refund(ctx, id); err != nil {
		return err
	}
	return respondRefund(w, driven)
}

// respondRefund writes the outcome of a refund: 202 if it is not known yet, a 4xx if the tickets were refused, and 201
// otherwise, with the status FAILED if the bank refused it.
func respondRefund(w http.ResponseWriter, r refund.Refund) error {
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

// authorizeRefund returns nil if the caller is an admin or the organizer of the order's event, and errNotOrganizer or
// sidecar.ErrUnavailable otherwise.
func (a api) authorizeRefund(ctx context.Context, o order.Order) error {
	user := identity.CurrentUser(ctx)
	if user.Has(identity.RoleAdmin) {
		return nil
	}
	organizes, err := a.saga.Organizes(ctx, user.ID, o.EventID)
	if errors.Is(err, sidecar.ErrUnavailable) {
		return retryLater(sidecar.ErrUnavailable, err)
	}
	if err != nil {
		return err
	}
	if !organizes {
		return errNotOrganizer
	}
	return nil
}

// listRefunds lists an order's refunds for its buyer, for admins and for the organizer of its event. To users without
// these roles the order does not exist.
func (a api) listRefunds(w http.ResponseWriter, r *http.Request) error {
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
		if err := a.authorizeRefund(r.Context(), o); err != nil {
			return err
		}
	}
	found, err := a.store.RefundsOf(r.Context(), o.ID, page)
	if err != nil {
		return err
	}
	var out struct {
		Refunds    []refundJSON `json:"refunds"`
		NextCursor string       `json:"nextCursor,omitempty"`
	}
	out.Refunds, out.NextCursor = paging.Cut(page, found, func(r refund.Refund) (time.Time, uuid.UUID) {
		return r.CreatedAt, r.ID
	}, refundToJSON)
	return web.WriteJSON(w, http.StatusOK, out)
}
