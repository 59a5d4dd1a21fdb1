package email_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/email-service/internal/claim/claimtest"
	"github.com/eventbooking/eventbooking/services/email-service/internal/email"
)

// deadline is the maximum time that a test waits for a condition.
const deadline = 20 * time.Second

// impatient is a server whose sender answers its callers early.
var impatient = email.Server{AnswerWithin: 50 * time.Millisecond}

// awaitSent sends the message until Send returns nil. Until then, it requires ErrInProgress.
func (m *mailbox) awaitSent(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		err := m.sender.Send(t.Context(), message())
		if err != nil {
			require.ErrorIs(t, err, email.ErrInProgress)
		}
		return err == nil
	}, deadline, deadline/400)
}

// The server takes longer to answer the final dot than callers wait and than a lease lasts. Callers ask again and
// again.
func TestSlowAnswerToFinalDotSendsOneCopy(t *testing.T) {
	t.Parallel()
	const lease = 2 * time.Second
	box := setupWith(t, impatient, lease)
	box.dotHeld = make(chan struct{})
	for end := time.Now().Add(2 * lease); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		require.ErrorIs(t, box.sender.Send(t.Context(), message()), email.ErrInProgress)
	}
	require.Len(t, box.messages(), 1)
	close(box.dotHeld)
	box.awaitSent(t)
	require.Len(t, box.messages(), 1)
}

// The state store is down when the server accepts the message, and longer than the lease.
func TestOutcomeIsRecordedAfterLeaseExpired(t *testing.T) {
	t.Parallel()
	box := setupWith(t, impatient, time.Second)
	box.dotHeld = make(chan struct{})
	require.ErrorIs(t, box.sender.Send(t.Context(), message()), email.ErrInProgress)
	require.Eventually(t, func() bool { return len(box.messages()) == 1 }, deadline, deadline/400)
	box.states.Break(claimtest.Down)
	close(box.dotHeld)
	box.states.Advance(email.Lease)
	box.states.Break(claimtest.None)
	require.Eventually(t, func() bool { // another Send before would take the message
		item, err := box.states.GetState(t.Context(), "", "processed:email-service:"+message().ID, nil)
		return err == nil && len(item.Value) > 0
	}, deadline, deadline/400)
	box.awaitSent(t)
	require.Len(t, box.messages(), 1)
}

func TestRefusalAfterSlowAnswerIsReported(t *testing.T) {
	t.Parallel()
	box := setupWith(t, impatient, email.Lease)
	box.mailHeld = make(chan struct{})
	box.rcptErr = &smtp.SMTPError{Code: 550, Message: "no such mailbox"}
	require.ErrorIs(t, box.sender.Send(t.Context(), message()), email.ErrInProgress)
	close(box.mailHeld)
	require.Eventually(t, func() bool {
		return errors.Is(box.sender.Send(t.Context(), message()), email.ErrRejected)
	}, deadline, deadline/400)
	require.Empty(t, box.messages())
}

// A server that receives messages and never answers gets a limited number of copies.
func TestUnansweredMessageIsSentThreeTimes(t *testing.T) {
	t.Parallel()
	box := setup(t)
	box.cutUnanswered = true
	for range email.MaxUnconfirmed - 1 {
		require.ErrorIs(t, box.sender.Send(t.Context(), message()), email.ErrUnavailable)
	}
	box.set(func(a *answers) {
		a.cutUnanswered, a.rcptErr = false, &smtp.SMTPError{Code: 451, Message: "greylisted"}
	})
	require.ErrorIs(t, box.sender.Send(t.Context(), message()), email.ErrDeferred, "an attempt without a copy")
	box.set(func(a *answers) { a.cutUnanswered, a.rcptErr = true, nil })
	for range 3 {
		require.ErrorIs(t, box.sender.Send(t.Context(), message()), email.ErrUnconfirmed)
	}
	require.Len(t, box.messages(), email.MaxUnconfirmed)
}

func TestEachPhaseHasItsTime(t *testing.T) {
	t.Parallel()
	held := make(chan struct{})
	t.Cleanup(func() { close(held) })
	for _, tt := range []struct {
		name   string
		waits  email.Waits
		box    func(*mailbox)
		copies int
	}{
		{"Command", email.Waits{Command: 100 * time.Millisecond}, func(m *mailbox) { m.mailHeld = held }, 0},
		{"FinalDot", email.Waits{Dot: 100 * time.Millisecond}, func(m *mailbox) { m.dotHeld = held }, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			box := setupWith(t, email.Server{Waits: tt.waits, AnswerWithin: deadline}, email.Lease)
			tt.box(box)
			require.ErrorIs(t, box.sender.Send(t.Context(), message()), email.ErrUnavailable)
			require.Len(t, box.messages(), tt.copies)
		})
	}
}

// A stopping process sends no incomplete message, and waits for the answer to a complete one.
func TestStoppingProcessAwaitsFinalAnswer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		hold   func(*mailbox, chan struct{})
		copies int
	}{
		{"BeforeContent", func(m *mailbox, held chan struct{}) { m.mailHeld = held }, 0},
		{"AfterFinalDot", func(m *mailbox, held chan struct{}) { m.dotHeld = held }, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			box := setupWith(t, impatient, email.Lease)
			held := make(chan struct{})
			tt.hold(box, held)
			require.ErrorIs(t, box.sender.Send(t.Context(), message()), email.ErrInProgress)
			require.Eventually(t, func() bool { return len(box.messages()) == tt.copies }, deadline, deadline/400)
			ctx, stop := context.WithCancel(t.Context())
			stop()
			stopped := make(chan error, 1)
			go func() { stopped <- box.sender.Run(ctx) }()
			select {
			case err := <-stopped:
				require.Fail(t, "the process did not wait", err)
			case <-time.After(50 * time.Millisecond):
			}
			close(held)
			require.ErrorIs(t, <-stopped, context.Canceled)
			require.Len(t, box.messages(), tt.copies)
		})
	}
}

// A server that does not answer holds at most 100 attempts, half of them with bulk messages.
func TestAttemptsInProgressAreLimited(t *testing.T) {
	t.Parallel()
	box := setupWith(t, email.Server{AnswerWithin: time.Millisecond}, email.Lease)
	box.mailHeld = make(chan struct{})
	t.Cleanup(func() { close(box.mailHeld) })
	m := message()
	m.Attachments = nil
	for _, bulk := range []bool{true, false} {
		m.Bulk = bulk
		for i := range 50 {
			m.ID = "m-" + strconv.FormatBool(bulk) + strconv.Itoa(i)
			require.ErrorIs(t, box.sender.Send(t.Context(), m), email.ErrInProgress)
		}
		m.ID = "m-last"
		require.ErrorIs(t, box.sender.Send(t.Context(), m), email.ErrUnavailable)
	}
}
