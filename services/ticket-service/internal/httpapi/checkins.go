package httpapi

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// Limits of a check-in, in characters. The codes of tickets are far shorter than maxCode.
const (
	maxCode = 4096
	maxGate = 100
)

func (a api) checkIn(w http.ResponseWriter, r *http.Request) error {
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
	t, err := a.sales.CheckIn(r.Context(), identity.CurrentUser(r.Context()), in.Code, in.Gate)
	if errors.Is(err, ticket.ErrAlreadyCheckedIn) {
		p := web.Problem(r, err)
		return web.WriteJSON(w, web.Status(p.Kind), struct {
			Error       string    `json:"error"`
			Message     string    `json:"message"`
			TicketID    uuid.UUID `json:"ticketId"` // for undoing the check-in
			CheckedInAt time.Time `json:"checkedInAt"`
			Gate        string    `json:"gate"`
		}{p.Code, p.Message, t.ID, t.CheckedInAt.UTC(), t.Gate})
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

func (a api) undoCheckIn(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "ticketId")
	if err != nil {
		return err
	}
	var in struct {
		Reason string `json:"reason"`
	}
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	reason := strings.TrimSpace(in.Reason)
	if reason == "" {
		return problem.Field("reason", "reason is required")
	}
	if err := ticket.ValidateText("reason", reason, maxReason); err != nil {
		return err
	}
	t, err := a.sales.UndoCheckIn(r.Context(), identity.CurrentUser(r.Context()), id, reason)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, a.ticketInfo(t))
}

// checkInJSON is a check-in in the history of a ticket. The last three fields are absent unless it was undone.
type checkInJSON struct {
	CheckedInAt time.Time `json:"checkedInAt"`
	Gate        string    `json:"gate"`
	UndoneAt    time.Time `json:"undoneAt,omitzero"`
	UndoneBy    uuid.UUID `json:"undoneBy,omitzero"`
	Reason      string    `json:"reason,omitempty"`
}

func (a api) checkIns(w http.ResponseWriter, r *http.Request) error {
	id, err := web.PathID(r, "ticketId")
	if err != nil {
		return err
	}
	found, err := a.sales.CheckIns(r.Context(), identity.CurrentUser(r.Context()), id)
	if err != nil {
		return err
	}
	listed := make([]checkInJSON, len(found))
	for i, c := range found {
		listed[i] = checkInJSON{c.At.UTC(), c.Gate, c.UndoneAt.UTC(), c.UndoneBy, c.Reason}
	}
	return web.WriteJSON(w, http.StatusOK, struct {
		CheckIns []checkInJSON `json:"checkIns"`
	}{listed})
}
