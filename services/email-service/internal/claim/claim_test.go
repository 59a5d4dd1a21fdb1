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

const deadline = 20 * time.Second

func claimsIn(states claim.States) claim.Claims {
	return claim.Claims{
		States: states, Store: "statestore", Consumer: "email-service", Lease: time.Minute, Keep: time.Hour,
	}
}

// What a claim promises holds of a real sidecar with a real database, and of the fake alike.
func TestClaim(t *testing.T) {
	t.Parallel()
	for name, states := range map[string]func(t *testing.T) claim.States{
		"Daprd": func(t *testing.T) claim.States { return startDaprd(t) },
		"Fake":  func(*testing.T) claim.States { return &claimtest.States{} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			claims := claimsIn(states(t))
			t.Run("OneOfManyTakesIt", func(t *testing.T) { oneOfManyTakesIt(t, claims) })
			t.Run("DoneIsForGood", func(t *testing.T) { doneIsForGood(t, claims) })
			t.Run("ReleasedIsFree", func(t *testing.T) { releasedIsFree(t, claims) })
			t.Run("EndedLeaseIsTheNextTakers", func(t *testing.T) { endedLeaseIsTheNextTakers(t, claims) })
			t.Run("MessagesAreApart", func(t *testing.T) { messagesAreApart(t, claims) })
		})
	}
}

func oneOfManyTakesIt(t *testing.T, claims claim.Claims) {
	id := uuid.NewString()
	const takers = 16
	results := make(chan error, takers)
	for range takers {
		go func() {
			_, err := claims.Take(t.Context(), id)
			results <- err
		}()
	}
	won := 0
	for range takers {
		err := <-results
		if err == nil {
			won++
			continue
		}
		require.ErrorIs(t, err, claim.ErrHeld)
	}
	require.Equal(t, 1, won)
}

func doneIsForGood(t *testing.T, claims claim.Claims) {
	id := uuid.NewString()
	held, err := claims.Take(t.Context(), id)
	require.NoError(t, err)
	require.NoError(t, held.Done(t.Context()))
	_, err = claims.Take(t.Context(), id)
	require.ErrorIs(t, err, claim.ErrDone)
}

func releasedIsFree(t *testing.T, claims claim.Claims) {
	id := uuid.NewString()
	held, err := claims.Take(t.Context(), id)
	require.NoError(t, err)
	require.NoError(t, held.Release(t.Context()))
	_, err = claims.Take(t.Context(), id)
	require.NoError(t, err)
}

// The worker dies, or stalls beyond its lease.
func endedLeaseIsTheNextTakers(t *testing.T, claims claim.Claims) {
	claims.Lease = 3 * time.Second // long enough to see our claim on a busy machine
	id := uuid.NewString()
	stalled, err := claims.Take(t.Context(), id)
	require.NoError(t, err)

	claims.Lease = time.Minute
	_, err = claims.Take(t.Context(), id)
	require.ErrorIs(t, err, claim.ErrHeld)
	// Not every refusal on the way is ErrHeld: the lease that refused ours may end before we see whose it was.
	require.Eventually(t, func() bool {
		_, err := claims.Take(t.Context(), id)
		return err == nil
	}, deadline, 50*time.Millisecond)

	require.Equal(t, codes.Aborted, status.Code(stalled.Done(t.Context())))
	require.Equal(t, codes.Aborted, status.Code(stalled.Release(t.Context())))
	_, err = claims.Take(t.Context(), id)
	require.ErrorIs(t, err, claim.ErrHeld, "it is still the second taker's")
}

func messagesAreApart(t *testing.T, claims claim.Claims) {
	for range 2 {
		_, err := claims.Take(t.Context(), uuid.NewString())
		require.NoError(t, err)
	}
}

func TestTakeWhenTheAnswerWasLost(t *testing.T) {
	t.Parallel()
	var states claimtest.States
	states.Break(claimtest.LoseAnswers)
	claims := claimsIn(&states)
	id := uuid.NewString()
	held, err := claims.Take(t.Context(), id)
	require.NoError(t, err, "the write happened, and it is ours")
	states.Break(claimtest.None)
	_, err = claims.Take(t.Context(), id)
	require.ErrorIs(t, err, claim.ErrHeld)
	require.NoError(t, held.Done(t.Context()))
}

func TestTakeWhenTheStoreFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		fault claimtest.Fault
		err   error
	}{
		{"Down", claimtest.Down, claimtest.ErrDown},
		{"NothingIsWritten", claimtest.RefuseSaves, claimtest.ErrNotInserted}, // the status of a conflict alone makes nothing held
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

func TestDoneWhenTheStoreIsBackInAMoment(t *testing.T) {
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
		require.Fail(t, "it did not insist", err)
	case <-time.After(10 * time.Millisecond):
	}
	states.Break(claimtest.None)
	require.NoError(t, <-done)
	_, err = claims.Take(t.Context(), id)
	require.ErrorIs(t, err, claim.ErrDone)
}
