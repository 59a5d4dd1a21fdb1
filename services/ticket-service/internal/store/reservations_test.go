package store_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

func TestReserveIsIdempotent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	vip, seat := b.newType(t, 5), b.newType(t, 10)
	id := uuid.New()
	r, err := b.reserve(t.Context(), id, item(vip, 1), item(seat, 2))
	require.NoError(t, err)
	require.Equal(t, id, r.ID)
	require.Equal(t, ticket.ReservationActive, r.Status)
	require.WithinDuration(t, time.Now().Add(ticket.HoldTime), r.ExpiresAt, time.Minute)
	require.ElementsMatch(t, []ticket.LineItem{
		{TypeID: vip, TypeName: vip.String(), Quantity: 1, UnitPrice: money.Of(50_00, "USD")},
		{TypeID: seat, TypeName: seat.String(), Quantity: 2, UnitPrice: money.Of(50_00, "USD")},
	}, r.Items)
	b.requireInventory(t, vip, 0, 1)
	b.requireInventory(t, seat, 0, 2)

	t.Run("Repeated", func(t *testing.T) {
		again, err := b.reserve(t.Context(), id, item(seat, 2), item(vip, 1))
		require.NoError(t, err)
		require.Equal(t, r, again)
		b.requireInventory(t, seat, 0, 2)
	})
	t.Run("PriceChanged", func(t *testing.T) {
		_, err := b.pool.Exec(t.Context(), `UPDATE ticket_types SET price_minor = 9900`)
		require.NoError(t, err)
		again, err := b.reserve(t.Context(), id, item(seat, 2), item(vip, 1))
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
	for _, tt := range []struct {
		name        string
		user, event uuid.UUID
		items       []ticket.LineItem
	}{
		{"OtherItems", b.user, b.event, []ticket.LineItem{item(seat, 2)}},
		{"OtherQuantity", b.user, b.event, []ticket.LineItem{item(vip, 2), item(seat, 2)}},
		{"OtherUser", uuid.New(), b.event, []ticket.LineItem{item(vip, 1), item(seat, 2)}},
		{"OtherEvent", b.user, uuid.New(), []ticket.LineItem{item(vip, 1), item(seat, 2)}},
	} {
		t.Run("SameIDFor"+tt.name, func(t *testing.T) {
			_, err := b.reserveOne(t.Context(), ticket.Request{
				ReservationID: id, UserID: tt.user, EventID: tt.event, Items: tt.items,
			})
			require.ErrorIs(t, err, ticket.ErrReservationReused)
			b.requireInventory(t, vip, 0, 1)
			b.requireInventory(t, seat, 0, 2)
		})
	}
}

// A refused request holds no tickets of any type, and creates no reservation.
func TestRefusedReserveHoldsNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	scarce, plenty := b.newType(t, 1), b.newType(t, 100)
	other := &bundle{store: b.store, pool: b.pool, event: uuid.New(), user: b.user}
	require.NoError(t, other.publish(t.Context()))
	elsewhere := other.newType(t, 100)
	draft := uuid.New()
	require.NoError(t, b.store.SaveFetchedEvent(t.Context(), ticket.Event{ID: draft, Status: ticket.EventDraft}))

	for _, tt := range []struct {
		name  string
		event uuid.UUID
		items []ticket.LineItem
		err   error
	}{
		{"SecondItem", b.event, []ticket.LineItem{item(plenty, 2), item(scarce, 2)}, ticket.ErrInsufficientInventory},
		{"FirstItem", b.event, []ticket.LineItem{item(scarce, 2), item(plenty, 2)}, ticket.ErrInsufficientInventory},
		{"UnknownType", b.event, []ticket.LineItem{item(plenty, 2), item(uuid.New(), 1)}, ticket.ErrTypeNotFound},
		{"TypeOfAnotherEvent", b.event, []ticket.LineItem{item(plenty, 2), item(elsewhere, 1)}, ticket.ErrTypeNotFound},
		{"DraftEvent", draft, []ticket.LineItem{item(plenty, 1)}, ticket.ErrEventNotOnSale},
		{"UnknownEvent", uuid.New(), []ticket.LineItem{item(plenty, 1)}, ticket.ErrEventNotOnSale},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := uuid.New()
			_, err := b.reserveOne(t.Context(), ticket.Request{
				ReservationID: id, UserID: b.user, EventID: tt.event, Items: tt.items,
			})
			require.ErrorIs(t, err, tt.err)
			_, err = b.store.Confirm(t.Context(), b.purchase(id))
			require.ErrorIs(t, err, ticket.ErrReservationNotFound)
		})
	}
	var taken int
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT sum(held + sold) FROM ticket_types`).Scan(&taken))
	require.Zero(t, taken)
}

func TestConcurrentReservesShareTheLastTickets(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const left = 10
	last := b.newType(t, 100)
	for range 90 {
		_, err := b.store.Confirm(t.Context(), b.purchase(b.reserved(t, item(last, 1))))
		require.NoError(t, err)
	}
	won := 0
	for _, err := range race(64, func(int) error {
		_, err := b.reserve(t.Context(), uuid.New(), item(last, 1))
		return err
	}) {
		if err == nil {
			won++
			continue
		}
		require.ErrorIs(t, err, ticket.ErrInsufficientInventory)
	}
	require.Equal(t, left, won)
	b.requireInventory(t, last, 90, left)
}

func TestConstraintsPreventOverselling(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 10)
	for _, wrong := range []string{"sold = 11", "held = 11", "sold = 6, held = 5", "held = -1", "sold = -1"} {
		_, err := b.pool.Exec(t.Context(), `UPDATE ticket_types SET `+wrong+` WHERE id = $1`, kind)
		require.Error(t, err, wrong)
	}
}

// Concurrent reserves of two types in opposite orders, releases and sweeps all succeed.
func TestConcurrentReservesInOppositeOrderAllSucceed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	x, y := b.newType(t, 1000), b.newType(t, 1000)
	var releasing, due []uuid.UUID
	for range connections {
		releasing = append(releasing, b.reserved(t, item(x, 1), item(y, 1)))
		due = append(due, b.reserved(t, item(y, 1), item(x, 1)))
	}
	b.makeDue(t, due...)
	const workers = 64
	requireAll(t, race(workers, func(i int) error {
		items := []ticket.LineItem{item(x, 1), item(y, 2)}
		if i%2 == 0 {
			items = []ticket.LineItem{item(y, 2), item(x, 1)}
		}
		if _, err := b.reserve(t.Context(), uuid.New(), items...); err != nil {
			return err
		}
		if i < connections {
			// A sweep may be ending the second one at the same time.
			for _, id := range []uuid.UUID{releasing[i], due[i]} {
				if _, err := b.store.Release(t.Context(), id, "PAYMENT_FAILED"); err != nil {
					return err
				}
			}
		}
		_, err := b.store.ExpireDue(t.Context(), 3)
		return err
	}))
	b.requireInventory(t, x, 0, workers)
	b.requireInventory(t, y, 0, 2*workers)
}

func TestConcurrentRepetitionsReserveOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind, id := b.newType(t, 10), uuid.New()
	requireAll(t, race(connections, func(int) error {
		_, err := b.reserve(t.Context(), id, item(kind, 3))
		return err
	}))
	b.requireInventory(t, kind, 0, 3)
}

func TestReleaseIsIdempotent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	vip, seat := b.newType(t, 5), b.newType(t, 5)

	t.Run("Live", func(t *testing.T) {
		id := b.reserved(t, item(vip, 1), item(seat, 2))
		for range 3 {
			released, err := b.store.Release(t.Context(), id, "PAYMENT_FAILED")
			require.NoError(t, err)
			require.Equal(t, 3, released)
		}
		b.requireStatus(t, id, ticket.ReservationCancelled)
	})
	t.Run("Expired", func(t *testing.T) {
		id := b.reserved(t, item(vip, 1), item(seat, 2))
		b.expire(t, id)
		for range 2 {
			released, err := b.store.Release(t.Context(), id, "PAYMENT_FAILED")
			require.NoError(t, err)
			require.Equal(t, 3, released)
		}
		b.requireStatus(t, id, ticket.ReservationExpired)
	})
	t.Run("BeforeReserve", func(t *testing.T) {
		id := uuid.New()
		for range 2 {
			released, err := b.store.Release(t.Context(), id, "PAYMENT_FAILED")
			require.NoError(t, err)
			require.Zero(t, released)
		}
		for range 2 {
			_, err := b.reserve(t.Context(), id, item(vip, 1))
			require.ErrorIs(t, err, ticket.ErrReservationEnded)
		}
		_, err := b.store.Confirm(t.Context(), b.purchase(id))
		require.ErrorIs(t, err, ticket.ErrReservationNotFound)
		b.requireStatus(t, id, ticket.ReservationCancelled)
	})
	t.Run("ReserveAfterRelease", func(t *testing.T) {
		id := b.reserved(t, item(vip, 1))
		_, err := b.store.Release(t.Context(), id, "PAYMENT_FAILED")
		require.NoError(t, err)
		_, err = b.reserve(t.Context(), id, item(vip, 1))
		require.ErrorIs(t, err, ticket.ErrReservationEnded)
	})
	b.requireInventory(t, vip, 0, 0)
	b.requireInventory(t, seat, 0, 0)
	t.Run("AfterConfirm", func(t *testing.T) {
		id := b.reserved(t, item(vip, 2))
		_, err := b.store.Confirm(t.Context(), b.purchase(id))
		require.NoError(t, err)
		for range 2 {
			_, err := b.store.Release(t.Context(), id, "PAYMENT_FAILED")
			require.ErrorIs(t, err, ticket.ErrReservationCompleted)
		}
		b.requireStatus(t, id, ticket.ReservationCompleted)
		b.requireInventory(t, vip, 2, 0)
	})
}

// In whatever order a reserve and its release run, no ticket remains held.
func TestConcurrentReserveAndReleaseHoldNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 100)
	ids := make([]uuid.UUID, 32)
	for i := range ids {
		ids[i] = uuid.New()
	}
	requireAll(t, race(2*len(ids), func(i int) error {
		id := ids[i/2]
		if i%2 == 0 {
			_, err := b.store.Release(t.Context(), id, "PAYMENT_FAILED")
			return err
		}
		if _, err := b.reserve(t.Context(), id, item(kind, 1)); !errors.Is(err, ticket.ErrReservationEnded) {
			return err
		}
		return nil
	}))
	b.requireInventory(t, kind, 0, 0)
}

func TestReleaseUnpaidSparesCompletedReservations(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 5)
	failed := func(id uuid.UUID) events.PaymentFailed {
		return events.PaymentFailed{ReservationID: id, FailureReason: "INSUFFICIENT_FUNDS"}
	}
	t.Run("OncePerMessage", func(t *testing.T) {
		id, message := b.reserved(t, item(kind, 2)), uuid.New()
		requireAll(t, race(8, func(int) error { return b.store.ReleaseUnpaid(t.Context(), message, failed(id)) }))
		b.requireStatus(t, id, ticket.ReservationCancelled)
		b.requireInventory(t, kind, 0, 0)
		// A message id that was processed has no second effect, whatever the message contains.
		live := b.reserved(t, item(kind, 1))
		require.NoError(t, b.store.ReleaseUnpaid(t.Context(), message, failed(live)))
		b.requireInventory(t, kind, 0, 1)
		require.NoError(t, b.store.ReleaseUnpaid(t.Context(), uuid.New(), failed(live)))
	})
	t.Run("BeforeReserve", func(t *testing.T) {
		id := uuid.New()
		require.NoError(t, b.store.ReleaseUnpaid(t.Context(), uuid.New(), failed(id)))
		_, err := b.reserve(t.Context(), id, item(kind, 1))
		require.ErrorIs(t, err, ticket.ErrReservationEnded)
	})
	t.Run("AfterConfirm", func(t *testing.T) {
		id := b.reserved(t, item(kind, 2))
		_, err := b.store.Confirm(t.Context(), b.purchase(id))
		require.NoError(t, err)
		require.NoError(t, b.store.ReleaseUnpaid(t.Context(), uuid.New(), failed(id)))
		b.requireStatus(t, id, ticket.ReservationCompleted)
		b.requireInventory(t, kind, 2, 0)
	})
}

func TestExpireReturnsTicketsToInventory(t *testing.T) {
	t.Parallel()
	b := setup(t)
	vip, seat := b.newType(t, 5), b.newType(t, 5)
	live := b.reserved(t, item(seat, 1))
	overdue := []uuid.UUID{b.reserved(t, item(vip, 1), item(seat, 1)), b.reserved(t, item(seat, 2))}
	b.makeDue(t, overdue...)

	n, err := b.store.ExpireDue(t.Context(), 1) // a batch of one
	require.NoError(t, err)
	require.Equal(t, 1, n)
	n, err = b.store.ExpireAllDue(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n)
	n, err = b.store.ExpireAllDue(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)

	b.requireStatus(t, live, ticket.ReservationActive)
	for _, id := range overdue {
		b.requireStatus(t, id, ticket.ReservationExpired)
	}
	b.requireInventory(t, vip, 0, 0)
	b.requireInventory(t, seat, 0, 1)

	_, err = b.reserve(t.Context(), overdue[1], item(seat, 2))
	require.ErrorIs(t, err, ticket.ErrReservationEnded)
}

func TestConcurrentSweepsEndReservationsOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 100)
	overdue := make([]uuid.UUID, 60)
	for i := range overdue {
		overdue[i] = b.reserved(t, item(kind, 1))
	}
	live := b.reserved(t, item(kind, 1))
	b.makeDue(t, overdue...)
	ended := make([]int, 4)
	requireAll(t, race(len(ended), func(i int) error {
		for {
			n, err := b.store.ExpireDue(t.Context(), 5)
			ended[i] += n
			if err != nil || n == 0 {
				return err
			}
		}
	}))
	require.Equal(t, len(overdue), ended[0]+ended[1]+ended[2]+ended[3])
	b.requireStatus(t, live, ticket.ReservationActive)
	b.requireInventory(t, kind, 0, 1)
}

// Thousands of reservations expire at once. Several replicas sweep while buyers reserve the tickets, naming the types
// in different orders.
func TestSweepsEndThousandsOfReservations(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const overdue, buyers, replicas = 3000, 24, 3
	x, y := b.newType(t, 2*overdue), b.newType(t, overdue)
	_, err := b.pool.Exec(t.Context(), `
		WITH held AS (INSERT INTO reservations (id, user_id, event_id, status, expires_at)
			SELECT gen_random_uuid(), $3, $4, 'ACTIVE', now() - interval '1 second' * i FROM generate_series(1, $5) i
			RETURNING id),
		lines AS (INSERT INTO reservation_lines
			SELECT id, $1::uuid, 2, 5000, 'USD' FROM held UNION ALL SELECT id, $2::uuid, 1, 5000, 'USD' FROM held)
		UPDATE ticket_types SET held = capacity WHERE id IN ($1, $2)`, x, y, b.user, b.event, overdue)
	require.NoError(t, err)
	b.requireInventory(t, x, 0, 2*overdue)

	requireAll(t, race(replicas+buyers, func(i int) error {
		if i < replicas {
			_, err := b.store.ExpireAllDue(t.Context())
			return err
		}
		items := []ticket.LineItem{item(x, 1), item(y, 1)}
		if i%2 == 0 {
			slices.Reverse(items)
		}
		// Refusals are possible: concurrent sweeps may not have returned the tickets yet.
		_, err := b.reserve(t.Context(), uuid.New(), items...)
		if errors.Is(err, ticket.ErrInsufficientInventory) {
			return nil
		}
		return err
	}))
	_, err = b.store.ExpireAllDue(t.Context())
	require.NoError(t, err)
	var left, taken int
	require.NoError(t, b.pool.QueryRow(t.Context(), `
		SELECT count(*) FILTER (WHERE expires_at <= now()), count(*) FILTER (WHERE expires_at > now())
		FROM reservations WHERE status = 'ACTIVE'`).Scan(&left, &taken))
	require.Zero(t, left)
	b.requireInventory(t, x, 0, taken)
	b.requireInventory(t, y, 0, taken)
}

func TestReserveTakesTicketsOfDueReservations(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 2)
	abandoned := b.reserved(t, item(kind, 2))
	_, err := b.reserve(t.Context(), uuid.New(), item(kind, 1))
	require.ErrorIs(t, err, ticket.ErrInsufficientInventory)

	b.makeDue(t, abandoned)
	b.reserved(t, item(kind, 1))
	b.requireStatus(t, abandoned, ticket.ReservationExpired)
	b.requireInventory(t, kind, 0, 1)
}

func TestExtendIsLimitedToLiveReservations(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 10)
	created := func(t *testing.T, id uuid.UUID) (at time.Time) {
		t.Helper()
		require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT created_at FROM reservations WHERE id = $1`, id).Scan(&at))
		return at
	}
	id := b.reserved(t, item(kind, 1))
	for _, tt := range []struct {
		name string
		hold time.Duration
		want time.Duration // after its creation
	}{
		{"Shorter", time.Minute, 15 * time.Minute},
		{"Longer", 20 * time.Minute, 20 * time.Minute},
		{"Repeated", 20 * time.Minute, 20 * time.Minute},
		{"Capped", ticket.MaxHoldTime, ticket.MaxHoldTime},
	} {
		t.Run(tt.name, func(t *testing.T) {
			expiresAt, err := b.store.Extend(t.Context(), id, tt.hold)
			require.NoError(t, err)
			require.WithinDuration(t, created(t, id).Add(tt.want), expiresAt, 30*time.Second)
			require.False(t, expiresAt.After(created(t, id).Add(ticket.MaxHoldTime)))
		})
	}
	t.Run("OldReservation", func(t *testing.T) {
		old := b.reserved(t, item(kind, 1))
		_, err := b.pool.Exec(t.Context(), `
			UPDATE reservations
			SET created_at = now() - interval '28 minutes', expires_at = now() + interval '1 second' WHERE id = $1`, old)
		require.NoError(t, err)
		expiresAt, err := b.store.Extend(t.Context(), old, 10*time.Minute)
		require.NoError(t, err)
		require.Equal(t, created(t, old).Add(ticket.MaxHoldTime), expiresAt)
	})
	for _, tt := range []struct {
		name string
		end  func(t *testing.T, id uuid.UUID)
	}{
		{"Expired", func(t *testing.T, id uuid.UUID) { t.Helper(); b.expire(t, id) }},
		{"Released", func(t *testing.T, id uuid.UUID) {
			t.Helper()
			_, err := b.store.Release(t.Context(), id, "TIMEOUT")
			require.NoError(t, err)
		}},
		{"Bought", func(t *testing.T, id uuid.UUID) {
			t.Helper()
			_, err := b.store.Confirm(t.Context(), b.purchase(id))
			require.NoError(t, err)
		}},
		{"Overdue", func(t *testing.T, id uuid.UUID) { t.Helper(); b.makeDue(t, id) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ended := b.reserved(t, item(kind, 1))
			tt.end(t, ended)
			_, err := b.store.Extend(t.Context(), ended, time.Minute)
			require.ErrorIs(t, err, ticket.ErrReservationNotFound)
		})
	}
	t.Run("Unknown", func(t *testing.T) {
		_, err := b.store.Extend(t.Context(), uuid.New(), time.Minute)
		require.ErrorIs(t, err, ticket.ErrReservationNotFound)
	})
	t.Run("Tombstone", func(t *testing.T) {
		late := uuid.New()
		_, err := b.store.Release(t.Context(), late, "TIMEOUT")
		require.NoError(t, err)
		_, err = b.store.Extend(t.Context(), late, time.Minute)
		require.ErrorIs(t, err, ticket.ErrReservationNotFound)
	})
}

