package store_test

import (
	"encoding/json"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

func TestConfirmIsIdempotent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	vip, seat := b.newType(t, 5), b.newType(t, 5)
	id := b.reserved(t, item(vip, 1), item(seat, 2))
	p := b.purchase(id)
	tickets, err := b.store.Confirm(t.Context(), p)
	require.NoError(t, err)
	require.Len(t, tickets, 3)
	count := map[uuid.UUID]int{}
	for _, k := range tickets {
		count[k.TypeID]++
		require.Equal(t, k.TypeID.String(), k.TypeName)
		require.Equal(t, b.event, k.EventID)
		require.Equal(t, p.OrderID, k.OrderID)
		require.Equal(t, b.user, k.OwnerID)
		require.Equal(t, "Ann O'Hara", k.HolderName)
		require.Equal(t, ticket.Active, k.Status)
		require.Equal(t, 1, k.CodeVersion)
		require.WithinDuration(t, time.Now(), k.CreatedAt, time.Minute)
	}
	require.Equal(t, map[uuid.UUID]int{vip: 1, seat: 2}, count)
	b.requireStatus(t, id, ticket.ReservationCompleted)

	t.Run("Repeated", func(t *testing.T) {
		again, err := b.store.Confirm(t.Context(), p)
		require.NoError(t, err)
		require.Equal(t, tickets, again)
		require.Len(t, b.outbox(t), 1)
	})
	t.Run("RepeatedReserve", func(t *testing.T) {
		r, err := b.reserve(t.Context(), id, item(vip, 1), item(seat, 2))
		require.NoError(t, err)
		require.Equal(t, ticket.ReservationCompleted, r.Status)
	})
	t.Run("OtherOrder", func(t *testing.T) {
		_, err := b.store.Confirm(t.Context(), b.purchase(id))
		require.ErrorIs(t, err, ticket.ErrReservationCompleted)
	})
	t.Run("OtherUser", func(t *testing.T) {
		stolen := p
		stolen.UserID = uuid.New()
		_, err := b.store.Confirm(t.Context(), stolen)
		require.ErrorIs(t, err, ticket.ErrReservationNotFound)
	})
	t.Run("OneOrderTwoReservations", func(t *testing.T) {
		second := p
		second.ReservationID = b.reserved(t, item(seat, 1))
		_, err := b.store.Confirm(t.Context(), second)
		require.ErrorIs(t, err, ticket.ErrReservationReused)
		b.requireInventory(t, seat, 2, 1)
		_, err = b.store.Release(t.Context(), second.ReservationID, "PAYMENT_FAILED")
		require.NoError(t, err)
	})
	b.requireInventory(t, vip, 1, 0)
	b.requireInventory(t, seat, 2, 0)

	t.Run("Ticket", func(t *testing.T) {
		k, err := b.store.Ticket(t.Context(), tickets[0].ID)
		require.NoError(t, err)
		require.Equal(t, tickets[0], k)
		_, err = b.store.Ticket(t.Context(), uuid.New())
		require.ErrorIs(t, err, ticket.ErrTicketNotFound)
	})
	t.Run("TicketsOfUser", func(t *testing.T) {
		mine, err := b.store.TicketsOfUser(t.Context(), b.user, paging.Page{Limit: 2})
		require.NoError(t, err)
		require.ElementsMatch(t, tickets, mine) // one more than the limit: there is a next page
		others, err := b.store.TicketsOfUser(t.Context(), uuid.New(), paging.Page{Limit: 2})
		require.NoError(t, err)
		require.Empty(t, others)
	})
}

func TestConfirmRefusesEndedReservations(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 5)
	for _, tt := range []struct {
		name string
		end  func(t *testing.T, id uuid.UUID)
	}{
		{"Expired", func(t *testing.T, id uuid.UUID) { t.Helper(); b.expire(t, id) }},
		{"Released", func(t *testing.T, id uuid.UUID) {
			t.Helper()
			_, err := b.store.Release(t.Context(), id, "PAYMENT_FAILED")
			require.NoError(t, err)
		}},
		{"Overdue", func(t *testing.T, id uuid.UUID) { t.Helper(); b.makeDue(t, id) }}, // not swept yet
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := b.reserved(t, item(kind, 1))
			tt.end(t, id)
			for range 2 {
				_, err := b.store.Confirm(t.Context(), b.purchase(id))
				require.ErrorIs(t, err, ticket.ErrReservationNotFound)
			}
		})
	}
	t.Run("Unknown", func(t *testing.T) {
		_, err := b.store.Confirm(t.Context(), b.purchase(uuid.New()))
		require.ErrorIs(t, err, ticket.ErrReservationNotFound)
	})
	require.Empty(t, b.outbox(t))
}

