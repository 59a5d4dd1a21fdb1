package boxoffice_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/boxoffice"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// scene is an office, those who want tickets, and a database that answers when it is told to. It plays in a bubble of
// package synctest, which fails a test that leaves anything running behind it.
type scene struct {
	t      *testing.T
	office *boxoffice.Office

	mu      sync.Mutex
	batches [][]ticket.Request // that the database has seen
	commit  chan error         // lets one of them go
	answers map[uuid.UUID]ticket.Result
}

func play(t *testing.T, limits boxoffice.Limits, act func(s *scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &scene{t: t, commit: make(chan error), answers: map[uuid.UUID]ticket.Result{}}
		s.office = boxoffice.New(s.reserve, limits)
		act(s)
	})
}

// reserve has everybody's tickets, but for those who want thirteen.
func (s *scene) reserve(ctx context.Context, requests []ticket.Request) ([]ticket.Result, error) {
	s.mu.Lock()
	s.batches = append(s.batches, slices.Clone(requests))
	s.mu.Unlock()
	select {
	case err := <-s.commit:
		if err != nil {
			return nil, err
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	answers := make([]ticket.Result, len(requests))
	for i, q := range requests {
		answers[i].Reservation = ticket.Reservation{ID: q.ReservationID}
		if q.Items[0].Quantity == 13 {
			answers[i] = ticket.Result{Err: ticket.ErrInsufficientInventory}
		}
	}
	return answers, nil
}

// come has somebody ask for tickets, who waits for the answer.
func (s *scene) come(ctx context.Context, quantity int, types ...uuid.UUID) uuid.UUID {
	q := ticket.Request{ReservationID: uuid.New()}
	for _, id := range types {
		q.Items = append(q.Items, ticket.LineItem{TypeID: id, Quantity: quantity})
	}
	go func() {
		r, err := s.office.Reserve(ctx, q)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.answers[q.ReservationID] = ticket.Result{Reservation: r, Err: err}
	}()
	synctest.Wait()
	return q.ReservationID
}

// crowd is that many who come for one ticket of a type each.
func (s *scene) crowd(n int, typeID uuid.UUID) []uuid.UUID {
	ids := make([]uuid.UUID, n)
	for i := range ids {
		ids[i] = s.come(s.t.Context(), 1, typeID)
	}
	return ids
}

// ends has a batch that is under way end.
func (s *scene) ends(err error) {
	s.commit <- err
	synctest.Wait()
}

// requireBatch asserts who shares the latest batch.
func (s *scene) requireBatch(ids ...uuid.UUID) {
	s.t.Helper()
	var got []uuid.UUID
	for _, q := range s.batches[len(s.batches)-1] {
		got = append(got, q.ReservationID)
	}
	require.Equal(s.t, ids, got)
}

func (s *scene) requireHeld(ids ...uuid.UUID) {
	s.t.Helper()
	for _, id := range ids {
		require.NoError(s.t, s.answers[id].Err)
		require.Equal(s.t, id, s.answers[id].Reservation.ID)
	}
}

func (s *scene) requireError(err error, ids ...uuid.UUID) {
	s.t.Helper()
	for _, id := range ids {
		require.ErrorIs(s.t, s.answers[id].Err, err)
	}
}

var generous = boxoffice.Limits{Windows: 2, Batch: 3, Line: 100, Wait: time.Hour}

// The first one goes at once, and those who come meanwhile go together, in their order, as many as may.
func TestBatchesGrowWithTheCrowd(t *testing.T) {
	t.Parallel()
	play(t, generous, func(s *scene) {
		hot := uuid.New()
		first := s.crowd(1, hot)
		s.requireBatch(first...)
		crowd := s.crowd(5, hot)
		require.Len(s.t, s.batches, 1, "a line is served by one window")
		s.ends(nil)
		s.requireHeld(first...)
		s.requireBatch(crowd[:3]...)
		require.Len(s.t, s.answers, 1, "nobody is answered before the commit")
		s.ends(nil)
		s.requireHeld(crowd[:3]...)
		s.requireBatch(crowd[3:]...)
		s.ends(nil)
		s.requireHeld(crowd[3:]...)
		require.Len(s.t, s.batches, 3)

		last := s.crowd(1, hot) // nobody waits any more: at once again
		s.requireBatch(last...)
		s.ends(nil)
		s.requireHeld(last...)
	})
}

// Each gets an answer of its own.
func TestRefusalsAreTheirOwn(t *testing.T) {
	t.Parallel()
	play(t, generous, func(s *scene) {
		hot := uuid.New()
		s.crowd(1, hot)
		held, refused, alsoHeld := s.come(s.t.Context(), 1, hot), s.come(s.t.Context(), 13, hot), s.come(s.t.Context(), 1, hot)
		s.ends(nil)
		s.requireBatch(held, refused, alsoHeld)
		s.ends(nil)
		s.requireHeld(held, alsoHeld)
		s.requireError(ticket.ErrInsufficientInventory, refused)
	})
}

// Lines do not wait for each other while a window is free. While none is, short ones share the next batch, and long ones take
// turns.
func TestWindows(t *testing.T) {
	t.Parallel()
	play(t, generous, func(s *scene) {
		hot, warm, cold, both := uuid.New(), uuid.New(), uuid.New(), uuid.New()
		s.crowd(1, hot)
		other := s.crowd(1, warm)
		s.requireBatch(other...)
		require.Len(s.t, s.batches, 2)

		hots, colds, warms := s.crowd(4, hot), s.crowd(1, cold), s.crowd(1, warm)
		pair := s.come(s.t.Context(), 1, hot, both)
		require.Len(s.t, s.batches, 2)
		s.ends(nil) // the hot line's batch, which is the older one: its window serves others before it is the hot line's turn again
		s.requireBatch(colds[0], pair)
		s.ends(nil)
		s.ends(nil)
		s.ends(nil)
		s.ends(nil)
		s.ends(nil)
		s.requireHeld(slices.Concat(hots, colds, warms, []uuid.UUID{pair})...)
	})
}

// Types in another order are the same types.
func TestSameTypesAreOneLine(t *testing.T) {
	t.Parallel()
	play(t, generous, func(s *scene) {
		x, y := uuid.New(), uuid.New()
		s.come(s.t.Context(), 1, x, y)
		second := s.come(s.t.Context(), 1, y, x)
		require.Len(s.t, s.batches, 1)
		s.ends(nil)
		s.requireBatch(second)
		s.ends(nil)
	})
}

// Whoever cannot be served in time hears so at once.
func TestBusy(t *testing.T) {
	t.Parallel()
	busy := func(s *scene, id uuid.UUID) *problem.Error {
		s.t.Helper()
		p, ok := errors.AsType[*problem.Error](s.answers[id].Err)
		require.True(s.t, ok)
		require.ErrorIs(s.t, p, boxoffice.ErrBusy)
		require.Equal(s.t, problem.Throttled, p.Kind)
		return p
	}
	t.Run("LineFull", func(t *testing.T) {
		t.Parallel()
		play(t, boxoffice.Limits{Windows: 1, Batch: 3, Line: 4, Wait: time.Hour}, func(s *scene) {
			hot := uuid.New()
			crowd := s.crowd(5, hot) // one is being served
			late := s.crowd(1, hot)[0]
			require.Equal(s.t, time.Second, busy(s, late).RetryAfter)
			elsewhere := s.crowd(1, uuid.New()) // another line
			s.ends(nil)
			s.requireBatch(elsewhere...)
			s.ends(nil)
			s.requireBatch(crowd[1:4]...)
			again := s.crowd(1, hot)
			s.ends(nil)
			s.ends(nil)
			s.requireHeld(slices.Concat(crowd, elsewhere, again)...)
		})
	})
	t.Run("LineTooSlow", func(t *testing.T) {
		t.Parallel()
		play(t, boxoffice.Limits{Windows: 1, Batch: 2, Line: 100, Wait: time.Second}, func(s *scene) {
			hot := uuid.New()
			crowd := s.crowd(3, hot)
			time.Sleep(400 * time.Millisecond)
			s.ends(nil)               // the next two are under way now, as long as the first one was
			more := s.crowd(2+1, hot) // two would go after 400 ms, one more after 800 ms
			late := s.crowd(2, hot)
			s.requireHeld(crowd[0])
			require.NotContains(s.t, s.answers, more[2])
			require.NotContains(s.t, s.answers, late[0], "the second in its batch")
			require.Equal(s.t, 1200*time.Millisecond, busy(s, late[1]).RetryAfter)
			for range 3 {
				s.ends(nil)
			}
			s.requireHeld(slices.Concat(crowd, more, late[:1])...)
		})
	})
	t.Run("TooManyLines", func(t *testing.T) {
		t.Parallel()
		play(t, boxoffice.Limits{Windows: 1, Batch: 1, Line: 100, Wait: time.Second}, func(s *scene) {
			first := s.crowd(1, uuid.New())
			time.Sleep(700 * time.Millisecond)
			second := s.crowd(1, uuid.New())
			time.Sleep(time.Second)
			third := s.crowd(1, uuid.New())
			time.Sleep(time.Millisecond)
			late := s.crowd(1, uuid.New())[0]
			require.Equal(s.t, 1001*time.Millisecond, busy(s, late).RetryAfter)
			s.ends(nil)
			soon := s.crowd(1, uuid.New())
			for range 3 {
				s.ends(nil)
			}
			s.requireHeld(slices.Concat(first, second, third, soon)...)
		})
	})
	t.Run("BatchHangs", func(t *testing.T) {
		t.Parallel()
		play(t, boxoffice.Limits{Windows: 1, Batch: 2, Line: 100, Wait: time.Second}, func(s *scene) {
			hot := uuid.New()
			first := s.crowd(1+1, hot)
			time.Sleep(time.Second + time.Millisecond)
			next := s.crowd(1, hot) // who will share the next batch is no crowd, however slow this one is
			late := s.crowd(1, hot)[0]
			require.Equal(s.t, 2*(time.Second+time.Millisecond), busy(s, late).RetryAfter)
			s.ends(nil)
			s.ends(nil)
			s.requireHeld(slices.Concat(first, next)...)
			soon := s.crowd(1, hot) // and so is who finds nobody there
			s.ends(nil)
			s.requireHeld(soon...)
		})
	})
}

// Who leaves the line is not served, and does not keep others from it. Who leaves while the batch is under way misses the
// answer only.
func TestCallersWhoGoAway(t *testing.T) {
	t.Parallel()
	play(t, boxoffice.Limits{Windows: 1, Batch: 10, Line: 2, Wait: time.Hour}, func(s *scene) {
		hot := uuid.New()
		ctx, leave := context.WithCancel(s.t.Context())
		served := s.come(ctx, 1, hot)
		waiting, stays := s.come(ctx, 1, hot), s.come(s.t.Context(), 1, hot)
		s.requireError(boxoffice.ErrBusy, s.crowd(1, hot)...)
		leave()
		synctest.Wait()
		s.requireError(context.Canceled, served, waiting)
		next := s.crowd(1, hot)
		s.ends(nil)
		s.requireBatch(stays, next[0])
		s.ends(nil)
		s.requireHeld(stays, next[0])
	})
	t.Run("All", func(t *testing.T) {
		t.Parallel()
		play(t, boxoffice.Limits{Windows: 1, Batch: 10, Line: 2, Wait: time.Hour}, func(s *scene) {
			ctx, leave := context.WithCancel(s.t.Context())
			s.crowd(1, uuid.New())
			abandoned := uuid.New()
			s.come(ctx, 1, abandoned)
			leave()
			synctest.Wait()
			s.ends(nil)
			require.Len(s.t, s.batches, 1)
			back := s.crowd(1, abandoned)
			s.ends(nil)
			s.requireHeld(back...)
		})
	})
}

// When a batch fails each is repeated alone, and fails for its own reasons only.
func TestBatchTakenApart(t *testing.T) {
	t.Parallel()
	errDeadlock, errPoison := errors.New("connection lost"), errors.New("value out of range")
	play(t, generous, func(s *scene) {
		hot := uuid.New()
		s.crowd(1, hot)
		crowd := s.crowd(3, hot)
		s.ends(nil)
		s.ends(errDeadlock)
		s.requireBatch(crowd[0])
		after := s.crowd(1, hot) // waits until all of the batch have their answers
		s.ends(nil)
		s.requireHeld(crowd[0])
		s.requireBatch(crowd[1])
		s.ends(errPoison)
		s.requireError(errPoison, crowd[1])
		s.requireBatch(crowd[2])
		s.ends(nil)
		s.requireHeld(crowd[2])
		s.requireBatch(after...)
		s.ends(nil)
		s.requireHeld(after...)
	})
	t.Run("Panic", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			office := boxoffice.New(func(context.Context, []ticket.Request) ([]ticket.Result, error) { panic("a bug") }, generous)
			_, err := office.Reserve(t.Context(), ticket.Request{})
			require.ErrorContains(t, err, "a bug")
		})
	})
	// A database that does not answer at all keeps nobody for ever.
	t.Run("Hangs", func(t *testing.T) {
		t.Parallel()
		play(t, generous, func(s *scene) {
			first := s.crowd(1, uuid.New())
			time.Sleep(time.Minute)
			synctest.Wait()
			s.requireError(context.DeadlineExceeded, first...)
		})
	})
}

// Tickets are issued by a few at a time, whoever comes first. Who goes away meanwhile is not waited for.
func TestIssue(t *testing.T) {
	t.Parallel()
	play(t, generous, func(s *scene) {
		done := make(chan struct{})
		var begun []int
		come := func(ctx context.Context, n int) <-chan error {
			issued := make(chan error, 1)
			go func() {
				issued <- s.office.Issue(ctx, func(context.Context) error {
					begun = append(begun, n)
					<-done
					return nil
				})
			}()
			synctest.Wait()
			return issued
		}
		ctx, leave := context.WithCancel(s.t.Context())
		first, second, away, last := come(s.t.Context(), 1), come(s.t.Context(), 2), come(ctx, 3), come(s.t.Context(), 4)
		require.Equal(s.t, []int{1, 2}, begun)
		leave()
		require.ErrorIs(s.t, <-away, context.Canceled)
		held := s.crowd(1, uuid.New()) // whom nobody has to make room for
		s.ends(nil)
		s.requireHeld(held...)
		done <- struct{}{}
		synctest.Wait()
		require.Equal(s.t, []int{1, 2, 4}, begun)
		close(done)
		for _, issued := range []<-chan error{first, second, last} {
			require.NoError(s.t, <-issued)
		}
	})
}
