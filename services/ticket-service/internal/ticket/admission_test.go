package ticket_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

func TestStatusAllowsTransitions(t *testing.T) {
	t.Parallel()
	owner, now := uuid.New(), time.Date(2030, 7, 15, 18, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		status                    ticket.Status
		checkIn, transfer, cancel error
		refund                    error
		refunded                  int
	}{
		{ticket.Active, nil, nil, nil, nil, 1},
		{ticket.Used, ticket.ErrAlreadyCheckedIn, ticket.ErrNotActive, ticket.ErrNotActive, ticket.ErrTicketUsed, 0},
		{ticket.Cancelled, ticket.ErrNotActive, ticket.ErrNotActive, ticket.ErrNotActive, nil, 0},
	} {
		t.Run(string(tt.status), func(t *testing.T) {
			t.Parallel()
			k := ticket.Ticket{ID: uuid.New(), OwnerID: owner, Status: tt.status, CodeVersion: 2}
			_, err := k.CheckIn(begins(now), 2, "North", now)
			require.ErrorIs(t, err, tt.checkIn)
			_, err = k.Transfer(owner, uuid.New(), "Bob")
			require.ErrorIs(t, err, tt.transfer)
			_, err = k.Cancel(owner, now.Add(time.Hour), now)
			require.ErrorIs(t, err, tt.cancel)
			left, err := ticket.ToCancel([]ticket.Ticket{k}, false, false)
			require.ErrorIs(t, err, tt.refund)
			require.Len(t, left, tt.refunded)
		})
	}
}

func TestCheckInUsesTicketOnce(t *testing.T) {
	t.Parallel()
	now := time.Date(2030, 7, 15, 18, 0, 0, 0, time.UTC)
	k := ticket.Ticket{ID: uuid.New(), Status: ticket.Active, CodeVersion: 2}
	used, err := k.CheckIn(begins(now), 2, "North", now)
	require.NoError(t, err)
	k.Status, k.CheckedInAt, k.Gate = ticket.Used, now, "North"
	require.Equal(t, k, used)
	again, err := used.CheckIn(begins(now), 2, "South", now.Add(time.Minute))
	require.ErrorIs(t, err, ticket.ErrAlreadyCheckedIn)
	require.Equal(t, used, again)
	for _, other := range []int{0, 1, 3, -2} { // whatever the status, this is not the ticket's code
		_, err := used.CheckIn(begins(now), other, "", now)
		require.ErrorIs(t, err, ticket.ErrCodeSuperseded)
	}
}

func TestUndoneCheckInAdmitsAgain(t *testing.T) {
	t.Parallel()
	now := time.Date(2030, 7, 15, 18, 0, 0, 0, time.UTC)
	k := ticket.Ticket{ID: uuid.New(), Status: ticket.Active, CodeVersion: 2}
	used, err := k.CheckIn(begins(now), 2, "North", now)
	require.NoError(t, err)
	undone, err := used.UndoCheckIn()
	require.NoError(t, err)
	require.Equal(t, k, undone)
	_, err = undone.UndoCheckIn()
	require.ErrorIs(t, err, ticket.ErrNotCheckedIn)
	used.Status = ticket.Cancelled // with its event
	_, err = used.UndoCheckIn()
	require.ErrorIs(t, err, ticket.ErrNotCheckedIn)
}

// begins returns an event that starts at a time and whose end is unknown.
func begins(at time.Time) ticket.Event { return ticket.Event{Date: at} }

