package event

import (
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
)

// Status is where an event is in its life.
type Status string

// The statuses of the package comment.
const (
	Draft     Status = "DRAFT"
	Published Status = "PUBLISHED"
	Cancelled Status = "CANCELLED"
)

// Category is what kind of event it is.
type Category string

// The categories there are.
const (
	Music      Category = "MUSIC"
	Sports     Category = "SPORTS"
	Theater    Category = "THEATER"
	Comedy     Category = "COMEDY"
	Conference Category = "CONFERENCE"
	Festival   Category = "FESTIVAL"
	Other      Category = "OTHER"
)

var categories = []Category{Music, Sports, Theater, Comedy, Conference, Festival, Other}

// Errors of an event's life.
var (
	ErrDateNotFuture = problem.Field("eventDate", "eventDate must be in the future")
	ErrDatePassed    = problem.New(problem.Conflict, "EVENT_DATE_PASSED", "The event's date has passed")
	ErrNotDraft      = problem.New(problem.Conflict, "EVENT_NOT_DRAFT", "Only a draft can be published")
	ErrNotPublished  = problem.New(problem.Conflict, "EVENT_NOT_PUBLISHED", "Only a published event can be postponed")
	ErrCancelled     = problem.New(problem.Conflict, "EVENT_CANCELLED", "The event is cancelled")
	ErrDateFixed     = problem.Field("eventDate", "eventDate is fixed once the event is published: postpone it")
	// ErrChangedMeanwhile asks a caller to look again: what was found out about the event was about
	// another status than it has now.
	ErrChangedMeanwhile = problem.New(problem.Conflict, "EVENT_CHANGED", "The event was changed meanwhile, try again")
)

// NotFound is the error for an event that does not exist, or not for the one who asks.
func NotFound(id uuid.UUID) *problem.Error {
	return problem.New(problem.NotFound, "EVENT_NOT_FOUND", "Event with ID %s not found", id)
}

// Details are what an organizer says of an event.
type Details struct {
	Name         string
	Description  string
	Date         time.Time
	VenueName    string
	VenueAddress string
	Category     Category
	ImageURL     string // empty when there is no picture
}

// Event is an event.
type Event struct {
	ID          uuid.UUID
	OrganizerID uuid.UUID
	Status      Status
	UpdatedAt   time.Time // later at each change
	Details
	CancellationReason string    // empty unless the event is cancelled
	PostponedFrom      time.Time // the date before the last postponement; zero without one
}

// Bounds on an event's texts, in characters but for the URL: its bound is in bytes.
const (
	maxName         = 200
	maxDescription  = 5000
	maxVenueName    = 200
	maxVenueAddress = 500
	maxImageURL     = 2048
	maxReason       = 500
)

// Check gives the details as they will be kept, or a *problem.Error that names the first field at
// fault. Whether the date is in the future only the database can say.
func (d Details) Check() (Details, error) {
	for _, text := range []struct {
		field    string
		value    *string
		min, max int
		controls string // the control characters that it may have
	}{
		{"name", &d.Name, 1, maxName, ""},
		{"description", &d.Description, 0, maxDescription, "\n\r\t"},
		{"venueName", &d.VenueName, 1, maxVenueName, ""},
		{"venueAddress", &d.VenueAddress, 1, maxVenueAddress, ""},
	} {
		var err error
		if *text.value, err = checkText(text.field, *text.value, text.min, text.max, text.controls); err != nil {
			return Details{}, err
		}
	}
	if !slices.Contains(categories, d.Category) {
		return Details{}, problem.Field("category", "category must be one of %v", categories)
	}
	var err error
	if d.Date, err = checkDate(d.Date); err != nil {
		return Details{}, err
	}
	if d.ImageURL == "" {
		return d, nil
	}
	if len(d.ImageURL) > maxImageURL {
		return Details{}, problem.Field("imageUrl", "imageUrl must not exceed %d bytes", maxImageURL)
	}
	u, err := url.Parse(d.ImageURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return Details{}, problem.Field("imageUrl", "imageUrl must be an absolute http or https URL").Because(err)
	}
	return d, nil
}

func checkText(field, value string, least, most int, controls string) (string, error) {
	value = strings.TrimSpace(value)
	if n := utf8.RuneCountInString(value); n < least || n > most {
		return "", problem.Field(field, "%s must have %d to %d characters", field, least, most)
	}
	// PostgreSQL stores no NUL, and the rest could forge lines in mails.
	if strings.ContainsFunc(value, func(r rune) bool {
		return unicode.IsControl(r) && !strings.ContainsRune(controls, r)
	}) {
		return "", problem.Field(field, "%s must not contain control characters", field)
	}
	return value, nil
}