// The first tickets of a year have numbers although each concurrent transaction finds no sequence for the year.
func TestConcurrentFirstTicketNumbersOfYearDiffer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := make([]uuid.UUID, connections)
	for i := range ids {
		ids[i] = b.reserved(t, item(b.newType(t, 3), 3)) // a type each, so that no transaction waits for a row
	}
	tickets := make([][]ticket.Ticket, len(ids))
	requireAll(t, race(len(ids), func(i int) (err error) {
		tickets[i], err = b.store.Confirm(t.Context(), b.purchase(ids[i]))
		return err
	}))
	seen := map[string]bool{}
	for _, set := range tickets {
		for _, k := range set {
			require.Regexp(t, `^TKT-`+strconv.Itoa(k.CreatedAt.UTC().Year())+`-\d{6}$`, k.Number)
			require.False(t, seen[k.Number], k.Number)
			seen[k.Number] = true
		}
	}
	require.Len(t, seen, 3*len(ids))
	require.Contains(t, seen, "TKT-"+strconv.Itoa(time.Now().UTC().Year())+"-000001")
}

func TestConcurrentConfirmsIssueOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 100)

	t.Run("SamePurchase", func(t *testing.T) {
		p := b.purchase(b.reserved(t, item(kind, 2)))
		tickets := make([][]ticket.Ticket, connections)
		requireAll(t, race(connections, func(i int) (err error) {
			tickets[i], err = b.store.Confirm(t.Context(), p)
			return err
		}))
		for _, same := range tickets {
			require.Equal(t, tickets[0], same)
		}
		b.requireInventory(t, kind, 2, 0)
		require.Len(t, b.outbox(t), 1)
	})
	// Either the buyer has a ticket or it is back in the inventory.
	t.Run("BesideReleaseAndSweep", func(t *testing.T) {
		const pairs = 20
		confirmed := make([]bool, pairs)
		ids := make([]uuid.UUID, pairs)
		for i := range ids {
			ids[i] = b.reserved(t, item(kind, 1))
		}
		requireAll(t, race(3*pairs, func(i int) error {
			id := ids[i/3]
			switch i % 3 {
			case 0:
				_, err := b.store.Confirm(t.Context(), b.purchase(id))
				confirmed[i/3] = err == nil
				if errors.Is(err, ticket.ErrReservationNotFound) {
					return nil
				}
				return err
			case 1:
				_, err := b.store.Release(t.Context(), id, "TIMEOUT")
				if errors.Is(err, ticket.ErrReservationCompleted) {
					return nil
				}
				return err
			default:
				_, err := b.store.ExpireDue(t.Context(), 5)
				return err
			}
		}))
		sold := 2
		for i, id := range ids {
			if confirmed[i] {
				sold++
				b.requireStatus(t, id, ticket.ReservationCompleted)
			} else {
				b.requireStatus(t, id, ticket.ReservationCancelled)
			}
		}
		b.requireInventory(t, kind, sold, 0)
	})
}

