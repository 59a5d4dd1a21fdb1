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

func TestDetailsCheckNamesTheInvalidField(t *testing.T) {
	t.Parallel()
	valid := event.Details{
		Name: " Summer Music Festival ", Description: "Annual outdoor festival\n\tBring a hat.",
		Date:     time.Date(2030, 7, 15, 20, 0, 0, 0, time.FixedZone("", 2*60*60)),
		EndDate:  time.Date(2030, 7, 16, 1, 0, 0, 0, time.FixedZone("", 2*60*60)),
		TimeZone: "America/New_York", DisputedTickets: event.SuspendDisputed,
		VenueName: "Central Park Amphitheater", VenueAddress: "123 Park Ave, New York, NY 10001",
		Category: event.Music, ImageURL: "https://cdn.example.com/events/770e8400.jpg",
	}
	for _, tt := range []struct {
		name   string
		change func(d *event.Details)
		field  string // empty if valid
	}{
		{"Valid", func(*event.Details) {}, ""},
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
		{"LastPossibleDate", func(d *event.Details) {
			d.Date, d.EndDate = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), time.Time{}
		}, ""},
		{"DateInTheYear10000", func(d *event.Details) {
			d.Date = time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -60*60))
		}, "eventDate"},
		{"NoEnd", func(d *event.Details) { d.EndDate = time.Time{} }, ""},
		{"EndRightAfterTheStart", func(d *event.Details) { d.EndDate = d.Date.Add(time.Microsecond) }, ""},
		{"EndAtTheStart", func(d *event.Details) { d.EndDate = d.Date }, "endDate"},
		{"EndBeforeTheStart", func(d *event.Details) { d.EndDate = d.Date.Add(-time.Hour) }, "endDate"},
		{"LongestEvent", func(d *event.Details) { d.EndDate = d.Date.AddDate(0, 0, 366) }, ""},
		{"EventTooLong", func(d *event.Details) { d.EndDate = d.Date.AddDate(0, 0, 366).Add(time.Second) }, "endDate"},
		{"EndInTheYear10000", func(d *event.Details) {
			d.Date = time.Date(9999, 12, 31, 18, 0, 0, 0, time.UTC)
			d.EndDate = d.Date.Add(12 * time.Hour)
		}, "endDate"},
		{"UTC", func(d *event.Details) { d.TimeZone = "UTC" }, ""},
		{"PlaceInAnArea", func(d *event.Details) { d.TimeZone = "America/Argentina/Buenos_Aires" }, ""},
		{"NoTimeZone", func(d *event.Details) { d.TimeZone = "" }, "timeZone"},
		{"UnknownTimeZone", func(d *event.Details) { d.TimeZone = "Europe/Atlantis" }, "timeZone"},
		{"TimeZoneOfTheMachine", func(d *event.Details) { d.TimeZone = "Local" }, "timeZone"},
		{"TimeZoneWithLeapSeconds", func(d *event.Details) { d.TimeZone = "right/Europe/Zurich" }, "timeZone"},
		{"FileAsTimeZone", func(d *event.Details) { d.TimeZone = "../../etc/passwd" }, "timeZone"},
		{"OffsetAsTimeZone", func(d *event.Details) { d.TimeZone = "+02:00" }, "timeZone"},
		{"NULInTimeZone", func(d *event.Details) { d.TimeZone = "Europe/\x00" }, "timeZone"},
		{"NoImage", func(d *event.Details) { d.ImageURL = "" }, ""},
		{"ImageOverHTTP", func(d *event.Details) { d.ImageURL = "http://example.com/a.jpg" }, ""},
		{"RelativeImage", func(d *event.Details) { d.ImageURL = "/a.jpg" }, "imageUrl"},
		{"ImageWithoutHost", func(d *event.Details) { d.ImageURL = "https:///a.jpg" }, "imageUrl"},
		{"ImageWithPortOnly", func(d *event.Details) { d.ImageURL = "https://:443/a.jpg" }, "imageUrl"},
		{"ScriptAsImage", func(d *event.Details) { d.ImageURL = "javascript:alert(1)" }, "imageUrl"},
		{"NULInImage", func(d *event.Details) { d.ImageURL = "https://example.com/\x00" }, "imageUrl"},
		{"ImageURLTooLong", func(d *event.Details) {
			d.ImageURL = "https://example.com/" + strings.Repeat("a", 2048)
		}, "imageUrl"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			details := valid
			tt.change(&details)
			checked, err := details.Check()
			if tt.field == "" {
				require.NoError(t, err)
				require.Equal(t, strings.TrimSpace(details.Name), checked.Name)
				require.Equal(t, details.Date.UTC(), checked.Date)
				require.Equal(t, details.EndDate.UTC(), checked.EndDate)
				return
			}
			p, ok := errors.AsType[*problem.Error](err)
			require.True(t, ok, "%v is not a *problem.Error", err)
			require.Equal(t, problem.Invalid, p.Kind)
			require.Equal(t, tt.field, p.Field)
		})
	}
}

