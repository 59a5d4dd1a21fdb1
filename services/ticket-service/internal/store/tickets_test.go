package store_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

func (b *bundle) cancelRefunded(t *testing.T, order uuid.UUID, ticketIDs ...uuid.UUID) ([]ticket.Ticket, error) {
	t.Helper()
	return b.store.CancelRefunded(t.Context(), ticket.Refund{
		OrderID: order, TicketIDs: ticketIDs, Key: "refund-1", Reason: "Rain",
	})
}

func (b *bundle) requireTicket(t *testing.T, id uuid.UUID, status ticket.Status) {
	t.Helper()
	k, err := b.store.Ticket(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, status, k.Status)
}

func TestCheckInUsesTicketOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 5)
	k := b.bought(t, kind, 1)[0]
	used, err := b.store.CheckIn(t.Context(), k.ID, 1, "North")
	require.NoError(t, err)
	require.Equal(t, ticket.Used, used.Status)
	require.Equal(t, "North", used.Gate)
	require.WithinDuration(t, time.Now(), used.CheckedInAt, time.Minute)
	stored, err := b.store.Ticket(t.Context(), k.ID)
	require.NoError(t, err)
	require.Equal(t, used, stored)

	again, err := b.store.CheckIn(t.Context(), k.ID, 1, "South")
	require.ErrorIs(t, err, ticket.ErrAlreadyCheckedIn)
	require.Equal(t, used, again) // has the time and the gate

	out := b.published(t, "TICKET_CHECKED_IN")
	require.Len(t, out, 1)
	require.Equal(t, k.ID, out[0].Data.Payload.TicketID)
	require.Equal(t, k.OrderID, out[0].Data.Payload.OrderID)
	require.Equal(t, "North", out[0].Data.Payload.Gate)
	require.True(t, used.CheckedInAt.Equal(out[0].Data.Payload.CheckedInAt))

	_, err = b.store.CheckIn(t.Context(), uuid.New(), 1, "")
	require.ErrorIs(t, err, ticket.ErrTicketNotFound)
	// A used ticket cannot be transferred or cancelled.
	_, err = b.store.Transfer(t.Context(), k.ID, b.user, uuid.New(), "Bob")
	require.ErrorIs(t, err, ticket.ErrNotActive)
	_, err = b.store.Cancel(t.Context(), k.ID, b.user, "")
	require.ErrorIs(t, err, ticket.ErrNotActive)
	b.requireInventory(t, kind, 1, 0)
}

func TestConcurrentScansAdmitOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	k := b.bought(t, b.newType(t, 5), 1)[0]
	seen := make([]ticket.Ticket, connections)
	admitted := 0
	for _, err := range race(connections, func(i int) (err error) {
		seen[i], err = b.store.CheckIn(t.Context(), k.ID, 1, string(rune('A'+i)))
		return err
	}) {
		if err == nil {
			admitted++
			continue
		}
		require.ErrorIs(t, err, ticket.ErrAlreadyCheckedIn)
	}
	require.Equal(t, 1, admitted)
	for _, same := range seen {
		require.Equal(t, seen[0].Gate, same.Gate)
		require.True(t, seen[0].CheckedInAt.Equal(same.CheckedInAt))
	}
	require.Len(t, b.published(t, "TICKET_CHECKED_IN"), 1)
}

func TestCheckInOutsideItsWindowIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	k := b.bought(t, b.newType(t, 5), 1)[0]
	checkIn := func(times string) error {
		_, err := b.pool.Exec(t.Context(), `UPDATE events SET `+times)
		require.NoError(t, err)
		_, err = b.store.CheckIn(t.Context(), k.ID, 1, "North")
		return err
	}
	require.ErrorIs(t, checkIn(`event_date = now() + interval '7 hours'`), ticket.ErrCheckInNotOpen)
	require.ErrorIs(t, checkIn(`event_date = now() - interval '25 hours'`), ticket.ErrCheckInClosed)
	require.ErrorIs(t, checkIn(`end_date = now() - interval '7 hours'`), ticket.ErrCheckInClosed)
	b.requireTicket(t, k.ID, ticket.Active)
	require.Empty(t, b.published(t, "TICKET_CHECKED_IN"))
	require.NoError(t, checkIn(`end_date = now() - interval '5 hours'`))
	b.requireTicket(t, k.ID, ticket.Used)
}

