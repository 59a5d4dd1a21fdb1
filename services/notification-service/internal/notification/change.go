package notification

import (
	"cmp"
	"time"

	"github.com/google/uuid"
)

// Detail is a detail of a booked event that holders of its tickets have to know.
type Detail string

// The details, as the fields of an event are named.
const (
	DetailName         Detail = "eventName"
	DetailDate         Detail = "eventDate"
	DetailEndDate      Detail = "endDate"
	DetailVenueName    Detail = "venueName"
	DetailVenueAddress Detail = "venueAddress"
)

// details are all details with their names in mails, in the order of the mails.
var details = []struct {
	detail Detail
	name   string
}{
	{DetailName, "Name"},
	{DetailDate, "Begins"},
	{DetailEndDate, "Ends"},
	{DetailVenueName, "Venue"},
	{DetailVenueAddress, "Address"},
}

// Values are the values of details. A time is in RFC 3339, a missing value is empty.
type Values map[Detail]string

// values returns the values of an occasion.
func (o Occasion) values() Values {
	v := Values{
		DetailName: o.Name, DetailDate: o.Date.UTC().Format(time.RFC3339Nano),
		DetailVenueName: o.VenueName, DetailVenueAddress: o.VenueAddress,
	}
	if !o.EndDate.IsZero() {
		v[DetailEndDate] = o.EndDate.UTC().Format(time.RFC3339Nano)
	}
	return v
}

// Change is what was changed about an event since its holders were told: the facts of EventChanged. It does not have
// the new values. A mail about it shows those that apply when it is sent, so the last mail is right, in whatever order
// mails are sent.
type Change struct {
	EventID uuid.UUID          `json:"eventId"`
	Before  map[Detail]Earlier `json:"before"` // only details that were changed
}

// Earlier is the value of a detail before it was changed at the time At.
type Earlier struct {
	Value string    `json:"value"`
	At    time.Time `json:"at"`
}

// Changed returns the change of an event from one version to the next one, which was made at the time at. It has no
// details if none of them differs.
func Changed(eventID uuid.UUID, from, to Occasion, at time.Time) Change {
	c := Change{EventID: eventID, Before: map[Detail]Earlier{}}
	before, after := from.values(), to.values()
	for _, d := range details {
		if before[d.detail] != after[d.detail] {
			c.Before[d.detail] = Earlier{before[d.detail], at}
		}
	}
	return c
}

// With returns the change that consists of c and another one of the same event. For a detail that both changed, it has
// the value before the earlier one. The result does not depend on their order.
func (c Change) With(other Change) Change {
	both := Change{EventID: cmp.Or(c.EventID, other.EventID), Before: map[Detail]Earlier{}}
	for _, change := range []Change{c, other} {
		for detail, earlier := range change.Before {
			if known, changed := both.Before[detail]; !changed || earlier.At.Before(known.At) {
				both.Before[detail] = earlier
			}
		}
	}
	return both
}

// Line is a changed detail in a mail.
type Line struct{ Name, Before, Now string }

// Lines returns the changed details whose values differ from those of the occasion, which is the event as it is now.
func (c Change) Lines(now Occasion) []Line {
	var lines []Line
	current := now.values()
	for _, d := range details {
		if earlier, changed := c.Before[d.detail]; changed && earlier.Value != current[d.detail] {
			lines = append(lines, Line{d.name, text(d.detail, earlier.Value), text(d.detail, current[d.detail])})
		}
	}
	return lines
}

// text returns the value of a detail as mails show it.
func text(detail Detail, value string) string {
	if value == "" {
		return "not known"
	}
	if detail == DetailDate || detail == DetailEndDate {
		if t, err := time.Parse(time.RFC3339Nano, value); err == nil {
			return when(t)
		}
	}
	return value
}

// ChangeNotice informs a holder of tickets about changed details of the event.
type ChangeNotice struct {
	To       Recipient
	Occasion Occasion // as it is now
	Lines    []Line   // at least one
}

// Mail returns the mail.
func (c ChangeNotice) Mail() (Mail, error) {
	return changeNotice.render(Mail{To: c.To, Subject: subject("Changes to %s", c.Occasion.Name)}, c)
}