func TestPublishDependsOnUserStatusAndDate(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, tt := range []struct {
		name   string
		status event.Status
		by     identity.User
		date   time.Time
		err    error // nil if the result is published
	}{
		{"DraftByItsOrganizer", event.Draft, organizer, now.Add(time.Second), nil},
		{"DraftByAnAdmin", event.Draft, admin, now.Add(time.Second), nil},
		{"DraftByAnother", event.Draft, other, now.Add(time.Second), event.NotFound(uuid.Nil)},
		{"DraftByAnonymous", event.Draft, identity.User{}, now.Add(time.Second), event.NotFound(uuid.Nil)},
		{"DraftWithADateOfNow", event.Draft, organizer, now, event.ErrDatePassed},
		{"DraftWithAPastDate", event.Draft, organizer, now.Add(-time.Second), event.ErrDatePassed},
		{"PublishedAgain", event.Published, organizer, now.Add(time.Second), nil},
		{"PublishedAgainAfterItsDate", event.Published, organizer, now.Add(-time.Second), nil},
		{"PublishedByAnother", event.Published, other, now.Add(time.Second), identity.ErrForbidden},
		{"Cancelled", event.Cancelled, organizer, now.Add(time.Second), event.ErrNotDraft},
		{"CancelledByAnother", event.Cancelled, other, now.Add(time.Second), identity.ErrForbidden},
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

func TestDraftsAreVisibleToOrganizerAndAdmins(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		status  event.Status
		user    identity.User
		visible bool
	}{
		{"DraftToItsOrganizer", event.Draft, organizer, true},
		{"DraftToAnAdmin", event.Draft, admin, true},
		{"DraftToAnother", event.Draft, other, false},
		{"DraftToAnonymous", event.Draft, identity.User{}, false},
		{"PublishedToAnonymous", event.Published, identity.User{}, true},
		{"CancelledToAnonymous", event.Cancelled, identity.User{}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.visible, event.Event{OrganizerID: organizer.ID, Status: tt.status}.VisibleTo(tt.user))
		})
	}
}

// The organizer of the events in these tests, another organizer, and an admin.
var (
	organizer = identity.User{ID: uuid.New(), Roles: []identity.Role{identity.RoleOrganizer}}
	other     = identity.User{ID: uuid.New(), Roles: []identity.Role{identity.RoleOrganizer}}
	admin     = identity.User{ID: uuid.New(), Roles: []identity.Role{identity.RoleAdmin}}
)

// newEvent returns an event of organizer.
func newEvent(status event.Status, date time.Time) event.Event {
	return event.Event{ID: uuid.New(), OrganizerID: organizer.ID, Status: status, Details: event.Details{
		Name: "Summer Music Festival", Date: date, VenueName: "Central Park Amphitheater",
		VenueAddress: "123 Park Ave, New York, NY 10001", Category: event.Music, TimeZone: "UTC",
		DisputedTickets: event.SuspendDisputed,
	}}
}

