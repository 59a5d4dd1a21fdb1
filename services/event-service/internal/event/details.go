package event

import (
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// Category is the kind of an event.
type Category string

// The categories.
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

// DisputePolicy is what happens to the tickets of an order whose payment is disputed at the bank.
type DisputePolicy string

// The policies. In both cases the tickets do not admit until the dispute is won.
const (
	SuspendDisputed DisputePolicy = "SUSPEND" // the same codes admit again then
	VoidDisputed    DisputePolicy = "VOID"    // the codes never admit again; the holders get new ones
)

// Shown returns the policy as other services and clients see it: the default, SuspendDisputed, is left out, so that
// most events have the contract's form.
func (p DisputePolicy) Shown() DisputePolicy {
	if p == SuspendDisputed {
		return ""
	}
	return p
}

// Details describe an event. Its organizer sets them.
type Details struct {
	Name            string
	Description     string
	Date            time.Time // when it starts
	EndDate         time.Time // when it ends; zero if the organizer has not set it
	TimeZone        string    // of the IANA database; people read the times of the event in it
	VenueName       string
	VenueAddress    string
	Category        Category
	ImageURL        string // empty without a picture
	DisputedTickets DisputePolicy
}

// The maximum lengths: of the URL in bytes, of the other texts in characters.
const (
	maxName         = 200
	maxDescription  = 5000
	maxVenueName    = 200
	maxVenueAddress = 500
	maxImageURL     = 2048
	maxReason       = 500
)

// DefaultTimeZone is the time zone of an event whose organizer has not set one.
const DefaultTimeZone = "UTC"

// MaxDuration is the maximum time between the start and the end of an event.
const MaxDuration = 366 * 24 * time.Hour

// Check validates the details and returns them as they are stored, with texts trimmed and the times in UTC. It returns
// a *problem.Error that names the first invalid field. It does not check that the date is in the future, because that
// depends on the clock of the database.
func (d Details) Check() (Details, error) {
	for _, text := range []struct {
		field    string
		value    *string
		min, max int
		controls string // the control characters that are allowed
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
	switch d.DisputedTickets {
	case SuspendDisputed, VoidDisputed:
	default:
		return Details{}, problem.Field("disputedTickets", "disputedTickets must be %s or %s", SuspendDisputed, VoidDisputed)
	}
	var err error
	if d.Date, err = checkTime("eventDate", d.Date); err != nil {
		return Details{}, err
	}
	if !d.EndDate.IsZero() {
		if d.EndDate, err = checkTime("endDate", d.EndDate); err != nil {
			return Details{}, err
		}
		if !d.EndDate.After(d.Date) {
			return Details{}, ErrEndNotAfterDate
		}
		if d.EndDate.Sub(d.Date) > MaxDuration {
			return Details{}, problem.Field("endDate", "endDate must be at most %d days after eventDate",
				MaxDuration/(24*time.Hour))
		}
	}
	if err := checkTimeZone(d.TimeZone); err != nil {
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

// CheckReason validates the reason of a cancellation or a postponement and returns it trimmed. It returns a
// *problem.Error that names the field reason.
func CheckReason(reason string) (string, error) { return checkText("reason", reason, 1, maxReason, "") }

func checkText(field, value string, minimum, maximum int, controls string) (string, error) {
	value = strings.TrimSpace(value)
	if n := utf8.RuneCountInString(value); n < minimum || n > maximum {
		return "", problem.Field(field, "%s must have %d to %d characters", field, minimum, maximum)
	}
	// PostgreSQL cannot store NUL. The other control characters could forge lines in e-mails.
	if strings.ContainsFunc(value, func(r rune) bool {
		return unicode.IsControl(r) && !strings.ContainsRune(controls, r)
	}) {
		return "", problem.Field(field, "%s must not contain control characters", field)
	}
	return value, nil
}

func checkTime(field string, t time.Time) (time.Time, error) {
	t = t.UTC().Truncate(time.Microsecond) // the precision of PostgreSQL
	// RFC 3339 cannot represent the year 10000, which a time in 9999 can reach by its offset.
	if t.Year() > 9999 {
		return time.Time{}, problem.Field(field, "%s must be before the year 10000", field)
	}
	return t, nil
}

// checkTimeZone accepts UTC and the names of places, such as Europe/Zurich. LoadLocation alone would also accept the
// zone of the machine, and whatever else the directory of its time zones contains.
func checkTimeZone(name string) error {
	area, _, place := strings.Cut(name, "/")
	_, err := time.LoadLocation(name)
	if err != nil || name != DefaultTimeZone && !place || area == "posix" || area == "right" {
		return problem.Field("timeZone",
			"timeZone must be a name of the IANA time zone database, such as Europe/Zurich").Because(err)
	}
	return nil
}

// Search selects published events. A zero field selects all.
type Search struct {
	Category Category
	Words    string // for each, the event's name, description or venue has a word that starts with it
	// From is the first date; zero for those of events that are not over. The event is before To.
	From, To time.Time
}

// maxWords is the maximum length of Search.Words in characters.
const maxWords = 200

// Check validates the search and returns it with the words trimmed. It returns a *problem.Error that names the invalid
// parameter.
func (s Search) Check() (Search, error) {
	if s.Category != "" && !slices.Contains(categories, s.Category) {
		return Search{}, problem.Field("category", "category must be one of %v", categories)
	}
	// The words come from a URL and may be invalid UTF-8.
	if !utf8.ValidString(s.Words) {
		return Search{}, problem.Field("q", "q must be valid UTF-8")
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