func TestTransferInvalidatesFormerCode(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind, bob := b.newType(t, 5), uuid.New()
	k := b.bought(t, kind, 1)[0]
	_, err := b.store.Transfer(t.Context(), k.ID, bob, uuid.New(), "Bob")
	require.ErrorIs(t, err, ticket.ErrTicketNotFound) // Bob does not own it

	transferred, err := b.store.Transfer(t.Context(), k.ID, b.user, bob, "Bob")
	require.NoError(t, err)
	require.Equal(t, bob, transferred.OwnerID)
	require.Equal(t, "Bob", transferred.HolderName)
	require.Equal(t, 2, transferred.CodeVersion)
	stored, err := b.store.Ticket(t.Context(), k.ID)
	require.NoError(t, err)
	require.Equal(t, transferred, stored)

	// The former owner has neither the ticket nor a valid code.
	_, err = b.store.Transfer(t.Context(), k.ID, b.user, bob, "Bob")
	require.ErrorIs(t, err, ticket.ErrTicketNotFound)
	_, err = b.store.Cancel(t.Context(), k.ID, b.user, "")
	require.ErrorIs(t, err, ticket.ErrTicketNotFound)
	_, err = b.store.CheckIn(t.Context(), k.ID, 1, "")
	require.ErrorIs(t, err, ticket.ErrCodeSuperseded)

	// After a transfer back, the first code is still invalid.
	_, err = b.store.Transfer(t.Context(), k.ID, bob, b.user, "Ann O'Hara")
	require.NoError(t, err)
	_, err = b.store.CheckIn(t.Context(), k.ID, 1, "")
	require.ErrorIs(t, err, ticket.ErrCodeSuperseded)
	_, err = b.store.CheckIn(t.Context(), k.ID, 3, "")
	require.NoError(t, err)

	out := b.published(t, "TICKET_TRANSFERRED")
	require.Len(t, out, 2)
	require.Equal(t, b.user, out[0].Data.Payload.FromUserID)
	require.Equal(t, bob, out[0].Data.Payload.ToUserID)
	b.requireInventory(t, kind, 1, 0)
}

func TestCancelReturnsTicketToInventory(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 3)
	tickets := b.bought(t, kind, 3)
	_, err := b.store.Cancel(t.Context(), tickets[0].ID, uuid.New(), "Rain")
	require.ErrorIs(t, err, ticket.ErrTicketNotFound)
	_, err = b.store.Cancel(t.Context(), uuid.New(), b.user, "")
	require.ErrorIs(t, err, ticket.ErrTicketNotFound)

	cancelled, err := b.store.Cancel(t.Context(), tickets[0].ID, b.user, "Cannot come")
	require.NoError(t, err)
	require.Equal(t, ticket.Cancelled, cancelled.Status)
	b.requireTicket(t, cancelled.ID, ticket.Cancelled)
	b.requireInventory(t, kind, 2, 0)
	b.reserved(t, item(kind, 1)) // it is available again

	// CANCELLED is final, and the ticket returns to the inventory once.
	_, err = b.store.Cancel(t.Context(), cancelled.ID, b.user, "")
	require.ErrorIs(t, err, ticket.ErrNotActive)
	_, err = b.store.Transfer(t.Context(), cancelled.ID, b.user, uuid.New(), "Bob")
	require.ErrorIs(t, err, ticket.ErrNotActive)
	_, err = b.store.CheckIn(t.Context(), cancelled.ID, 1, "")
	require.ErrorIs(t, err, ticket.ErrNotActive)
	b.requireInventory(t, kind, 2, 1)

	out := b.published(t, "TICKET_CANCELLED")
	require.Len(t, out, 1)
	require.Equal(t, cancelled.ID, out[0].Data.Payload.TicketID)
	require.Equal(t, b.user, out[0].Data.Payload.UserID)
	require.Equal(t, "Cannot come", out[0].Data.Payload.Reason)
	require.Equal(t, "OWNER", out[0].Data.Payload.CancelledBy)

	t.Run("EventStarted", func(t *testing.T) {
		_, err := b.pool.Exec(t.Context(), `UPDATE events SET event_date = now()`)
		require.NoError(t, err)
		_, err = b.store.Cancel(t.Context(), tickets[1].ID, b.user, "")
		require.ErrorIs(t, err, ticket.ErrEventPassed)
		b.requireTicket(t, tickets[1].ID, ticket.Active)
	})
}

