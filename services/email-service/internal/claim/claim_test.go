package claim_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/eventbooking/eventbooking/services/email-service/internal/claim"
	"github.com/eventbooking/eventbooking/services/email-service/internal/claim/claimtest"
)

// deadline is the maximum time that a test waits for a condition.
const deadline = 20 * time.Second

func claimsIn(states claim.States) claim.Claims {
	return claim.Claims{
		States: states, Store: "statestore", Consumer: "email-service", Lease: time.Minute, Keep: time.Hour,
	}
}

// The tests run against a real sidecar with a real database, and against the fake.
func TestClaimIsExclusiveInDaprdAndFake(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		start func(t *testing.T) claim.States
	}{
		{"Daprd", func(t *testing.T) claim.States { t.Helper(); return startDaprd(t) }},
		{"Fake", func(t *testing.T) claim.States { t.Helper(); return &claimtest.States{} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			claims := claimsIn(tt.start(t))
			t.Run("OneOfConcurrentTakesSucceeds", func(t *testing.T) { oneOfConcurrentTakesSucceeds(t, claims) })
			t.Run("DoneCannotBeTaken", func(t *testing.T) { doneCannotBeTaken(t, claims) })
			t.Run("ReleasedCanBeTaken", func(t *testing.T) { releasedCanBeTaken(t, claims) })
			t.Run("RefusedCannotBeTaken", func(t *testing.T) { refusedCannotBeTaken(t, claims) })
			t.Run("UnconfirmedAttemptsAreCounted", func(t *testing.T) { unconfirmedAttemptsAreCounted(t, claims) })
			t.Run("RenewedIsHeld", func(t *testing.T) { renewedIsHeld(t, claims) })
			t.Run("ExpiredCanBeDone", func(t *testing.T) { expiredCanBeDone(t, claims) })
			t.Run("ExpiredCanBeTaken", func(t *testing.T) { expiredCanBeTaken(t, claims) })
			t.Run("MessagesAreIndependent", func(t *testing.T) { messagesAreIndependent(t, claims) })
		})
	}
}

func oneOfConcurrentTakesSucceeds(t *testing.T, claims claim.Claims) {
	t.Helper()
	id := uuid.NewString()
	const takers = 16
	results := make(chan error, takers)
	for range takers {
		go func() {
			_, err := claims.Take(t.Context(), id)
			results <- err
		}()
	}
	taken := 0
	for range takers {
		err := <-results
		if err == nil {
			taken++
			continue
		}
		require.ErrorIs(t, err, claim.ErrHeld)
	}
	require.Equal(t, 1, taken)
}

func doneCannotBeTaken(t *testing.T, claims claim.Claims) {
	t.Helper()
	id := uuid.NewString()
	held, err := claims.Take(t.Context(), id)
	require.NoError(t, err)
	require.NoError(t, held.Done(t.Context()))
	_, err = claims.Take(t.Context(), id)
	require.ErrorIs(t, err, claim.ErrDone)
}

func releasedCanBeTaken(t *testing.T, claims claim.Claims) {
	t.Helper()
	id := uuid.NewString()
	held, err := claims.Take(t.Context(), id)
	require.NoError(t, err)
	require.NoError(t, held.Release(t.Context()))
	_, err = claims.Take(t.Context(), id)
	require.NoError(t, err)
}

func refusedCannotBeTaken(t *testing.T, claims claim.Claims) {
	t.Helper()
	id := uuid.NewString()
	held, err := claims.Take(t.Context(), id)
	require.NoError(t, err)
	require.NoError(t, held.Refuse(t.Context(), "EMAIL_REJECTED"))
	_, err = claims.Take(t.Context(), id)
	var refused *claim.RefusedError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "EMAIL_REJECTED", refused.Code)
}

func unconfirmedAttemptsAreCounted(t *testing.T, claims claim.Claims) {
	t.Helper()
	id := uuid.NewString()
	for attempts := range 3 {
		released, err := claims.Take(t.Context(), id)
		require.NoError(t, err)
		require.NoError(t, released.Release(t.Context()))
		held, err := claims.Take(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, attempts, held.Attempts())
		_, err = claims.Take(t.Context(), id)
		require.ErrorIs(t, err, claim.ErrHeld)
		require.NoError(t, held.Unconfirmed(t.Context()))
	}
}

// The lease is renewed for longer than it lasts.
func renewedIsHeld(t *testing.T, claims claim.Claims) {
	t.Helper()
	claims.Lease = 3 * time.Second
	id := uuid.NewString()
	held, err := claims.Take(t.Context(), id)
	require.NoError(t, err)
	for end := time.Now().Add(claims.Lease + time.Second); time.Now().Before(end); <-time.After(200 * time.Millisecond) {
		require.NoError(t, held.Renew(t.Context()))
		_, err = claims.Take(t.Context(), id)
		require.ErrorIs(t, err, claim.ErrHeld)
	}
	require.NoError(t, held.Done(t.Context()))
	_, err = claims.Take(t.Context(), id)
	require.ErrorIs(t, err, claim.ErrDone)
}

