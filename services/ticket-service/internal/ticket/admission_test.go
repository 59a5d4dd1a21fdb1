package ticket_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// What a ticket's status lets be done with it.
func TestTicketStates(t *testing.T) {
	t.Parallel()
	owner, now := uuid.New(), time.Date(2030, 7, 15, 18, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		status                    ticket.Status
		checkIn, transfer, giveUp error
		cancelled                 int
		refund                    error
	}{
		{ticket.Valid, nil, nil, nil, 1, nil},
		{ticket.Used, ticket.ErrAlreadyCheckedIn, ticket.ErrNotActive, ticket.ErrNotActive, 0, ticket.ErrTicketUsed},
		{ticket.Void, ticket.ErrNotActive, ticket.ErrNotActive, ticket.ErrNotActive, 0, nil},
	} {
		t.Run(string(tt.status), func(t *testing.T) {
			t.Parallel()
			k := ticket.Ticket{ID: uuid.New(), OwnerID: owner, Status: tt.status, CodeVersion: 2}
			_, err := k.CheckIn(2, "North", now)
			require.ErrorIs(t, err, tt.checkIn)
			_, err = k.Transfer(owner, uuid.New(), "Bob")
			require.ErrorIs(t, err, tt.transfer)
			require.ErrorIs(t, k.GiveUp(owner, now.Add(time.Hour), now), tt.giveUp)
			left, err := ticket.ToCancel([]ticket.Ticket{k}, false)
			require.ErrorIs(t, err, tt.refund)
			require.Len(t, left, tt.cancelled)
		})
	}
}

func TestCheckIn(t *testing.T) {
	t.Parallel()
	now := time.Date(2030, 7, 15, 18, 0, 0, 0, time.UTC)
	k := ticket.Ticket{ID: uuid.New(), Status: ticket.Valid, CodeVersion: 2}
	used, err := k.CheckIn(2, "North", now)
	require.NoError(t, err)
	k.Status, k.CheckedInAt, k.Gate = ticket.Used, now, "North"
	require.Equal(t, k, used)
	again, err := used.CheckIn(2, "South", now.Add(time.Minute))
	require.ErrorIs(t, err, ticket.ErrAlreadyCheckedIn)
	require.Equal(t, used, again)
	for _, other := range []int{0, 1, 3, -2} { // whatever became of the ticket, this is not its code
		_, err := used.CheckIn(other, "", now)
		require.ErrorIs(t, err, ticket.ErrCodeSuperseded)
	}
}

func TestTransfer(t *testing.T) {
	t.Parallel()
	ann, bob := uuid.New(), uuid.New()
	k := ticket.Ticket{ID: uuid.New(), OwnerID: ann, HolderName: "Ann", Status: ticket.Valid, CodeVersion: 1}
	given, err := k.Transfer(ann, bob, "Bob")
	require.NoError(t, err)
	k.OwnerID, k.HolderName, k.CodeVersion = bob, "Bob", 2
	require.Equal(t, k, given)
	_, err = given.Transfer(ann, bob, "Bob")
	require.ErrorIs(t, err, ticket.ErrTicketNotFound)
	given.Status = ticket.Used // which is not for the former owner to know
	_, err = given.Transfer(ann, bob, "Bob")
	require.ErrorIs(t, err, ticket.ErrTicketNotFound)
	require.ErrorIs(t, given.GiveUp(ann, time.Time{}, time.Time{}), ticket.ErrTicketNotFound)
}

func TestGiveUp(t *testing.T) {
	t.Parallel()
	owner, date := uuid.New(), time.Date(2030, 7, 15, 18, 0, 0, 0, time.UTC)
	k := ticket.Ticket{OwnerID: owner, Status: ticket.Valid}
	require.NoError(t, k.GiveUp(owner, date, date.Add(-time.Microsecond)))
	require.ErrorIs(t, k.GiveUp(owner, date, date), ticket.ErrEventPassed)
	require.ErrorIs(t, k.GiveUp(owner, date, date.Add(time.Hour)), ticket.ErrEventPassed)
}

func TestToCancel(t *testing.T) {
	t.Parallel()
	valid, void, used := ticket.Ticket{Status: ticket.Valid}, ticket.Ticket{Status: ticket.Void}, ticket.Ticket{Status: ticket.Used}
	left, err := ticket.ToCancel([]ticket.Ticket{void, valid, void, valid}, false)
	require.NoError(t, err)
	require.Equal(t, []ticket.Ticket{valid, valid}, left)
	left, err = ticket.ToCancel(nil, false)
	require.NoError(t, err)
	require.Empty(t, left)
	_, err = ticket.ToCancel([]ticket.Ticket{valid, used}, false)
	require.ErrorIs(t, err, ticket.ErrTicketUsed)
	left, err = ticket.ToCancel([]ticket.Ticket{valid, used, void}, true)
	require.NoError(t, err)
	require.Equal(t, []ticket.Ticket{valid, used}, left)
}

func TestValidateText(t *testing.T) {
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
