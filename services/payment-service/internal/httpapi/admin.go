package httpapi

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
)

// listSagas lists the unfinished sagas, or only those that operations were alerted about.
func (a api) listSagas(w http.ResponseWriter, r *http.Request) error {
	page, err := web.ParsePage(r)
	if err != nil {
		return err
	}
	stuck := r.URL.Query().Get("stuck")
	switch stuck {
	case "", "true", "false":
	default:
		return problem.Field("stuck", "stuck must be true or false")
	}
	found, err := a.store.Unfinished(r.Context(), stuck == "true", page)
	if err != nil {
		return err
	}
	type sagaJSON struct {
		SagaID    uuid.UUID  `json:"sagaId"`
		SagaType  string     `json:"sagaType"`
		OrderID   uuid.UUID  `json:"orderId"`
		Status    string     `json:"status"`
		Step      string     `json:"step"`
		Attempts  int        `json:"attempts"`
		Reason    string     `json:"reason,omitempty"`
		CreatedAt time.Time  `json:"createdAt"`
		AlertedAt *time.Time `json:"stuckAt,omitempty"`
		DueAt     *time.Time `json:"dueAt,omitempty"`
	}
	var out struct {
		Sagas      []sagaJSON `json:"sagas"`
		NextCursor string     `json:"nextCursor,omitempty"`
	}
	out.Sagas, out.NextCursor = paging.Cut(page, found, func(u order.Unfinished) (time.Time, uuid.UUID) {
		return u.CreatedAt, u.SagaID
	}, func(u order.Unfinished) sagaJSON {
		return sagaJSON{
			u.SagaID, u.SagaType, u.OrderID, u.Status, u.Step, u.Tries, u.Reason, u.CreatedAt.UTC(),
			inUTC(u.AlertedAt), inUTC(u.DueAt),
		}
	})
	return web.WriteJSON(w, http.StatusOK, out)
}

// inUTC returns a time in UTC, or nil.
func inUTC(at *time.Time) *time.Time {
	if at == nil {
		return nil
	}
	utc := at.UTC()
	return &utc
}

// maxRetries is how many orders one request retries.
const maxRetries = 500

// retryStuck makes the stuck sagas of many orders due, so that the next sweeps resume them. An order that cannot be
// retried does not keep the others from it.
func (a api) retryStuck(w http.ResponseWriter, r *http.Request) error {
	ids, err := a.store.StuckOrders(r.Context(), maxRetries)
	if err != nil {
		return err
	}
	var out struct {
		Retried int         `json:"retried"`
		Failed  []uuid.UUID `json:"failed"`
	}
	out.Failed = []uuid.UUID{}
	by := identity.CurrentUser(r.Context()).ID
	for _, id := range ids {
		if err := a.store.Retry(r.Context(), id, by); err != nil {
			slog.WarnContext(r.Context(), "retry of stuck order failed", "orderId", id, "error", err.Error())
			out.Failed = append(out.Failed, id)
			continue
		}
		out.Retried++
	}
	return web.WriteJSON(w, http.StatusOK, out)
}

// retry makes the sagas of an order due, so that the next sweep resumes them.
func (a api) retry(w http.ResponseWriter, r *http.Request) error {
	o, err := a.orderInPath(r)
	if err != nil {
		return err
	}
	if err := a.store.Retry(r.Context(), o.ID, identity.CurrentUser(r.Context()).ID); err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusAccepted, struct {
		OrderID uuid.UUID `json:"orderId"`
		Retried bool      `json:"retried"`
	}{o.ID, true})
}
