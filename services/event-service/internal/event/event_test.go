package event_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/event-service/internal/event"
	"github.com/eventbooking/eventbooking/services/internal/identity"
)

func TestDetailsCheck(t *testing.T) {
	t.Parallel()
	good := event.Details{
		Name: " Summer Music Festival ", Description: "Annual outdoor festival\n\tBring a hat.",
		Date:      time.Date(2030, 7, 15, 20, 0, 0, 0, time.FixedZone("", 2*60*60)),
		VenueName: "Central Park Amphitheater", VenueAddress: "123 Park Ave, New York, NY 10001",
		Category: event.Music, ImageURL: "https://cdn.example.com/events/770e8400.jpg",
	}
	for _, tt := range []struct {
		name   string
		change func(d *event.Details)
		field  string // empty when accepted
	}{
		{"Good", func(*event.Details) {}, ""},
		{"NoName", func(d *event.Details) { d.Name = "" }, "name"},
		{"BlankName", func(d *event.Details) { d.Name = " \n " }, "name"},
		{"LongestName", func(d *event.Details) { d.Name = strings.Repeat("ü", 200) }, ""},
		{"NameTooLong", func(d *event.Details) { d.Name = strings.Repeat("ü", 201) }, "name"},
		{"NULInName", func(d *event.Details) { d.Name = "a\x00b" }, "name"},
		{"LineBreakInName", func(d *event.Details) { d.Name = "a\nb" }, "name"},
		{"NoDescription", func(d *event.Details) { d.Description = "" }, ""},
		{"DescriptionTooLong", func(d *event.Details) { d.Description = strings.Repeat("a", 5001) }, "description"},
		{"NULInDescription", func(d *event.Details) { d.Description = "a\x00b" }, "description"},
		{"NoVenueName", func(d *event.Details) { d.VenueName = "" }, "venueName"},
		{"VenueNameTooLong", func(d *event.Details) { d.VenueName = strings.Repeat("a", 201) }, "venueName"},
		{"NoVenueAddress", func(d *event.Details) { d.VenueAddress = "" }, "venueAddress"},
		{"VenueAddressTooLong", func(d *event.Details) { d.VenueAddress = strings.Repeat("a", 501) }, "venueAddress"},
		{"NoCategory", func(d *event.Details) { d.Category = "" }, "category"},
		{"UnknownCategory", func(d *event.Details) { d.Category = "music" }, "category"},
		{"LastDateThereIs", func(d *event.Details) { d.Date = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) }, ""},
		{"DateBeyondTheFormat", func(d *event.Details) {
			d.Date = time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -60*60))
		}, "eventDate"},
		{"NoImage", func(d *event.Details) { d.ImageURL = "" }, ""},
		{"ImageOverHTTP", func(d *event.Details) { d.ImageURL = "http://example.com/a.jpg" }, ""},
		{"RelativeImage", func(d *event.Details) { d.ImageURL = "/a.jpg" }, "imageUrl"},
		{"ImageWithoutHost", func(d *event.Details) { d.ImageURL = "https:///a.jpg" }, "imageUrl"},
		{"ImageWithPortOnly", func(d *event.Details) { d.ImageURL = "https://:443/a.jpg" }, "imageUrl"},
		{"ScriptAsImage", func(d *event.Details) { d.ImageURL = "javascript:alert(1)" }, "imageUrl"},
		{"NULInImage", func(d *event.Details) { d.ImageURL = "https://example.com/\x00" }, "imageUrl"},
		{"ImageURLTooLong", func(d *event.Details) { d.ImageURL = "https://example.com/" + strings.Repeat("a", 2048) }, "imageUrl"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			details := good
			tt.change(&details)
			checked, err := details.Check()
			if tt.field == "" {
				require.NoError(t, err)
				require.Equal(t, strings.TrimSpace(details.Name), checked.Name)
				require.Equal(t, details.Date.UTC(), checked.Date)
				return
			}
			p, ok := errors.AsType[*problem.Error](err)
			require.True(t, ok, "%v is no problem", err)
			require.Equal(t, problem.Invalid, p.Kind)
			require.Equal(t, tt.field, p.Field)
		})
	}
}

func TestPublish(t *testing.T) {
	t.Parallel()
	now := time.Now()
	organizer := identity.User{ID: uuid.New(), Roles: []identity.Role{identity.RoleOrganizer}}
	stranger := identity.User{ID: uuid.New(), Roles: []identity.Role{identity.RoleOrganizer}}
	admin := identity.User{ID: uuid.New(), Roles: []identity.Role{identity.RoleAdmin}}
	for _, tt := range []struct {
		name   string
		status event.Status
		by     identity.User
		date   time.Time
		err    error // nil when the event is published after it
	}{
		{"DraftByItsOrganizer", event.Draft, organizer, now.Add(time.Second), nil},
		{"DraftByAnAdmin", event.Draft, admin, now.Add(time.Second), nil},
		{"DraftByAnother", event.Draft, stranger, now.Add(time.Second), event.NotFound(uuid.Nil)},
		{"DraftByNobody", event.Draft, identity.User{}, now.Add(time.Second), event.NotFound(uuid.Nil)},
		{"DraftOfNow", event.Draft, organizer, now, event.ErrDatePassed},
		{"DraftOfThePast", event.Draft, organizer, now.Add(-time.Second), event.ErrDatePassed},
		{"PublishedAgain", event.Published, organizer, now.Add(time.Second), nil},
		{"PublishedAgainWhenPast", event.Published, organizer, now.Add(-time.Second), nil},
		{"PublishedByAnother", event.Published, stranger, now.Add(time.Second), identity.ErrForbidden},
		{"Cancelled", event.Cancelled, organizer, now.Add(time.Second), event.ErrNotDraft},
		{"CancelledByAnother", event.Cancelled, stranger, now.Add(time.Second), identity.ErrForbidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := event.Event{
				ID: uuid.New(), OrganizerID: organizer.ID, Status: tt.status, Details: event.Details{Date: tt.date},
			}
			after, err := e.Publish(tt.by, now)
			require.ErrorIs(t, err, tt.err)
			if tt.err == nil {
				e.Status = event.Published
				require.Equal(t, e, after)
			}
		})
	}
}

func TestVisibleTo(t *testing.T) {
	t.Parallel()
	organizer := identity.User{ID: uuid.New()}
	for _, tt := range []struct {
		name    string
		status  event.Status
		user    identity.User
		visible bool
	}{
		{"DraftToItsOrganizer", event.Draft, organizer, true},
		{"DraftToAnAdmin", event.Draft, identity.User{ID: uuid.New(), Roles: []identity.Role{identity.RoleAdmin}}, true},
		{"DraftToAnother", event.Draft, identity.User{ID: uuid.New(), Roles: []identity.Role{identity.RoleOrganizer}}, false},
		{"DraftToAnybody", event.Draft, identity.User{}, false},
		{"PublishedToAnybody", event.Published, identity.User{}, true},
		{"CancelledToAnybody", event.Cancelled, identity.User{}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.visible, event.Event{OrganizerID: organizer.ID, Status: tt.status}.VisibleTo(tt.user))
		})
	}
}