// A ticket is used, transferred or cancelled, but only one of these.
func TestConcurrentTransitionsOfTicketExcludeEachOther(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const n = 20
	kind := b.newType(t, n)
	tickets := b.bought(t, kind, n)
	transitions := []func(k ticket.Ticket) error{
		func(k ticket.Ticket) error { _, err := b.store.CheckIn(t.Context(), k.ID, 1, ""); return err },
		func(k ticket.Ticket) error {
			_, err := b.store.Transfer(t.Context(), k.ID, b.user, uuid.New(), "Bob")
			return err
		},
		func(k ticket.Ticket) error { _, err := b.store.Cancel(t.Context(), k.ID, b.user, ""); return err },
	}
	attempts := 2 * len(transitions) // per ticket
	errs := race(n*attempts, func(i int) error { return transitions[i%len(transitions)](tickets[i/attempts]) })
	cancelled := 0
	for i, k := range tickets {
		won := []int{}
		for j, err := range errs[i*attempts : (i+1)*attempts] {
			if err == nil {
				won = append(won, j%len(transitions))
				continue
			}
			require.NotEqual(t, problem.Internal, problem.KindOf(err), "%v", err)
		}
		require.Len(t, won, 1)
		status := []ticket.Status{ticket.Used, ticket.Active, ticket.Cancelled}[won[0]]
		b.requireTicket(t, k.ID, status)
		if status == ticket.Cancelled {
			cancelled++
		}
	}
	b.requireInventory(t, kind, n-cancelled, 0)
	require.Len(t, b.outbox(t), n+1) // the purchase, and one event per ticket
}