// A reservation is either extended or ended by the sweep.
func TestReservationIsEitherExtendedOrEndedBySweep(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 100)
	ids := make([]uuid.UUID, 20)
	for i := range ids {
		ids[i] = b.reserved(t, item(kind, 1))
	}
	_, err := b.pool.Exec(t.Context(), `
		UPDATE reservations SET expires_at = clock_timestamp() + random() * interval '20 milliseconds'`)
	require.NoError(t, err)
	extended := make([]bool, len(ids))
	requireAll(t, race(2*len(ids), func(i int) error {
		if i%2 == 0 {
			_, err := b.store.ExpireDue(t.Context(), 5)
			return err
		}
		_, err := b.store.Extend(t.Context(), ids[i/2], 10*time.Minute)
		extended[i/2] = err == nil
		if errors.Is(err, ticket.ErrReservationNotFound) {
			return nil
		}
		return err
	}))
	require.Eventually(t, func() bool { // ends those that became due after the sweeps of the race
		var due int
		_, err := b.store.ExpireAllDue(t.Context())
		require.NoError(t, err)
		require.NoError(t, b.pool.QueryRow(t.Context(), `
			SELECT count(*) FROM reservations WHERE status = 'ACTIVE' AND expires_at < now() + interval '1 minute'`).Scan(&due))
		return due == 0
	}, 5*time.Second, 5*time.Millisecond)
	held := 0
	for i, id := range ids {
		if extended[i] {
			held++
			b.requireStatus(t, id, ticket.ReservationActive)
		} else {
			b.requireStatus(t, id, ticket.ReservationExpired)
		}
	}
	b.requireInventory(t, kind, 0, held)
}
