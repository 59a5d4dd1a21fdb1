package event

import (
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
)

// Status is the state of an event; see the package comment.
type Status string

// The statuses.
const (
	Draft     Status = "DRAFT"
	Published Status = "PUBLISHED"
	Cancelled Status = "CANCELLED"
)

// Errors of the rules.
var (
	ErrDateNotFuture = problem.Field("eventDate", "eventDate must be in the future")
	ErrDatePassed    = problem.New(problem.Conflict, "EVENT_DATE_PASSED", "The event's date has passed")
	ErrNotDraft      = problem.New(problem.Conflict, "EVENT_NOT_DRAFT", "Only a draft can be published")
	ErrNotPublished  = problem.New(problem.Conflict, "EVENT_NOT_PUBLISHED", "Only a published event can be postponed")
	ErrCancelled     = problem.New(problem.Conflict, "EVENT_CANCELLED", "The event is cancelled")
	ErrDateFixed     = problem.Field("eventDate",
		"eventDate of a published event cannot be changed; postpone the event instead")
	// ErrEndNotAfterDate reports an event that would end before it starts.
	ErrEndNotAfterDate = problem.Field("endDate", "endDate must be after eventDate")
	// ErrConcurrentChange reports that the status of the event changed while a request was in progress, so that what the
	// request had found out no longer applies. The caller may retry.
	ErrConcurrentChange = problem.New(problem.Conflict, "EVENT_CHANGED",
		"The event was changed by another request, try again")
)

// NotFound returns the error for an event that does not exist, or that the user may not see.
func NotFound(id uuid.UUID) *problem.Error {
	return problem.New(problem.NotFound, "EVENT_NOT_FOUND", "Event with ID %s not found", id)
}

// Event is an event.
type Event struct {
	ID          uuid.UUID
	OrganizerID uuid.UUID
	Status      Status
	UpdatedAt   time.Time // increases with every change
	Details
	CancellationReason string    // empty unless the event is cancelled
	PostponedFrom      time.Time // the date before the last postponement; zero if there was none
}

// ManagedBy reports whether the user may change the event.
func (e Event) ManagedBy(user identity.User) bool {
	return e.OrganizerID == user.ID || user.Has(identity.RoleAdmin)
}

// VisibleTo reports whether the event exists for the user. The zero User is an anonymous caller.
func (e Event) VisibleTo(user identity.User) bool {
	return e.Status != Draft || e.ManagedBy(user)
}

// authorize returns nil if the user may change the event, NotFound if the user may not see it, and
// identity.ErrForbidden otherwise.
func (e Event) authorize(user identity.User) error {
	switch {
	case !e.VisibleTo(user):
		return NotFound(e.ID)
	case !e.ManagedBy(user):
		return identity.ErrForbidden
	}
	return nil
}

// Publish returns the event as user publishes it at the time now. If the result equals e, there is nothing to write. It
// returns NotFound, identity.ErrForbidden, ErrNotDraft or ErrDatePassed.
func (e Event) Publish(user identity.User, now time.Time) (Event, error) {
	if err := e.authorize(user); err != nil {
		return Event{}, err
	}
	switch {
	case e.Status == Published:
		return e, nil
	case e.Status != Draft:
		return Event{}, ErrNotDraft
	case !e.Date.After(now):
		return Event{}, ErrDatePassed
	}
	e.Status = Published
	return e, nil
}

// Change is a change of an event's details. A nil field leaves the detail as it is.
type Change struct {
	Name         *string
	Description  *string
	Date         *time.Time
	EndDate      *time.Time // the zero time removes the end
	TimeZone     *string
	VenueName    *string
	VenueAddress *string
	Category     *Category
	ImageURL     *string
	// DisputedTickets applies to disputes that are opened from now on.
	DisputedTickets *DisputePolicy
}

// Change returns the event as user changes it at the time now. If the result equals e, there is nothing to write. It
// returns NotFound, identity.ErrForbidden, ErrCancelled, ErrDateFixed, ErrDateNotFuture, or an error of Details.Check.
func (e Event) Change(user identity.User, now time.Time, c Change) (Event, error) {
	if err := e.authorize(user); err != nil {
		return Event{}, err
	}
	if e.Status == Cancelled {
		return Event{}, ErrCancelled
	}
	for _, text := range []struct{ from, to *string }{
		{c.Name, &e.Name},
		{c.Description, &e.Description},
		{c.TimeZone, &e.TimeZone},
		{c.VenueName, &e.VenueName},
		{c.VenueAddress, &e.VenueAddress},
		{c.ImageURL, &e.ImageURL},
	} {
		if text.from != nil {
			*text.to = *text.from
		}
	}
	if c.Category != nil {
		e.Category = *c.Category
	}
	if c.DisputedTickets != nil {
		e.DisputedTickets = *c.DisputedTickets
	}
	if c.Date != nil {
		if e.Status != Draft {
			return Event{}, ErrDateFixed
		}
		e.Date = *c.Date
	}
	if c.EndDate != nil {
		e.EndDate = *c.EndDate
	}
	var err error
	if e.Details, err = e.Check(); err != nil {
		return Event{}, err
	}
	if c.Date != nil && !e.Date.After(now) {
		return Event{}, ErrDateNotFuture
	}
	return e, nil
}

// Postpone returns the event as user moves it to another date at the time now. An event that has an end keeps its
// duration. If the result equals e, there is nothing to write. It returns NotFound, identity.ErrForbidden,
// ErrNotPublished, ErrCancelled, ErrDateNotFuture, or a *problem.Error that names eventDate.
func (e Event) Postpone(user identity.User, now, date time.Time) (Event, error) {
	if err := e.authorize(user); err != nil {
		return Event{}, err
	}
	date, err := checkTime("eventDate", date)
	switch {
	case err != nil:
		return Event{}, err
	case e.Status == Cancelled:
		return Event{}, ErrCancelled
	case e.Status != Published:
		return Event{}, ErrNotPublished
	case !date.After(now):
		return Event{}, ErrDateNotFuture
	case date.Equal(e.Date):
		return e, nil
	}
	if !e.EndDate.IsZero() {
		if e.EndDate, err = checkTime("eventDate", date.Add(e.EndDate.Sub(e.Date))); err != nil {
			return Event{}, err
		}
	}
	e.PostponedFrom, e.Date = e.Date, date
	return e, nil
}

// Cancel returns the event as user cancels it. If the event is cancelled already, it keeps its first reason, the result
// equals e, and there is nothing to write. It returns NotFound or identity.ErrForbidden.
func (e Event) Cancel(user identity.User, reason string) (Event, error) {
	if err := e.authorize(user); err != nil {
		return Event{}, err
	}
	if e.Status != Cancelled {
		e.Status, e.CancellationReason = Cancelled, reason
	}
	return e, nil
}
