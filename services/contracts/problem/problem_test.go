package problem_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

func TestErrorsWithTheSameCodeAreEqual(t *testing.T) {
	t.Parallel()
	soldOut := problem.New(problem.Conflict, "INSUFFICIENT_INVENTORY", "Not enough tickets available")
	remote := problem.New(problem.Conflict, "INSUFFICIENT_INVENTORY", "another message, from another service")
	require.ErrorIs(t, remote, soldOut)
	require.ErrorIs(t, fmt.Errorf("reserve: %w", remote), soldOut)
	require.NotErrorIs(t, problem.New(problem.Conflict, "EVENT_NOT_DRAFT", "Not enough tickets available"), soldOut)
}

func TestBecauseReturnsACopyThatWrapsTheCause(t *testing.T) {
	t.Parallel()
	unavailable := problem.New(problem.Unavailable, "SERVICE_UNAVAILABLE", "A service is not available")
	because := unavailable.Because(io.ErrUnexpectedEOF)
	require.ErrorIs(t, because, unavailable)
	require.ErrorIs(t, because, io.ErrUnexpectedEOF)
	require.Equal(t, unavailable.Message, because.Message, "the cause is not in the message")
	require.NotErrorIs(t, unavailable, io.ErrUnexpectedEOF, "the shared original is unchanged")
}

func TestKindOfReturnsTheKindOfTheWrappedError(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		err  error
		want problem.Kind
	}{
		{"Error", problem.New(problem.NotFound, "ORDER_NOT_FOUND", "gone"), problem.NotFound},
		{"Wrapped", fmt.Errorf("get: %w", problem.New(problem.NotFound, "ORDER_NOT_FOUND", "gone")), problem.NotFound},
		{"Field", problem.Field("name", "%s is too long", "name"), problem.Invalid},
		{"OtherError", errors.New("broken"), problem.Internal},
		{"Nil", nil, problem.Internal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, problem.KindOf(tt.err))
		})
	}
}