func TestCheckInHasAWindow(t *testing.T) {
	t.Parallel()
	start := time.Date(2030, 7, 15, 18, 0, 0, 0, time.UTC)
	short, long := new(start.Add(3*time.Hour)), new(start.Add(72*time.Hour))
	for _, tt := range []struct {
		name string
		end  *time.Time
		now  time.Time
		err  error
	}{
		{"TheEveningBefore", nil, start.Add(-24 * time.Hour), ticket.ErrCheckInNotOpen},
		{"BeforeItOpens", nil, start.Add(-6*time.Hour - time.Microsecond), ticket.ErrCheckInNotOpen},
		{"WhenItOpens", nil, start.Add(-6 * time.Hour), nil},
		{"AtTheStart", nil, start, nil},
		{"NoEndBeforeItCloses", nil, start.Add(24*time.Hour - time.Microsecond), nil},
		{"NoEndWhenItCloses", nil, start.Add(24 * time.Hour), ticket.ErrCheckInClosed},
		{"OpensAtTheSameTimeWithAnEnd", short, start.Add(-6*time.Hour - time.Microsecond), ticket.ErrCheckInNotOpen},
		{"AfterTheEnd", short, start.Add(9*time.Hour - time.Microsecond), nil},
		{"WhenItCloses", short, start.Add(9 * time.Hour), ticket.ErrCheckInClosed},
		{"ThirdDay", long, start.Add(50 * time.Hour), nil},
		{"AfterThreeDays", long, start.Add(78 * time.Hour), ticket.ErrCheckInClosed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := ticket.Event{Date: start, EndDate: tt.end}
			k := ticket.Ticket{ID: uuid.New(), Status: ticket.Active, CodeVersion: 1}
			used, err := k.CheckIn(e, 1, "North", tt.now)
			require.ErrorIs(t, err, tt.err)
			if tt.err != nil {
				require.Equal(t, k, used)
				return
			}
			require.Equal(t, ticket.Used, used.Status)
			_, err = used.CheckIn(e, 1, "South", start.AddDate(1, 0, 0))
			require.ErrorIs(t, err, ticket.ErrAlreadyCheckedIn, "a used ticket is reported at any time")
		})
	}
}

func TestTransferChangesOwnerAndCode(t *testing.T) {
	t.Parallel()
	ann, bob := uuid.New(), uuid.New()
	k := ticket.Ticket{ID: uuid.New(), OwnerID: ann, HolderName: "Ann", Status: ticket.Active, CodeVersion: 1}
	transferred, err := k.Transfer(ann, bob, "Bob")
	require.NoError(t, err)
	k.OwnerID, k.HolderName, k.CodeVersion = bob, "Bob", 2
	require.Equal(t, k, transferred)
	_, err = transferred.Transfer(ann, bob, "Bob")
	require.ErrorIs(t, err, ticket.ErrTicketNotFound)
	transferred.Status = ticket.Used // the former owner must not learn that
	_, err = transferred.Transfer(ann, bob, "Bob")
	require.ErrorIs(t, err, ticket.ErrTicketNotFound)
	_, err = transferred.Cancel(ann, time.Time{}, time.Time{})
	require.ErrorIs(t, err, ticket.ErrTicketNotFound)
}

func TestCancelIsPossibleUntilTheEventStarts(t *testing.T) {
	t.Parallel()
	owner, date := uuid.New(), time.Date(2030, 7, 15, 18, 0, 0, 0, time.UTC)
	k := ticket.Ticket{OwnerID: owner, Status: ticket.Active}
	cancelled, err := k.Cancel(owner, date, date.Add(-time.Microsecond))
	require.NoError(t, err)
	require.Equal(t, ticket.Ticket{OwnerID: owner, Status: ticket.Cancelled}, cancelled)
	for _, late := range []time.Time{date, date.Add(time.Hour)} {
		_, err := k.Cancel(owner, date, late)
		require.ErrorIs(t, err, ticket.ErrEventPassed)
	}
}

func TestToCancelOmitsCancelledTickets(t *testing.T) {
	t.Parallel()
	active, cancelled := ticket.Ticket{Status: ticket.Active}, ticket.Ticket{Status: ticket.Cancelled}
	used := ticket.Ticket{Status: ticket.Used}
	left, err := ticket.ToCancel([]ticket.Ticket{cancelled, active, cancelled, active}, false, false)
	require.NoError(t, err)
	require.Equal(t, []ticket.Ticket{active, active}, left)
	left, err = ticket.ToCancel(nil, false, false)
	require.NoError(t, err)
	require.Empty(t, left)
	_, err = ticket.ToCancel([]ticket.Ticket{active, used}, false, false)
	require.ErrorIs(t, err, ticket.ErrTicketUsed)
	left, err = ticket.ToCancel([]ticket.Ticket{active, used, cancelled}, true, false)
	require.NoError(t, err)
	require.Equal(t, []ticket.Ticket{active, used}, left)
	left, err = ticket.ToCancel([]ticket.Ticket{active, used, cancelled}, false, true)
	require.NoError(t, err)
	require.Equal(t, []ticket.Ticket{active}, left, "a used ticket is kept")
}

func TestValidateTextChecksLengthAndCharacters(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, field string }{
		{"Empty", "", ""},
		{"Longest", strings.Repeat("ä", 10), ""},
		{"TooLong", strings.Repeat("ä", 11), "gate"},
		{"NUL", "North\x00", "gate"},
		{"LineBreak", "North\n", "gate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			requireField(t, ticket.ValidateText("gate", tt.text, 10), tt.field)
		})
	}
}
