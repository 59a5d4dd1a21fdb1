package sales

import (
	"context"
	"errors"
	"strings"

	"github.com/MicahParks/jwkset"
	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/printing"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// OwnTicket returns a ticket of the user. It returns ticket.ErrTicketNotFound for another user's ticket too, so that it
// does not reveal whether the ticket exists.
func (s *Sales) OwnTicket(ctx context.Context, userID, ticketID uuid.UUID) (ticket.Ticket, error) {
	t, err := s.store.Ticket(ctx, ticketID)
	if err != nil {
		return t, err
	}
	if t.OwnerID != userID {
		return ticket.Ticket{}, ticket.ErrTicketNotFound
	}
	return t, nil
}

// Transfer transfers a ticket of the user to another one, whose name auth-service provides. It returns
// ticket.ErrTicketNotFound, the errors of ticket.Ticket.Usable, ErrUserNotFound, a *problem.Error for a transfer to the
// owner, and sidecar.ErrUnavailable.
func (s *Sales) Transfer(ctx context.Context, ticketID, from, to uuid.UUID) (ticket.Ticket, error) {
	// The checks come before the call, so that only an owner of an active ticket can probe for users.
	t, err := s.OwnTicket(ctx, from, ticketID)
	if err != nil {
		return t, err
	}
	if to == from {
		return t, problem.Field("toUserId", "toUserId must be another user")
	}
	if err := t.Usable(); err != nil {
		return t, err
	}
	name, err := s.userName(ctx, to)
	if err != nil {
		return t, err
	}
	return s.store.Transfer(ctx, ticketID, from, to, name)
}

// userName returns the name of a user from auth-service. It returns ticket.ErrUserNotFound or sidecar.ErrUnavailable.
func (s *Sales) userName(ctx context.Context, userID uuid.UUID) (string, error) {
	answer, err := sidecar.Call(ctx, s.services, calls.User, calls.None{}, userID)
	if errors.Is(err, ticket.ErrUserNotFound) {
		return "", ticket.ErrUserNotFound
	}
	if err != nil { // our caller cannot correct any other refusal
		return "", unavailable(err)
	}
	name := strings.TrimSpace(answer.FirstName + " " + answer.LastName)
	if name == "" {
		return "", sidecar.ErrUnavailable.Because(errors.New("auth-service returned a user without a name"))
	}
	return name, nil
}

// PublicKeys returns the key set with which a scanner verifies codes offline.
func (s *Sales) PublicKeys() (jwkset.JWKSMarshal, error) { return s.signer.PublicKeys() }

// CheckIn admits the holder of a scanned code on behalf of the organizer of the ticket's event. It returns
// ticket.ErrInvalidCode, the errors of OrganizedEvent, and those of store.Store.CheckIn; with ErrAlreadyCheckedIn it
// also returns the ticket.
func (s *Sales) CheckIn(ctx context.Context, user identity.User, code, gate string) (ticket.Ticket, error) {
	id, version, err := s.signer.Verify(code)
	if err != nil {
		return ticket.Ticket{}, err
	}
	// Before anything about the ticket is revealed: only the organizer may learn its status.
	if err := s.checkOrganizer(ctx, user, id); err != nil {
		return ticket.Ticket{}, err
	}
	return s.store.CheckIn(ctx, id, version, gate)
}

// UndoCheckIn makes a used ticket active again on behalf of the organizer of its event. It returns
// ticket.ErrTicketNotFound, the errors of OrganizedEvent, and those of store.Store.UndoCheckIn.
func (s *Sales) UndoCheckIn(
	ctx context.Context, user identity.User, ticketID uuid.UUID, reason string,
) (ticket.Ticket, error) {
	if err := s.checkOrganizer(ctx, user, ticketID); err != nil {
		return ticket.Ticket{}, err
	}
	return s.store.UndoCheckIn(ctx, ticketID, user.ID, reason)
}

// CheckIns returns the history of a ticket's check-ins to the organizer of its event, newest first. It returns
// ticket.ErrTicketNotFound and the errors of OrganizedEvent.
func (s *Sales) CheckIns(ctx context.Context, user identity.User, ticketID uuid.UUID) ([]ticket.CheckIn, error) {
	if err := s.checkOrganizer(ctx, user, ticketID); err != nil {
		return nil, err
	}
	return s.store.CheckIns(ctx, ticketID)
}

// checkOrganizer returns nil if the user is the organizer of the ticket's event or an admin.
func (s *Sales) checkOrganizer(ctx context.Context, user identity.User, ticketID uuid.UUID) error {
	t, err := s.store.Ticket(ctx, ticketID)
	if err != nil {
		return err
	}
	_, err = s.OrganizedEvent(ctx, user, t.EventID)
	return err
}

// QRCode renders the QR code of an active ticket as a PNG. It returns the errors of ticket.Ticket.Usable.
func (s *Sales) QRCode(t ticket.Ticket) ([]byte, error) {
	code, err := s.code(t)
	if err != nil {
		return nil, err
	}
	return printing.QRCode(code)
}

// PDF renders an active ticket as a PDF. It returns the errors of ticket.Ticket.Usable.
func (s *Sales) PDF(ctx context.Context, t ticket.Ticket) ([]byte, error) {
	code, err := s.code(t)
	if err != nil {
		return nil, err
	}
	e, err := s.store.Event(ctx, t.EventID)
	if err != nil {
		return nil, err
	}
	return printing.PDF(e, printing.Page{Ticket: t, Code: code})
}

// OrderPDF renders the usable tickets of an order that the user owns as one PDF, with a page for each in the order of
// their numbers, and returns it with the number of tickets. Without such tickets there is no PDF.
func (s *Sales) OrderPDF(ctx context.Context, userID, orderID uuid.UUID) (content []byte, count int, err error) {
	tickets, err := s.store.ActiveTicketsOfOrder(ctx, orderID, userID)
	if err != nil || len(tickets) == 0 {
		return nil, 0, err
	}
	e, err := s.store.Event(ctx, tickets[0].EventID)
	if err != nil {
		return nil, 0, err
	}
	var pages []printing.Page
	for _, t := range tickets {
		if t.Usable() != nil { // suspended
			continue
		}
		code, err := s.code(t)
		if err != nil {
			return nil, 0, err
		}
		pages = append(pages, printing.Page{Ticket: t, Code: code})
	}
	if len(pages) == 0 {
		return nil, 0, nil
	}
	content, err = printing.PDF(e, pages...)
	return content, len(pages), err
}

func (s *Sales) code(t ticket.Ticket) (string, error) {
	if err := t.Usable(); err != nil {
		return "", err
	}
	return s.signer.Code(t)
}