func TestCancelRefundedIsIdempotent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	vip, seat := b.newType(t, 10), b.newType(t, 10)
	buy := func(t *testing.T) []ticket.Ticket {
		t.Helper()
		tickets, err := b.store.Confirm(t.Context(), b.purchase(b.reserved(t, item(vip, 1), item(seat, 2))))
		require.NoError(t, err)
		return tickets
	}
	ids := func(tickets []ticket.Ticket) []uuid.UUID {
		all := make([]uuid.UUID, len(tickets))
		for i, k := range tickets {
			all[i] = k.ID
		}
		return all
	}

	t.Run("Whole", func(t *testing.T) {
		tickets := buy(t)
		for range 3 { // one effect, the same result
			refunded, err := b.cancelRefunded(t, tickets[0].OrderID)
			require.NoError(t, err)
			require.ElementsMatch(t, ids(tickets), ids(refunded))
		}
		b.requireInventory(t, vip, 0, 0)
		b.requireInventory(t, seat, 0, 0)
		out := b.published(t, "TICKET_CANCELLED")
		require.Len(t, out, 3)
		for _, m := range out {
			require.Equal(t, "REFUND", m.Data.Payload.CancelledBy)
			require.Equal(t, "Rain", m.Data.Payload.Reason)
			require.Equal(t, b.user, m.Data.Payload.UserID)
		}
	})
	t.Run("PartThenRest", func(t *testing.T) {
		tickets := buy(t)
		part := []uuid.UUID{tickets[0].ID, tickets[2].ID}
		refunded, err := b.cancelRefunded(t, tickets[0].OrderID, part...)
		require.NoError(t, err)
		require.ElementsMatch(t, part, ids(refunded))
		b.requireTicket(t, tickets[1].ID, ticket.Active)
		_, err = b.cancelRefunded(t, tickets[0].OrderID)
		require.NoError(t, err)
		// A late repetition of the first refund.
		refunded, err = b.cancelRefunded(t, tickets[0].OrderID, part...)
		require.NoError(t, err)
		require.ElementsMatch(t, part, ids(refunded))
		b.requireInventory(t, vip, 0, 0)
		b.requireInventory(t, seat, 0, 0)
	})
	t.Run("CancelledByOwnerAndSoldAgain", func(t *testing.T) {
		tickets := buy(t)
		for _, k := range tickets {
			_, err := b.store.Cancel(t.Context(), k.ID, b.user, "")
			require.NoError(t, err)
		}
		others := buy(t)
		before := len(b.published(t, "TICKET_CANCELLED"))
		_, err := b.cancelRefunded(t, tickets[0].OrderID)
		require.NoError(t, err)
		b.requireInventory(t, vip, 1, 0)
		b.requireInventory(t, seat, 2, 0)
		require.Len(t, b.published(t, "TICKET_CANCELLED"), before)
		_, err = b.cancelRefunded(t, others[0].OrderID)
		require.NoError(t, err)
	})
	t.Run("Transferred", func(t *testing.T) {
		tickets, bob := buy(t), uuid.New()
		_, err := b.store.Transfer(t.Context(), tickets[0].ID, b.user, bob, "Bob")
		require.NoError(t, err)
		_, err = b.cancelRefunded(t, tickets[0].OrderID)
		require.NoError(t, err)
		_, err = b.store.CheckIn(t.Context(), tickets[0].ID, 2, "")
		require.ErrorIs(t, err, ticket.ErrNotActive)
		out := b.published(t, "TICKET_CANCELLED")
		i := slices.IndexFunc(out, func(m message) bool { return m.Data.Payload.TicketID == tickets[0].ID })
		require.Equal(t, bob, out[i].Data.Payload.UserID)
	})
	t.Run("OneUsed", func(t *testing.T) {
		tickets := buy(t)
		_, err := b.store.CheckIn(t.Context(), tickets[1].ID, 1, "")
		require.NoError(t, err)
		_, err = b.cancelRefunded(t, tickets[0].OrderID)
		require.ErrorIs(t, err, ticket.ErrTicketUsed)
		_, err = b.cancelRefunded(t, tickets[0].OrderID, ids(tickets)...)
		require.ErrorIs(t, err, ticket.ErrTicketUsed)
		b.requireTicket(t, tickets[0].ID, ticket.Active) // none is cancelled
		_, err = b.cancelRefunded(t, tickets[0].OrderID, tickets[0].ID, tickets[2].ID)
		require.NoError(t, err)
		n, err := b.store.TicketCount(t.Context(), b.event)
		require.NoError(t, err)
		require.Equal(t, 1, n)
	})
	t.Run("OneOfAnotherOrder", func(t *testing.T) {
		tickets, others := buy(t), buy(t)
		for _, stranger := range []uuid.UUID{others[0].ID, uuid.New()} {
			_, err := b.cancelRefunded(t, tickets[0].OrderID, tickets[0].ID, stranger)
			require.ErrorIs(t, err, ticket.ErrTicketNotFound)
		}
		b.requireTicket(t, tickets[0].ID, ticket.Active)
		b.requireTicket(t, others[0].ID, ticket.Active)
	})
}

// A refund that arrives before PAYMENT_COMPLETED refuses the order its tickets.
func TestRefundBeforeTicketsRefusesOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 10)
	p := b.purchase(b.reserved(t, item(kind, 2)))
	_, err := b.cancelRefunded(t, p.OrderID, uuid.New())
	require.ErrorIs(t, err, ticket.ErrTicketNotFound) // a partial refund decides nothing
	for range 2 {
		refunded, err := b.cancelRefunded(t, p.OrderID)
		require.NoError(t, err)
		require.Empty(t, refunded)
	}
	_, err = b.store.Confirm(t.Context(), p)
	require.ErrorIs(t, err, ticket.ErrOrderRefused)
	require.NoError(t, b.fulfil(t.Context(), uuid.New(), p))
	out := b.outbox(t)
	require.Len(t, out, 1)
	require.Equal(t, "TICKET_GENERATION_FAILED", out[0].Type)
	require.Equal(t, "ORDER_REFUNDED", out[0].Data.Payload.Reason)
	b.expire(t, p.ReservationID)
	b.requireInventory(t, kind, 0, 0)
}