func TestChangeSetsTheGivenDetails(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Microsecond)
	name := event.Change{Name: new(" Winter Music Festival ")}
	date := func(d time.Duration) event.Change { return event.Change{Date: new(now.Add(d))} }
	end := func(d time.Duration) event.Change { return event.Change{EndDate: new(now.Add(d))} }
	renamed := func(e *event.Event) { e.Name = "Winter Music Festival" }
	for _, tt := range []struct {
		name   string
		status event.Status
		by     identity.User
		change event.Change
		err    error
		want   func(e *event.Event)
	}{
		{"NoChange", event.Published, organizer, event.Change{}, nil, func(*event.Event) {}},
		{"NameOfDraft", event.Draft, organizer, name, nil, renamed},
		{"NameOfPublished", event.Published, organizer, name, nil, renamed},
		{"ByAnAdmin", event.Published, admin, name, nil, renamed},
		{"Everything", event.Draft, organizer, event.Change{
			Name: new("A"), Description: new("B"), Date: new(now.Add(time.Minute)), VenueName: new("C"),
			VenueAddress: new("D"), Category: new(event.Comedy), ImageURL: new("https://example.com/a.jpg"),
			TimeZone: new("Europe/Zurich"),
		}, nil, func(e *event.Event) {
			e.Details = event.Details{
				Name: "A", Description: "B", Date: now.Add(time.Minute), VenueName: "C", VenueAddress: "D",
				Category: event.Comedy, ImageURL: "https://example.com/a.jpg", TimeZone: "Europe/Zurich",
				DisputedTickets: event.SuspendDisputed,
			}
		}},
		{"DateOfDraft", event.Draft, organizer, date(time.Minute), nil, func(e *event.Event) {
			e.Date = now.Add(time.Minute)
		}},
		{"EndOfDraft", event.Draft, organizer, end(2 * time.Hour), nil, func(e *event.Event) {
			e.EndDate = now.Add(2 * time.Hour)
		}},
		{"EndOfPublished", event.Published, organizer, end(2 * time.Hour), nil, func(e *event.Event) {
			e.EndDate = now.Add(2 * time.Hour)
		}},
		{"EndAtTheStart", event.Published, organizer, end(time.Hour), event.ErrEndNotAfterDate, nil},
		{"EndOfCancelled", event.Cancelled, organizer, end(2 * time.Hour), event.ErrCancelled, nil},
		{"DateOfDraftToNow", event.Draft, organizer, date(0), event.ErrDateNotFuture, nil},
		{"DateOfPublished", event.Published, organizer, date(time.Minute), event.ErrDateFixed, nil},
		{"SameDateOfPublished", event.Published, organizer, date(time.Hour), event.ErrDateFixed, nil},
		{"Cancelled", event.Cancelled, organizer, name, event.ErrCancelled, nil},
		{"DraftByAnother", event.Draft, other, name, event.NotFound(uuid.Nil), nil},
		{"PublishedByAnother", event.Published, other, name, identity.ErrForbidden, nil},
		{"CancelledByAnother", event.Cancelled, other, name, identity.ErrForbidden, nil},
		{"ToABlankName", event.Draft, organizer, event.Change{Name: new(" ")}, problem.Field("name", ""), nil},
		{
			"ToAScriptAsImage", event.Draft, organizer,
			event.Change{ImageURL: new("javascript:alert(1)")},
			problem.Field("imageUrl", ""), nil,
		},
		{
			"ToAnUnknownCategory", event.Draft, organizer,
			event.Change{Category: new(event.Category("OPERA"))},
			problem.Field("category", ""), nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := newEvent(tt.status, now.Add(time.Hour))
			after, err := e.Change(tt.by, now, tt.change)
			if tt.err != nil {
				requireProblem(t, tt.err, err)
				return
			}
			require.NoError(t, err)
			tt.want(&e)
			require.Equal(t, e, after)
		})
	}
}

func TestEndFollowsTheStart(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Microsecond)
	e := newEvent(event.Published, now.Add(time.Hour))
	e.EndDate = now.Add(4 * time.Hour)
	for _, move := range []time.Duration{-30 * time.Minute, 24 * time.Hour} {
		postponed, err := e.Postpone(organizer, now, e.Date.Add(move))
		require.NoError(t, err)
		require.Equal(t, e.EndDate.Add(move), postponed.EndDate)
	}
	_, err := e.Postpone(organizer, now, time.Date(9999, 12, 31, 23, 0, 0, 0, time.UTC))
	requireProblem(t, problem.Field("eventDate", ""), err)
	same, err := e.Postpone(organizer, now, e.Date)
	require.NoError(t, err)
	require.Equal(t, e, same)

	removed, err := e.Change(organizer, now, event.Change{EndDate: &time.Time{}})
	require.NoError(t, err)
	require.Zero(t, removed.EndDate)
	draft := e
	draft.Status = event.Draft
	_, err = draft.Change(organizer, now, event.Change{Date: new(now.Add(5 * time.Hour))})
	requireProblem(t, event.ErrEndNotAfterDate, err)
}