// A paid order gets its tickets if they are held or available, and a TICKET_GENERATION_FAILED otherwise.
func TestFulfilIssuesOrRefuses(t *testing.T) {
	t.Parallel()
	type fixture struct {
		*bundle
		vip, seat uuid.UUID
		p         ticket.Purchase
	}
	sellOut := func(t *testing.T, s *fixture, kind uuid.UUID) {
		t.Helper()
		types, err := s.store.Types(t.Context(), s.event)
		require.NoError(t, err)
		for _, y := range types {
			if y.ID == kind {
				s.reserved(t, item(kind, y.Available()))
			}
		}
	}
	release := func(t *testing.T, s *fixture) {
		t.Helper()
		_, err := s.store.Release(t.Context(), s.p.ReservationID, "TIMEOUT")
		require.NoError(t, err)
	}
	for _, tt := range []struct {
		name     string
		before   func(t *testing.T, s *fixture)
		reason   string // of TICKET_GENERATION_FAILED; empty for TICKETS_GENERATED
		seatHeld int    // of other buyers
	}{
		{"Live", func(*testing.T, *fixture) {}, "", 0},
		{"DueButHeld", func(t *testing.T, s *fixture) { t.Helper(); s.makeDue(t, s.p.ReservationID) }, "", 0},
		{"DueAndSoldOut", func(t *testing.T, s *fixture) {
			t.Helper()
			sellOut(t, s, s.seat)
			s.makeDue(t, s.p.ReservationID)
		}, "", 8},
		{"ExpiredAndAvailable", func(t *testing.T, s *fixture) { t.Helper(); s.expire(t, s.p.ReservationID) }, "", 0},
		{"ReleasedAndAvailable", func(t *testing.T, s *fixture) { t.Helper(); release(t, s) }, "", 0},
		{"ExpiredAndSoldOut", func(t *testing.T, s *fixture) {
			t.Helper()
			s.expire(t, s.p.ReservationID)
			sellOut(t, s, s.seat) // the other type is available
		}, "INSUFFICIENT_INVENTORY", 10},
		{"ReleasedAndSoldOut", func(t *testing.T, s *fixture) {
			t.Helper()
			release(t, s)
			sellOut(t, s, s.seat)
		}, "INSUFFICIENT_INVENTORY", 10},
		{"UnknownReservation", func(t *testing.T, s *fixture) {
			t.Helper()
			release(t, s)
			s.p.ReservationID = uuid.New()
		}, "RESERVATION_NOT_FOUND", 0},
		{"Tombstone", func(t *testing.T, s *fixture) {
			t.Helper()
			release(t, s)
			s.p.ReservationID = uuid.New()
			release(t, s)
		}, "RESERVATION_NOT_FOUND", 0},
		{"OtherUser", func(t *testing.T, s *fixture) {
			t.Helper()
			release(t, s)
			s.p.UserID = uuid.New()
		}, "RESERVATION_NOT_FOUND", 0},
		{"CancelledEvent", func(t *testing.T, s *fixture) {
			t.Helper()
			require.NoError(t, s.cancelEvent(t.Context(), uuid.New()))
			_, err := s.store.CancelAll(t.Context())
			require.NoError(t, err)
		}, "EVENT_CANCELLED", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			s := &fixture{bundle: b, vip: b.newType(t, 5), seat: b.newType(t, 10)}
			s.p = b.purchase(b.reserved(t, item(s.vip, 1), item(s.seat, 2)))
			tt.before(t, s)
			message := uuid.New()
			for range 3 { // the message has one effect
				require.NoError(t, b.fulfil(t.Context(), message, s.p))
			}

			out := b.outbox(t)
			require.Len(t, out, 1)
			require.Equal(t, s.p.OrderID, out[0].Data.Payload.OrderID)
			require.Equal(t, tt.reason, out[0].Data.Payload.Reason)
			if tt.reason != "" {
				require.Equal(t, "TICKET_GENERATION_FAILED", out[0].Type)
				b.requireInventory(t, s.vip, 0, 0)
				b.requireInventory(t, s.seat, 0, tt.seatHeld)
				return
			}
			require.Equal(t, "TICKETS_GENERATED", out[0].Type)
			require.Len(t, out[0].Data.Payload.Tickets, 3)
			b.requireStatus(t, s.p.ReservationID, ticket.ReservationCompleted)
			b.requireInventory(t, s.vip, 1, 0)
			b.requireInventory(t, s.seat, 2, tt.seatHeld)

			// A late confirm returns the same tickets.
			tickets, err := b.store.Confirm(t.Context(), s.p)
			require.NoError(t, err)
			require.Len(t, tickets, 3)
			require.Len(t, b.outbox(t), 1)
		})
	}
}

func TestFulfilRefusesSecondOrderOfReservation(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 5)
	id := b.reserved(t, item(kind, 1))
	_, err := b.store.Confirm(t.Context(), b.purchase(id))
	require.NoError(t, err)
	second := b.purchase(id)
	require.NoError(t, b.fulfil(t.Context(), uuid.New(), second))

	out := b.outbox(t)
	require.Len(t, out, 2)
	require.Equal(t, "TICKET_GENERATION_FAILED", out[1].Type)
	require.Equal(t, second.OrderID, out[1].Data.Payload.OrderID)
	require.Equal(t, "RESERVATION_COMPLETED", out[1].Data.Payload.Reason)
	b.requireInventory(t, kind, 1, 0)
}