// In whatever order refunds and purchases of the same orders run, no refunded order has tickets, and each ticket
// returns to the inventory once.
func TestRefundedOrderNeverHasTickets(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const orders = 12
	kind := b.newType(t, orders)
	purchases := make([]ticket.Purchase, orders)
	for i := range purchases {
		purchases[i] = b.purchase(b.reserved(t, item(kind, 1)))
	}
	requireAll(t, race(4*orders, func(i int) error {
		p := purchases[i/4]
		switch i % 4 {
		case 0:
			return b.fulfil(t.Context(), uuid.New(), p)
		case 1:
			if _, err := b.store.Confirm(t.Context(), p); !errors.Is(err, ticket.ErrOrderRefused) {
				return err
			}
			return nil
		default:
			_, err := b.cancelRefunded(t, p.OrderID)
			return err
		}
	}))
	generated := map[uuid.UUID]bool{}
	for _, m := range b.outbox(t) {
		if m.Type == "TICKETS_GENERATED" {
			generated[m.Data.Payload.OrderID] = true
		}
	}
	for _, m := range b.published(t, "TICKET_GENERATION_FAILED") {
		require.False(t, generated[m.Data.Payload.OrderID])
	}
	require.Len(t, b.published(t, "TICKET_CANCELLED"), len(generated))
	b.expire(t, func() (left []uuid.UUID) {
		for _, p := range purchases {
			if !generated[p.OrderID] {
				left = append(left, p.ReservationID)
			}
		}
		return left
	}()...)
	b.requireInventory(t, kind, 0, 0)
}

// A ticket is either used or refunded.
func TestTicketIsEitherUsedOrRefunded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const orders = 16
	kind := b.newType(t, 2*orders)
	bought := make([][]ticket.Ticket, orders)
	for i := range bought {
		bought[i] = b.bought(t, kind, 2)
	}
	errs := race(2*orders, func(i int) error {
		k := bought[i/2][0]
		if i%2 == 0 {
			_, err := b.store.CheckIn(t.Context(), k.ID, 1, "")
			return err
		}
		_, err := b.cancelRefunded(t, k.OrderID)
		return err
	})
	used := 0
	for i := range bought {
		checkIn, refund := errs[2*i], errs[2*i+1]
		if checkIn == nil {
			used++
			require.ErrorIs(t, refund, ticket.ErrTicketUsed)
			b.requireTicket(t, bought[i][1].ID, ticket.Active)
			continue
		}
		require.ErrorIs(t, checkIn, ticket.ErrNotActive)
		require.NoError(t, refund)
		b.requireTicket(t, bought[i][1].ID, ticket.Cancelled)
	}
	b.requireInventory(t, kind, 2*used, 0)
}