func TestPostponeKeepsThePreviousDate(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Microsecond)
	was := now.Add(time.Hour)
	year10000 := time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name   string
		status event.Status
		by     identity.User
		date   time.Time
		err    error
	}{
		{"Later", event.Published, organizer, was.Add(time.Hour), nil},
		{"Earlier", event.Published, organizer, now.Add(time.Microsecond), nil},
		{"ByAnAdmin", event.Published, admin, was.Add(time.Hour), nil},
		{"ToNow", event.Published, organizer, now, event.ErrDateNotFuture},
		{"YearTooLarge", event.Published, organizer, year10000, problem.Field("eventDate", "")},
		{"Draft", event.Draft, organizer, was.Add(time.Hour), event.ErrNotPublished},
		{"Cancelled", event.Cancelled, organizer, was.Add(time.Hour), event.ErrCancelled},
		{"DraftByAnother", event.Draft, other, was.Add(time.Hour), event.NotFound(uuid.Nil)},
		{"PublishedByAnother", event.Published, other, was.Add(time.Hour), identity.ErrForbidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := newEvent(tt.status, was)
			after, err := e.Postpone(tt.by, now, tt.date)
			if tt.err != nil {
				requireProblem(t, tt.err, err)
				return
			}
			require.NoError(t, err)
			e.Date, e.PostponedFrom = tt.date, was
			require.Equal(t, e, after)

			again, err := after.Postpone(tt.by, now, tt.date)
			require.NoError(t, err)
			require.Equal(t, after, again)
		})
	}
}

func TestCancelKeepsTheFirstReason(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		status event.Status
		by     identity.User
		err    error
	}{
		{"Draft", event.Draft, organizer, nil},
		{"Published", event.Published, organizer, nil},
		{"ByAnAdmin", event.Published, admin, nil},
		{"DraftByAnother", event.Draft, other, event.NotFound(uuid.Nil)},
		{"PublishedByAnother", event.Published, other, identity.ErrForbidden},
		{"CancelledByAnother", event.Cancelled, other, identity.ErrForbidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := newEvent(tt.status, time.Now())
			after, err := e.Cancel(tt.by, "Venue unavailable")
			require.ErrorIs(t, err, tt.err)
			if tt.err != nil {
				return
			}
			e.Status, e.CancellationReason = event.Cancelled, "Venue unavailable"
			require.Equal(t, e, after)

			again, err := after.Cancel(tt.by, "Another reason")
			require.NoError(t, err)
			require.Equal(t, after, again)
		})
	}
}

func TestCheckReasonTrimsAndValidates(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, reason string
		want         string // empty if invalid
	}{
		{"Trimmed", " Storm ", "Storm"},
		{"Longest", strings.Repeat("ü", 500), strings.Repeat("ü", 500)},
		{"Blank", " \t ", ""},
		{"TooLong", strings.Repeat("ü", 501), ""},
		{"LineBreak", "Storm\nBcc: x", ""},
		{"NUL", "Storm\x00", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			reason, err := event.CheckReason(tt.reason)
			require.Equal(t, tt.want, reason)
			if tt.want == "" {
				requireProblem(t, problem.Field("reason", ""), err)
			}
		})
	}
}

func TestSearchCheckNamesTheInvalidParameter(t *testing.T) {
	t.Parallel()
	at := time.Now()
	for _, tt := range []struct {
		name   string
		search event.Search
		field  string // empty if valid
	}{
		{"Empty", event.Search{}, ""},
		{"Everything", event.Search{Category: event.Music, Words: "summer park", From: at, To: at.Add(1)}, ""},
		{"OnlyTo", event.Search{To: at}, ""},
		{"UnknownCategory", event.Search{Category: "OPERA"}, "category"},
		{"NULInWords", event.Search{Words: "a\x00"}, "q"},
		{"InvalidUTF8", event.Search{Words: "\xff"}, "q"},
		{"WordsTooLong", event.Search{Words: strings.Repeat("a", 201)}, "q"},
		{"FromAfterTo", event.Search{From: at, To: at}, "to"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			search, err := tt.search.Check()
			if tt.field != "" {
				requireProblem(t, problem.Field(tt.field, ""), err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.search, search)
		})
	}
}

// requireProblem asserts the code and the field of err.
func requireProblem(t *testing.T, want, err error) {
	t.Helper()
	require.ErrorIs(t, err, want)
	p, ok := errors.AsType[*problem.Error](err)
	require.True(t, ok)
	w, ok := errors.AsType[*problem.Error](want)
	require.True(t, ok)
	require.Equal(t, w.Field, p.Field)
}