func TestConcurrentFulfilsIssueOnce(t *testing.T) {
	t.Parallel()
	t.Run("SameMessage", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		kind := b.newType(t, 5)
		p, message := b.purchase(b.reserved(t, item(kind, 2))), uuid.New()
		requireAll(t, race(connections, func(int) error { return b.fulfil(t.Context(), message, p) }))
		b.requireInventory(t, kind, 2, 0)
		require.Len(t, b.outbox(t), 1)
	})
	t.Run("BesideConfirmsAndOtherMessages", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		kind := b.newType(t, 5)
		p := b.purchase(b.reserved(t, item(kind, 2)))
		requireAll(t, race(connections, func(i int) error {
			if i%2 == 0 {
				_, err := b.store.Confirm(t.Context(), p)
				return err
			}
			return b.fulfil(t.Context(), uuid.New(), p)
		}))
		b.requireInventory(t, kind, 2, 0)
		// Each message is answered, and the first confirm too if it ran before them.
		out := b.outbox(t)
		require.GreaterOrEqual(t, len(out), connections/2)
		require.LessOrEqual(t, len(out), connections/2+1)
		for _, m := range out {
			require.Equal(t, "TICKETS_GENERATED", m.Type)
			require.Equal(t, out[0].Data.Payload.Tickets, m.Data.Payload.Tickets)
		}
	})
	// Paid orders with expired reservations compete for the last tickets: each gets its tickets or is refused.
	t.Run("LastTickets", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		kind := b.newType(t, 40)
		ids := make([]uuid.UUID, 40)
		for i := range ids {
			ids[i] = b.reserved(t, item(kind, 1))
		}
		b.expire(t, ids...)
		b.reserved(t, item(kind, 30))
		requireAll(t, race(len(ids), func(i int) error { return b.fulfil(t.Context(), uuid.New(), b.purchase(ids[i])) }))
		count := map[string]int{}
		for _, m := range b.outbox(t) {
			count[m.Type]++
		}
		require.Equal(t, map[string]int{"TICKETS_GENERATED": 10, "TICKET_GENERATION_FAILED": 30}, count)
		b.requireInventory(t, kind, 10, 30)
	})
}

// A published event is a CloudEvent that contains the contract's envelope and continues the trace of the purchase.
func TestPublishedEventsHaveTheContractsEnvelope(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kind := b.newType(t, 5)
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	ctx := telemetry.With(t.Context(), telemetry.Trace{CorrelationID: "corr-123456", Parent: parent})
	p := b.purchase(b.reserved(t, item(kind, 2)))
	require.NoError(t, b.fulfil(ctx, uuid.New(), p))
	lost := b.purchase(uuid.New())
	require.NoError(t, b.fulfil(ctx, uuid.New(), lost))
	tickets, err := b.store.Confirm(t.Context(), p)
	require.NoError(t, err)

	read := func(order uuid.UUID) string {
		t.Helper()
		var id uuid.UUID
		var topic string
		var body []byte
		require.NoError(t, b.pool.QueryRow(t.Context(), `
			SELECT id, topic, cloud_event FROM outbox WHERE cloud_event->>'subject' = $1`,
			order.String()).Scan(&id, &topic, &body))
		require.Equal(t, events.TopicTickets, topic)
		var stamps struct {
			ID   uuid.UUID
			Time time.Time
			Data struct{ Timestamp time.Time }
		}
		require.NoError(t, json.Unmarshal(body, &stamps))
		require.Equal(t, id, stamps.ID)
		require.WithinDuration(t, time.Now(), stamps.Time, time.Minute)
		require.Equal(t, stamps.Time, stamps.Data.Timestamp)

		// The values checked above differ in each run; constants replace them.
		var event map[string]any
		require.NoError(t, json.Unmarshal(body, &event))
		event["id"], event["time"], event["data"].(map[string]any)["timestamp"] = "ID", "TIME", "TIME"
		body, err = json.Marshal(event)
		require.NoError(t, err)
		return string(body)
	}
	ticketJSON := func(k ticket.Ticket) string {
		return `{"ticketId":"` + k.ID.String() + `","ticketNumber":"` + k.Number + `","ticketTypeId":"` + kind.String() + `",
			"qrCode":"` + publicURL.QRCode(k.ID) + `"}`
	}
	envelope := func(eventType string, order uuid.UUID, payload string) string {
		return `{"specversion":"1.0","id":"ID","source":"ticket-service","type":"` + eventType + `",
			"subject":"` + order.String() + `","time":"TIME","datacontenttype":"application/json",
			"correlationid":"corr-123456","orderid":"` + order.String() + `","traceparent":"` + parent + `","tracestate":"",
			"data":{"eventType":"` + eventType + `","version":"1.0","timestamp":"TIME","correlationId":"corr-123456",
				"payload":` + payload + `}}`
	}
	require.JSONEq(t, envelope("TICKETS_GENERATED", p.OrderID, `{"orderId":"`+p.OrderID.String()+`",
		"userId":"`+b.user.String()+`","eventId":"`+b.event.String()+`",
		"tickets":[`+ticketJSON(tickets[0])+`,`+ticketJSON(tickets[1])+`]}`), read(p.OrderID))
	require.JSONEq(t, envelope("TICKET_GENERATION_FAILED", lost.OrderID, `{"orderId":"`+lost.OrderID.String()+`",
		"userId":"`+b.user.String()+`","eventId":"`+b.event.String()+`",
		"reservationId":"`+lost.ReservationID.String()+`","reason":"RESERVATION_NOT_FOUND"}`), read(lost.OrderID))
}

