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
}

// Bounds on an event's texts, in characters but for the URL: its bound is in bytes.
const (
	maxName         = 200
	maxDescription  = 5000
	maxVenueName    = 200
	maxVenueAddress = 500
	maxImageURL     = 2048
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
		*text.value = strings.TrimSpace(*text.value)
		if n := utf8.RuneCountInString(*text.value); n < text.min || n > text.max {
			return Details{}, problem.Field(text.field, "%s must have %d to %d characters", text.field, text.min, text.max)
		}
		// PostgreSQL stores no NUL, and the rest could forge lines in mails.
		if strings.ContainsFunc(*text.value, func(r rune) bool {
			return unicode.IsControl(r) && !strings.ContainsRune(text.controls, r)
		}) {
			return Details{}, problem.Field(text.field, "%s must not contain control characters", text.field)
		}
	}
	if !slices.Contains(categories, d.Category) {
		return Details{}, problem.Field("category", "category must be one of %v", categories)
	}
	// RFC 3339 has no year 10000, which an offset can lead to.
	d.Date = d.Date.UTC()
	if d.Date.Year() > 9999 {
		return Details{}, problem.Field("eventDate", "eventDate must be before the year 10000")
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

// ManagedBy reports whether the user may change the event.
func (e Event) ManagedBy(user identity.User) bool {
	return e.OrganizerID == user.ID || user.Has(identity.RoleAdmin)
}

// VisibleTo reports whether the event exists for the user; the zero User stands for anybody.
func (e Event) VisibleTo(user identity.User) bool {
	return e.Status != Draft || e.ManagedBy(user)
}

// Publish gives the event as it is once user has published it at the time now. The caller changes
// nothing when the status stays the same. It returns NotFound, identity.ErrForbidden, ErrNotDraft or
// ErrDatePassed.
func (e Event) Publish(user identity.User, now time.Time) (Event, error) {
	switch {
	case !e.VisibleTo(user):
		return Event{}, NotFound(e.ID)
	case !e.ManagedBy(user):
		return Event{}, identity.ErrForbidden
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