// CheckReason gives a reason for a cancellation or a postponement as people will read it, or a
// *problem.Error that names the field.
func CheckReason(reason string) (string, error) { return checkText("reason", reason, 1, maxReason, "") }

func checkDate(date time.Time) (time.Time, error) {
	date = date.UTC().Truncate(time.Microsecond) // what PostgreSQL keeps
	// RFC 3339 has no year 10000, which an offset can lead to.
	if date.Year() > 9999 {
		return time.Time{}, problem.Field("eventDate", "eventDate must be before the year 10000")
	}
	return date, nil
}

// ManagedBy reports whether the user may change the event.
func (e Event) ManagedBy(user identity.User) bool {
	return e.OrganizerID == user.ID || user.Has(identity.RoleAdmin)
}

// VisibleTo reports whether the event exists for the user; the zero User stands for anybody.
func (e Event) VisibleTo(user identity.User) bool {
	return e.Status != Draft || e.ManagedBy(user)
}

// manage refuses a user who may not change the event: with NotFound when it does not even exist for
// them, else with identity.ErrForbidden.
func (e Event) manage(user identity.User) error {
	switch {
	case !e.VisibleTo(user):
		return NotFound(e.ID)
	case !e.ManagedBy(user):
		return identity.ErrForbidden
	}
	return nil
}

// Publish gives the event as it is once user has published it at the time now. The caller changes
// nothing when it stays the same. It returns NotFound, identity.ErrForbidden, ErrNotDraft or
// ErrDatePassed.
func (e Event) Publish(user identity.User, now time.Time) (Event, error) {
	if err := e.manage(user); err != nil {
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

// Change is what an organizer wants different; what is nil stays as it is.
type Change struct {
	Name         *string
	Description  *string
	Date         *time.Time
	VenueName    *string
	VenueAddress *string
	Category     *Category
	ImageURL     *string
}

// Change gives the event as it is once user has changed it at the time now. The caller changes nothing
// when it stays the same. It returns NotFound, identity.ErrForbidden, ErrCancelled, ErrDateFixed,
// ErrDateNotFuture, or Details.Check's errors.
func (e Event) Change(user identity.User, now time.Time, c Change) (Event, error) {
	if err := e.manage(user); err != nil {
		return Event{}, err
	}
	if e.Status == Cancelled {
		return Event{}, ErrCancelled
	}
	for _, text := range []struct{ from, to *string }{
		{c.Name, &e.Name},
		{c.Description, &e.Description},
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
	if c.Date != nil {
		if e.Status != Draft {
			return Event{}, ErrDateFixed
		}
		e.Date = *c.Date
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

// Postpone gives the event as it is once user has moved it to another date at the time now. The caller
// changes nothing when it stays the same. It returns NotFound, identity.ErrForbidden, ErrNotPublished,
// ErrCancelled, ErrDateNotFuture, or a *problem.Error that names eventDate.
func (e Event) Postpone(user identity.User, now, date time.Time) (Event, error) {
	if err := e.manage(user); err != nil {
		return Event{}, err
	}
	date, err := checkDate(date)
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
	e.PostponedFrom, e.Date = e.Date, date
	return e, nil
}

// Cancel gives the event as it is once user has cancelled it. The caller changes nothing when it stays
// the same: the first reason is the reason. It returns NotFound or identity.ErrForbidden.
func (e Event) Cancel(user identity.User, reason string) (Event, error) {
	if err := e.manage(user); err != nil {
		return Event{}, err
	}
	if e.Status != Cancelled {
		e.Status, e.CancellationReason = Cancelled, reason
	}
	return e, nil
}

// Search is what somebody looks for among the published events. Zero values do not matter.
type Search struct {
	Category Category
	Words    string // all of them, in the event's name, description or venue
	From, To time.Time
}

// maxWords bounds Search.Words, in characters.
const maxWords = 200

// Check gives the search as it can be made, or a *problem.Error that names the parameter at fault.
func (s Search) Check() (Search, error) {
	if s.Category != "" && !slices.Contains(categories, s.Category) {
		return Search{}, problem.Field("category", "category must be one of %v", categories)
	}
	// Decoded from a URL, the words need not be UTF-8.
	if !utf8.ValidString(s.Words) {
		return Search{}, problem.Field("q", "q must be UTF-8")
	}
	var err error
	if s.Words, err = checkText("q", s.Words, 0, maxWords, "\n\r\t"); err != nil {
		return Search{}, err
	}
	if !s.From.IsZero() && !s.To.IsZero() && !s.To.After(s.From) {
		return Search{}, problem.Field("to", "to must be later than from")
	}
	return s, nil
}