// An order that arrives again under another message id gets the same answer.
func TestFulfilRepeatsItsAnswer(t *testing.T) {
	t.Parallel()
	t.Run("HasTickets", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		kind := b.newType(t, 5)
		p := b.purchase(b.reserved(t, item(kind, 2)))
		for range 3 {
			require.NoError(t, b.fulfil(t.Context(), uuid.New(), p))
		}
		out := b.outbox(t)
		require.Len(t, out, 3)
		for _, m := range out {
			require.Equal(t, "TICKETS_GENERATED", m.Type)
			require.Equal(t, p.OrderID, m.Data.Payload.OrderID)
			require.Len(t, m.Data.Payload.Tickets, 2)
			require.Equal(t, out[0].Data.Payload.Tickets, m.Data.Payload.Tickets)
		}
		require.NotEqual(t, out[0].ID, out[1].ID)
		b.requireInventory(t, kind, 2, 0)
	})
	// The order is being refunded: tickets that become available later do not change the answer.
	for _, tt := range []struct {
		name   string
		before func(t *testing.T, b *bundle, p *ticket.Purchase) (makeAvailable func())
		reason string
	}{
		{"SoldOut", func(t *testing.T, b *bundle, p *ticket.Purchase) func() {
			t.Helper()
			kind := b.newType(t, 5)
			p.ReservationID = b.reserved(t, item(kind, 2))
			b.expire(t, p.ReservationID)
			rival := b.reserved(t, item(kind, 5))
			return func() { b.expire(t, rival) }
		}, "INSUFFICIENT_INVENTORY"},
		{"BeforeReserve", func(t *testing.T, b *bundle, p *ticket.Purchase) func() {
			t.Helper()
			kind := b.newType(t, 5)
			p.ReservationID = uuid.New()
			return func() {
				_, err := b.reserve(t.Context(), p.ReservationID, item(kind, 1))
				require.NoError(t, err)
			}
		}, "RESERVATION_NOT_FOUND"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			p := b.purchase(uuid.Nil)
			makeAvailable := tt.before(t, b, &p)
			require.NoError(t, b.fulfil(t.Context(), uuid.New(), p))
			makeAvailable()
			for range 2 {
				require.NoError(t, b.fulfil(t.Context(), uuid.New(), p))
			}
			_, err := b.store.Confirm(t.Context(), p)
			require.ErrorIs(t, err, ticket.ErrOrderRefused)
			out := b.outbox(t)
			require.Len(t, out, 3)
			for _, m := range out {
				require.Equal(t, "TICKET_GENERATION_FAILED", m.Type)
				require.Equal(t, p.OrderID, m.Data.Payload.OrderID)
				require.Equal(t, tt.reason, m.Data.Payload.Reason)
			}
			var tickets int
			require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(*) FROM tickets`).Scan(&tickets))
			require.Zero(t, tickets)
		})
	}
	// All answers to one order are equal, even while the number of available tickets changes.
	t.Run("Concurrent", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		kind := b.newType(t, 1)
		for range 8 {
			p := b.purchase(b.reserved(t, item(kind, 1)))
			b.expire(t, p.ReservationID)
			rival := b.reserved(t, item(kind, 1))
			requireAll(t, race(connections, func(i int) error {
				if i == 0 {
					_, err := b.store.Release(t.Context(), rival, "TIMEOUT")
					return err
				}
				return b.fulfil(t.Context(), uuid.New(), p)
			}))
			outcomes := map[string]int{}
			for _, m := range b.outbox(t) {
				if m.Data.Payload.OrderID == p.OrderID {
					outcomes[m.Type]++
				}
			}
			require.Len(t, outcomes, 1)
			if outcomes["TICKETS_GENERATED"] > 0 {
				_, err := b.cancelRefunded(t, p.OrderID)
				require.NoError(t, err)
			}
			b.requireInventory(t, kind, 0, 0)
		}
	})
}