// A worker whose lease expired records its effect, if no other worker has taken the message.
func expiredCanBeDone(t *testing.T, claims claim.Claims) {
	t.Helper()
	claims.Lease = time.Second
	id := uuid.NewString()
	var expired *claim.Claim
	require.Eventually(t, func() (taken bool) { // the lease may expire before Take has read its own record
		var err error
		expired, err = claims.Take(t.Context(), id)
		return err == nil
	}, deadline, 50*time.Millisecond)
	require.Eventually(t, func() bool {
		item, err := claims.States.GetState(t.Context(), claims.Store, "processed:"+claims.Consumer+":"+id, nil)
		return err == nil && len(item.Value) == 0
	}, deadline, 50*time.Millisecond)
	require.NoError(t, expired.Done(t.Context()))
	_, err := claims.Take(t.Context(), id)
	require.ErrorIs(t, err, claim.ErrDone)
}

// A lease expires if the worker dies or takes too long.
func expiredCanBeTaken(t *testing.T, claims claim.Claims) {
	t.Helper()
	claims.Lease = 3 * time.Second // long enough for Take to read its own record on a busy machine
	id := uuid.NewString()
	expired, err := claims.Take(t.Context(), id)
	require.NoError(t, err)

	claims.Lease = time.Minute
	_, err = claims.Take(t.Context(), id)
	require.ErrorIs(t, err, claim.ErrHeld)
	// Take may fail with another error than ErrHeld, if the lease expires between the write and the read.
	require.Eventually(t, func() bool {
		_, err := claims.Take(t.Context(), id)
		return err == nil
	}, deadline, 50*time.Millisecond)

	require.ErrorIs(t, expired.Renew(t.Context()), claim.ErrLost)
	require.Equal(t, codes.Aborted, status.Code(expired.Done(t.Context())))
	require.Equal(t, codes.Aborted, status.Code(expired.Release(t.Context())))
	_, err = claims.Take(t.Context(), id)
	require.ErrorIs(t, err, claim.ErrHeld, "the second worker still has its lease")
}

func messagesAreIndependent(t *testing.T, claims claim.Claims) {
	t.Helper()
	for range 2 {
		_, err := claims.Take(t.Context(), uuid.NewString())
		require.NoError(t, err)
	}
}

func TestTakeSucceedsIfAnswerIsLost(t *testing.T) {
	t.Parallel()
	var states claimtest.States
	states.Break(claimtest.LoseAnswers)
	claims := claimsIn(&states)
	id := uuid.NewString()
	held, err := claims.Take(t.Context(), id)
	require.NoError(t, err, "the record was written")
	states.Break(claimtest.None)
	_, err = claims.Take(t.Context(), id)
	require.ErrorIs(t, err, claim.ErrHeld)
	require.NoError(t, held.Done(t.Context()))
}

// The ETag of a renewal whose answer was lost is read back.
func TestRenewalWithLostAnswerKeepsClaim(t *testing.T) {
	t.Parallel()
	var states claimtest.States
	claims := claimsIn(&states)
	id := uuid.NewString()
	held, err := claims.Take(t.Context(), id)
	require.NoError(t, err)
	states.Break(claimtest.LoseAnswers)
	require.ErrorIs(t, held.Renew(t.Context()), claimtest.ErrDown)
	require.ErrorIs(t, held.Renew(t.Context()), claimtest.ErrDown)
	require.NoError(t, held.Done(t.Context()), "the record was written")
	states.Break(claimtest.None)
	_, err = claims.Take(t.Context(), id)
	require.ErrorIs(t, err, claim.ErrDone)
}

func TestTakeFailsWithStore(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		fault claimtest.Fault
		err   error
	}{
		{"Down", claimtest.Down, claimtest.ErrDown},
		{"RefusesWrites", claimtest.RefuseSaves, claimtest.ErrNotInserted}, // the status of a conflict, without a conflict
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var states claimtest.States
			states.Break(tt.fault)
			_, err := claimsIn(&states).Take(t.Context(), uuid.NewString())
			require.ErrorIs(t, err, tt.err)
			require.NotErrorIs(t, err, claim.ErrHeld)
		})
	}
}

func TestDoneRetriesUntilStoreIsBack(t *testing.T) {
	t.Parallel()
	var states claimtest.States
	claims := claimsIn(&states)
	id := uuid.NewString()
	held, err := claims.Take(t.Context(), id)
	require.NoError(t, err)
	states.Break(claimtest.Down)
	done := make(chan error)
	go func() { done <- held.Done(t.Context()) }()
	select {
	case err := <-done:
		require.Fail(t, "Done did not retry", err)
	case <-time.After(10 * time.Millisecond):
	}
	states.Break(claimtest.None)
	require.NoError(t, <-done)
	_, err = claims.Take(t.Context(), id)
	require.ErrorIs(t, err, claim.ErrDone)
}