// Many workers run all operations at once; no type is oversold, and its counters agree with its rows.
func TestConcurrentOperationsNeverOversell(t *testing.T) {
	t.Parallel()
	b := setup(t)
	x, y := b.newType(t, 12), b.newType(t, 8)
	const workers, rounds = 48, 12
	admitted := b.bought(t, x, 2)
	requireAll(t, race(workers, func(i int) error {
		dice := rand.New(rand.NewPCG(7, uint64(i))) // the same choices in each run
		expected := func(err error) error {
			if err == nil || problem.KindOf(err) != problem.Internal {
				return nil // or a refusal, depending on the order of the workers
			}
			return err
		}
		if i%8 == 0 {
			if _, err := b.store.CheckIn(t.Context(), admitted[i/8%2].ID, 1, ""); expected(err) != nil {
				return err
			}
		}
		for range rounds {
			id := uuid.New()
			items := []ticket.LineItem{item(x, 1+dice.IntN(2)), item(y, 1)}
			if dice.IntN(2) == 0 {
				slices.Reverse(items)
			}
			if _, err := b.reserve(t.Context(), id, items...); expected(err) != nil {
				return err
			}
			p := b.purchase(id)
			confirm := func() error { _, err := b.store.Confirm(t.Context(), p); return err }
			fulfil := func() error { return b.fulfil(t.Context(), uuid.New(), p) }
			release := func() error { _, err := b.store.Release(t.Context(), id, "TIMEOUT"); return err }
			refund := func() error { _, err := b.cancelRefunded(t, p.OrderID); return err }
			sweep := func() error {
				_, err := b.pool.Exec(t.Context(), `UPDATE reservations SET expires_at = now() WHERE id = $1`, id)
				if err != nil {
					return err
				}
				_, err = b.store.ExpireDue(t.Context(), 3)
				return err
			}
			resize := func() error {
				_, err := b.store.ChangeType(t.Context(), x, func(t ticket.Type) (ticket.Type, error) {
					t.Capacity = 10 + dice.IntN(10)
					return t, nil
				})
				return err
			}
			useOrCancel := func() error {
				tickets, err := b.store.Confirm(t.Context(), p)
				if err != nil {
					return err
				}
				if dice.IntN(4) == 0 {
					_, err = b.store.CheckIn(t.Context(), tickets[0].ID, 1, "")
				} else {
					_, err = b.store.Cancel(t.Context(), tickets[0].ID, b.user, "")
				}
				return err
			}
			steps := []func() error{confirm, fulfil, release, refund, sweep, resize, useOrCancel}
			dice.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
			for _, step := range steps[:4] {
				if err := step(); expected(err) != nil {
					return err
				}
			}
		}
		return nil
	}))
	for _, kind := range []uuid.UUID{x, y} {
		got, err := b.store.Type(t.Context(), kind)
		require.NoError(t, err)
		b.requireInventory(t, kind, got.Sold, got.Held)
	}
	// Each kind of outcome has occurred.
	for _, eventType := range []string{
		"TICKETS_GENERATED", "TICKET_GENERATION_FAILED", "TICKET_CANCELLED", "TICKET_CHECKED_IN",
	} {
		require.NotEmpty(t, b.published(t, eventType), eventType)
	}
}

func TestPagesContainEveryTicketOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 50)
	var all []ticket.Ticket
	for range 3 { // three purchases, so that pages end between tickets of equal time
		all = append(all, b.bought(t, kind, 3)...)
	}
	b.user = uuid.New()
	b.bought(t, kind, 1)

	t.Run("Owner", func(t *testing.T) {
		owner := all[0].OwnerID
		page, found := paging.Page{Limit: 2}, []ticket.Ticket{}
		for {
			tickets, err := b.store.TicketsOfUser(t.Context(), owner, page)
			require.NoError(t, err)
			found = append(found, tickets[:min(len(tickets), page.Limit)]...)
			if len(tickets) <= page.Limit {
				break
			}
			last := found[len(found)-1]
			page.After, page.AfterID = &last.CreatedAt, last.ID
		}
		require.ElementsMatch(t, all, found)
		require.True(t, slices.IsSortedFunc(found, func(a, b ticket.Ticket) int {
			return b.CreatedAt.Compare(a.CreatedAt)
		}))
	})
	t.Run("Event", func(t *testing.T) {
		var after string
		var found []ticket.Ticket
		for {
			tickets, err := b.store.TicketsOfEvent(t.Context(), b.event, after, 4)
			require.NoError(t, err)
			if len(tickets) == 0 {
				break
			}
			require.LessOrEqual(t, len(tickets), 4)
			found = append(found, tickets...)
			after = found[len(found)-1].Number
		}
		require.Len(t, found, len(all)+1)
		require.Subset(t, found, all)
	})
}
