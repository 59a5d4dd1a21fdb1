package saga_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/refund"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

// bought is an order whose buyer has the tickets.
func (b *bundle) bought(t *testing.T) uuid.UUID {
	t.Helper()
	id := b.place(t, sagatest.GoodCard)
	_, err := b.saga.Drive(t.Context(), id)
	require.NoError(t, err)
	b.deliver(t, id)
	require.Equal(t, order.Done, b.order(t, id).Step)
	return id
}

// Kinds of refunds, by name.
var kinds = map[string]func(b *bundle, id uuid.UUID) refund.Refund{
	"Whole": func(*bundle, uuid.UUID) refund.Refund { return refund.Refund{Whole: true} },
	"Ticket": func(b *bundle, id uuid.UUID) refund.Refund {
		return refund.Refund{TicketIDs: b.services.TicketIDs(id)[:1]}
	},
	"Amount": func(*bundle, uuid.UUID) refund.Refund { return refund.Refund{Amount: money.Of(1234, "USD")} },
}

// ask stores a refund of the order and leases it, as the request of an organizer does before it drives it.
func (b *bundle) ask(ctx context.Context, t *testing.T, id uuid.UUID, r refund.Refund) uuid.UUID {
	t.Helper()
	r.ID, r.OrderID, r.RequestedBy, r.Reason = uuid.New(), id, uuid.New(), "Cannot come"
	made, created, err := b.store.CreateRefund(ctx, r, uuid.NewString(), []byte("hash"))
	require.NoError(t, err)
	require.True(t, created)
	return made
}

func (b *bundle) refund(t *testing.T, id uuid.UUID) refund.Refund {
	t.Helper()
	r, err := b.store.Refund(t.Context(), id)
	require.NoError(t, err)
	return r
}

// settleRefunds lets somebody take the order's refunds up again until they have ended.
func (b *bundle) settleRefunds(t *testing.T, id uuid.UUID, resume func(ctx context.Context, id uuid.UUID) error) {
	t.Helper()
	for range 20 {
		left, err := b.unfinished(t.Context(), id)
		require.NoError(t, err)
		if len(left) == 0 {
			return
		}
		b.timeOut(t)
		if err := resume(t.Context(), id); err != nil {
			require.ErrorIs(t, err, sidecar.ErrUnavailable)
		}
	}
	require.Fail(t, "the refunds do not end")
}

// requireBooks asserts what must be true of a bought order whose refunds have ended, whatever happened on
// the way: what went back is what the refunds say that succeeded, once each and never more than was
// charged; each is announced once; their tickets, and no others, are void.
func (b *bundle) requireBooks(t *testing.T, id uuid.UUID) order.Order {
	t.Helper()
	o := b.order(t, id)
	refunds, err := b.store.RefundsOf(t.Context(), id, paging.Page{Limit: 100})
	require.NoError(t, err)
	back := money.Of(0, o.Total.Currency)
	var amounts []money.Decimal
	wantAnnounced := []string{"PAYMENT_COMPLETED"}
	void := map[uuid.UUID]bool{}
	for _, r := range refunds {
		require.Equal(t, refund.Done, r.Step)
		require.NotEqual(t, refund.Pending, r.Status)
		if r.Status == refund.Failed {
			continue
		}
		back = back.Plus(r.Amount)
		if r.Amount.Minor > 0 {
			amounts = append(amounts, r.Amount.Decimal())
		}
		wantAnnounced = append(wantAnnounced, "REFUND_PROCESSED")
		for _, ticket := range r.TicketIDs {
			require.False(t, void[ticket], "a ticket is refunded once")
			void[ticket] = true
		}
	}
	require.LessOrEqual(t, back.Minor, o.Total.Minor)
	require.Equal(t, back, o.Refunded)
	require.Equal(t, back == o.Total, o.Status == order.Refunded)
	charged, refunded := b.services.Money(id)
	require.Equal(t, []money.Decimal{o.Total.Decimal()}, charged)
	require.ElementsMatch(t, amounts, refunded)
	announced, bodies := b.outbox(t, id)
	announced = slices.DeleteFunc(announced, func(eventType string) bool { return eventType == "COMPENSATION_FAILED" })
	require.Equal(t, wantAnnounced, announced)
	require.Equal(t, quantity-len(void), b.services.Tickets(id)[b.typeID])
	require.Equal(t, capacity-quantity+len(void), b.services.Left(b.typeID))

	if len(bodies) > 1 {
		var last struct {
			Data struct {
				Payload struct {
					RefundedTotal money.Decimal
					OrderRefunded bool
				}
			}
		}
		require.NoError(t, json.Unmarshal(bodies[len(bodies)-1], &last))
		require.Equal(t, o.Refunded.Decimal(), last.Data.Payload.RefundedTotal)
		require.Equal(t, o.Status == order.Refunded, last.Data.Payload.OrderRefunded)
	}
	return o
}

func TestRefund(t *testing.T) {
	b := setup(t)
	for name, tt := range map[string]struct {
		cents  int64
		status order.Status
		lines  []string
	}{
		"Whole":  {10000, order.Refunded, []string{"REFUND_REQUESTED PENDING", "TICKETS_CANCELLED COMPENSATED", "PAYMENT_REFUNDED COMPENSATED"}},
		"Ticket": {5000, order.Completed, []string{"REFUND_REQUESTED PENDING", "TICKETS_CANCELLED COMPENSATED", "PAYMENT_REFUNDED COMPENSATED"}},
		"Amount": {1234, order.Completed, []string{"REFUND_REQUESTED PENDING", "PAYMENT_REFUNDED COMPENSATED"}},
	} {
		t.Run(name, func(t *testing.T) {
			b.newType(5000)
			id := b.bought(t)
			before := b.story(t, id)
			r, err := b.saga.DriveRefund(t.Context(), b.ask(t.Context(), t, id, kinds[name](b, id)))
			require.NoError(t, err)
			require.Equal(t, refund.Succeeded, r.Status)
			require.Equal(t, money.Of(tt.cents, "USD"), r.Amount)
			o := b.requireBooks(t, id)
			require.Equal(t, tt.status, o.Status)
			require.Equal(t, order.Done, o.Step)
			require.Equal(t, tt.lines, b.story(t, id)[len(before):])
		})
	}

	t.Run("BitByBit", func(t *testing.T) {
		b.newType(5000)
		id := b.bought(t)
		for _, name := range []string{"Amount", "Ticket", "Amount", "Whole"} {
			_, err := b.saga.DriveRefund(t.Context(), b.ask(t.Context(), t, id, kinds[name](b, id)))
			require.NoError(t, err)
			require.Equal(t, name == "Whole", b.requireBooks(t, id).Status == order.Refunded)
		}
		charged, refunded := b.services.Money(id)
		require.Equal(t, []money.Decimal{"100.00"}, charged)
		require.ElementsMatch(t, []money.Decimal{"12.34", "50.00", "12.34", "25.32"}, refunded)
	})
	t.Run("Free", func(t *testing.T) {
		b.newType(0)
		id := b.bought(t)
		_, err := b.saga.DriveRefund(t.Context(), b.ask(t.Context(), t, id, kinds["Ticket"](b, id)))
		require.NoError(t, err)
		require.Equal(t, order.Completed, b.order(t, id).Status, "a free ticket less is not all of a free order")
		_, err = b.saga.DriveRefund(t.Context(), b.ask(t.Context(), t, id, kinds["Whole"](b, id)))
		require.NoError(t, err)
		require.Equal(t, order.Refunded, b.order(t, id).Status)
		require.Empty(t, b.services.Tickets(id))
	})
}

// What can never go back ends the refund, and all that it took hold of can be asked for again.
func TestRefundFails(t *testing.T) {
	b := setup(t)
	for _, tt := range []struct {
		name  string
		call  sagatest.Call
		fault sagatest.Fault
		code  string
	}{
		{"TicketUsed", sagatest.Cancel, sagatest.Refused(problem.New(problem.Conflict, "TICKET_USED", "Used")), "TICKET_USED"},
		{"TicketOfAnother", sagatest.Cancel, sagatest.Refused(problem.New(problem.NotFound, "TICKET_NOT_FOUND", "None")), "TICKET_NOT_FOUND"},
		{
			"BankRefuses", sagatest.Refund,
			sagatest.Answered(map[string]any{"status": "FAILED", "failureCode": "LOST_OR_STOLEN_CARD", "message": "Lost"}), "LOST_OR_STOLEN_CARD",
		},
		{"BankRefusesWithoutReason", sagatest.Refund, sagatest.Answered(map[string]any{"status": "FAILED"}), "REFUND_REFUSED"},
		{"AmountRefused", sagatest.Refund, sagatest.Refused(problem.New(problem.Invalid, "UNSUPPORTED_AMOUNT", "No")), "UNSUPPORTED_AMOUNT"},
		{"RequestRefused", sagatest.Refund, sagatest.Refused(problem.New(problem.Unprocessable, "PAYMENT_REQUEST_REFUSED", "No")), "PAYMENT_REQUEST_REFUSED"},
	} {
		for kind := range kinds {
			if tt.call == sagatest.Cancel && kind == "Amount" {
				continue
			}
			t.Run(tt.name+"/"+kind, func(t *testing.T) {
				b.newType(5000)
				id := b.bought(t)
				b.services.Next(tt.call, tt.fault)
				r, err := b.saga.DriveRefund(t.Context(), b.ask(t.Context(), t, id, kinds[kind](b, id)))
				require.NoError(t, err)
				require.Equal(t, refund.Failed, r.Status)
				require.Equal(t, tt.code, r.Failure.Code)
				o := b.order(t, id)
				require.Equal(t, order.Completed, o.Status)
				require.Zero(t, o.Refunded.Minor)
				_, refunded := b.services.Money(id)
				require.Empty(t, refunded)
				announced, _ := b.outbox(t, id)
				want := []string{"PAYMENT_COMPLETED"}
				if tt.call == sagatest.Refund { // of which nobody else tells that the buyer waits for the money
					want = append(want, "COMPENSATION_FAILED")
				}
				require.Equal(t, want, announced)
				if tt.call == sagatest.Cancel {
					require.Equal(t, quantity, b.services.Tickets(id)[b.typeID], "no ticket is cancelled in vain")
				}

				_, err = b.saga.DriveRefund(t.Context(), b.ask(t.Context(), t, id, refund.Refund{Whole: true}))
				require.NoError(t, err)
				require.Equal(t, order.Refunded, b.requireBooks(t, id).Status)
			})
		}
	}

	// Money without tickets that the bank will not take back: the order is done, and a person can try again.
	t.Run("OfTheSaga", func(t *testing.T) {
		b.newType(5000)
		id := b.to(t, sagatest.Refund)
		b.services.Next(sagatest.Refund, sagatest.Answered(map[string]any{"status": "FAILED", "failureCode": "LOST_OR_STOLEN_CARD"}))
		require.NoError(t, b.sweeps(t.Context(), id))
		o := b.order(t, id)
		require.Equal(t, order.Completed, o.Status)
		require.Equal(t, order.Done, o.Step)
		require.Equal(t, "INSUFFICIENT_INVENTORY", o.Failure.Code)

		b.services.Next(sagatest.Cancel, sagatest.Refused(problem.New(problem.NotFound, "TICKET_NOT_FOUND", "there are none")))
		_, err := b.saga.DriveRefund(t.Context(), b.ask(t.Context(), t, id, refund.Refund{Whole: true}))
		require.NoError(t, err)
		require.Equal(t, 1, b.services.Pending(), "nobody was asked to cancel what there is not")
		require.Equal(t, order.Refunded, b.order(t, id).Status)
	})
	// Somebody gave it back with Stripe's own tools.
	t.Run("RefundedAlready", func(t *testing.T) {
		b.newType(5000)
		id := b.to(t, sagatest.Refund)
		b.services.Next(sagatest.Refund, sagatest.Answered(map[string]any{"status": "FAILED", "failureCode": "ALREADY_REFUNDED"}))
		require.NoError(t, b.sweeps(t.Context(), id))
		require.Equal(t, order.Refunded, b.order(t, id).Status)
	})
	t.Run("UsedMeanwhile", func(t *testing.T) {
		b.newType(5000)
		id := b.bought(t)
		made := b.ask(t.Context(), t, id, refund.Refund{Whole: true})
		b.services.Use(b.services.TicketIDs(id)[0])
		r, err := b.saga.DriveRefund(t.Context(), made)
		require.NoError(t, err)
		require.Equal(t, "TICKET_USED", r.Failure.Code)
		require.Equal(t, order.Completed, b.requireBooks(t, id).Status)
	})
}

// toRefund brings a new refund to the step at which it makes the call.
func (b *bundle) toRefund(t *testing.T, call sagatest.Call) (id, made uuid.UUID) {
	t.Helper()
	b.newType(5000)
	id = b.bought(t)
	made = b.ask(t.Context(), t, id, refund.Refund{Whole: true})
	if call == sagatest.Refund {
		b.services.Next(sagatest.Refund, sagatest.CallLost)
		_, err := b.saga.DriveRefund(t.Context(), made)
		require.ErrorIs(t, err, sidecar.ErrUnavailable)
	}
	b.timeOut(t)
	return id, made
}

func TestRefundNotAnAnswer(t *testing.T) {
	b := setup(t)
	refused := func(kind problem.Kind, code string) sagatest.Fault {
		return sagatest.Refused(problem.New(kind, code, "Refused"))
	}
	for _, call := range []sagatest.Call{sagatest.Cancel, sagatest.Refund} {
		for name, fault := range map[string]sagatest.Fault{
			"Lost":            sagatest.CallLost,
			"AnswerLost":      sagatest.AnswerLost,
			"Unauthenticated": refused(problem.Unauthenticated, "SERVICE_TOKEN_INVALID"),
			"Forbidden":       refused(problem.Forbidden, "SERVICE_FORBIDDEN"),
			"RouteNotFound":   refused(problem.NotFound, "NOT_FOUND"),
			"OtherConflict":   refused(problem.Conflict, "KEY_REUSED"),
			"AnswersNothing":  sagatest.Answered(map[string]any{}),
			"SaysNo":          sagatest.Answered(map[string]any{"cancelled": false, "status": "PENDING"}),
		} {
			t.Run(string(call)+"/"+name, func(t *testing.T) {
				id, made := b.toRefund(t, call)
				before, story := b.refund(t, made), b.story(t, id)
				b.services.Next(call, fault)
				_, err := b.saga.DriveRefund(t.Context(), made)
				require.ErrorIs(t, err, sidecar.ErrUnavailable)
				require.Equal(t, problem.Unavailable, problem.KindOf(err))
				require.Equal(t, before, b.refund(t, made))
				require.Equal(t, story, b.story(t, id))
				b.settleRefunds(t, id, b.peopleReturn)
				require.Equal(t, order.Refunded, b.requireBooks(t, id).Status)
			})
		}
	}
}

// The process dies at every point of a refund, and again there when it resumes; then somebody else takes it
// up. Whatever it was, the books are right.
func TestRefundCrash(t *testing.T) {
	b := setup(t)
	for kind, calls := range map[string][]sagatest.Call{
		"Whole": {sagatest.Cancel, sagatest.Refund}, "Ticket": {sagatest.Cancel, sagatest.Refund}, "Amount": {sagatest.Refund},
	} {
		for rescuer, resume := range map[string]func(context.Context, uuid.UUID) error{"Sweeper": b.sweeps, "Organizer": b.peopleReturn} {
			run := func(t *testing.T, plan map[sagatest.Call][]func(*process) sagatest.Fault) {
				t.Helper()
				b.newType(5000)
				p := b.start(t)
				id := b.bought(t)
				made := b.ask(t.Context(), t, id, kinds[kind](b, id))
				for call, deaths := range plan {
					for _, death := range deaths {
						b.services.Next(call, death(p))
					}
				}
				_, _ = b.saga.DriveRefund(p.ctx, made)
				b.settleRefunds(t, id, func(context.Context, uuid.UUID) error {
					if p.ctx.Err() != nil {
						p.restart(t)
					}
					_ = resume(p.ctx, id) // a process that dies tells nobody
					return nil
				})
				require.Zero(t, b.services.Pending(), "the points were reached")
				require.Equal(t, kind == "Whole", b.requireBooks(t, id).Status == order.Refunded)
				require.Equal(t, refund.Succeeded, b.refund(t, made).Status)
			}
			before := func(p *process) sagatest.Fault { return p.before }
			after := func(p *process) sagatest.Fault { return p.after }
			everyCall := map[sagatest.Call][]func(*process) sagatest.Fault{}
			for _, call := range calls {
				everyCall[call] = []func(*process) sagatest.Fault{before, after}
				t.Run(kind+"/Before"+string(call)+"/"+rescuer, func(t *testing.T) {
					run(t, map[sagatest.Call][]func(*process) sagatest.Fault{call: {before}})
				})
				t.Run(kind+"/After"+string(call)+"/"+rescuer, func(t *testing.T) {
					run(t, map[sagatest.Call][]func(*process) sagatest.Fault{call: {after}})
				})
			}
			t.Run(kind+"/EveryCallTwice/"+rescuer, func(t *testing.T) { run(t, everyCall) })
		}
	}
}

func TestRefundCrashWhileStoring(t *testing.T) {
	b := setup(t)
	for name, tt := range map[string]struct {
		call  sagatest.Call
		table string
		fault sagatest.Fault
	}{
		"Cancelled":   {sagatest.Cancel, "saga_events", nil},
		"NotToCancel": {sagatest.Cancel, "saga_events", sagatest.Refused(refund.ErrTicketUsed)},
		"Refunded":    {sagatest.Refund, "outbox", nil},
		"Refused":     {sagatest.Refund, "saga_events", sagatest.Answered(map[string]any{"status": "FAILED"})},
	} {
		t.Run(name, func(t *testing.T) {
			id, made := b.toRefund(t, tt.call)
			before, story, o := b.refund(t, made), b.story(t, id), b.order(t, id)
			if tt.fault != nil {
				b.services.Next(tt.call, tt.fault)
			}
			b.exec(t.Context(), t, `ALTER TABLE `+tt.table+` ADD CONSTRAINT broken CHECK (false) NOT VALID`)
			_, err := b.saga.DriveRefund(t.Context(), made)
			b.exec(t.Context(), t, `ALTER TABLE `+tt.table+` DROP CONSTRAINT broken`)
			require.Error(t, err)
			require.NotErrorIs(t, err, sidecar.ErrUnavailable)
			after := b.order(t, id)
			after.ChargeAge = o.ChargeAge
			require.Equal(t, o, after)
			require.Equal(t, before, b.refund(t, made))
			require.Equal(t, story, b.story(t, id))
			b.settleRefunds(t, id, b.peopleReturn)
			require.Equal(t, order.Refunded, b.requireBooks(t, id).Status)
		})
	}
}

// Two drivers believe at once that the refund is theirs, and their calls cross.
func TestRefundTwoDrivers(t *testing.T) {
	b := setup(t)
	for _, call := range []sagatest.Call{sagatest.Cancel, sagatest.Refund} {
		t.Run(string(call), func(t *testing.T) {
			id, made := b.toRefund(t, call)
			ctx, cancel := context.WithTimeout(t.Context(), deadline)
			defer cancel()
			var arrived atomic.Int32
			both := make(chan struct{})
			meet := func(ctx context.Context, deed func() (any, error)) (any, error) {
				if arrived.Add(1) == 2 {
					close(both)
				}
				select {
				case <-both:
					return deed()
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
			b.services.Next(call, meet, meet)
			var drivers sync.WaitGroup
			errs := make([]error, 2)
			for i := range errs {
				drivers.Go(func() { _, errs[i] = b.saga.DriveRefund(ctx, made) })
			}
			drivers.Wait()
			require.NoError(t, errors.Join(errs...))
			require.Equal(t, order.Refunded, b.requireBooks(t, id).Status)
		})
	}
}

// A driver's call takes so long that its lease ends, and the sweeper brings the refund to its end.
func TestRefundOvertaken(t *testing.T) {
	b := setup(t)
	for _, call := range []sagatest.Call{sagatest.Cancel, sagatest.Refund} {
		for name, deedFirst := range map[string]bool{"BeforeItArrives": false, "BeforeItsAnswer": true} {
			t.Run(string(call)+"/"+name, func(t *testing.T) {
				id, made := b.toRefund(t, call)
				b.services.Next(call, func(_ context.Context, deed func() (any, error)) (any, error) {
					if deedFirst {
						_, _ = deed()
					}
					b.timeOut(t)
					require.NoError(t, b.sweeps(t.Context(), id))
					require.Equal(t, refund.Done, b.refund(t, made).Step)
					return deed()
				})
				_, err := b.saga.DriveRefund(t.Context(), made)
				require.NoError(t, err)
				require.Equal(t, order.Refunded, b.requireBooks(t, id).Status)
			})
		}
	}
}

// What a sweep publishes goes by the ids of the request that it came of: the purchase's, or the refund's.
func TestSweepsGoByTheirOrigin(t *testing.T) {
	b := setup(t)
	under := func(name string) context.Context {
		return telemetry.With(t.Context(), telemetry.Trace{
			CorrelationID: name, Parent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", State: "vendor=1",
		})
	}
	sweeper := telemetry.With(t.Context(), telemetry.Trace{Parent: "00-00000000000000000000000000000001-0000000000000001-01"})
	origins := func(id uuid.UUID) map[string]string {
		_, bodies := b.outbox(t, id)
		found := map[string]string{}
		for _, body := range bodies {
			var e struct{ Type, CorrelationID, TraceParent string }
			require.NoError(t, json.Unmarshal(body, &e))
			require.Equal(t, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", e.TraceParent)
			found[e.Type] = e.CorrelationID
		}
		return found
	}
	place := func() uuid.UUID {
		b.newType(5000)
		id, _, err := b.store.Create(under("purchase"), order.Order{
			ID: uuid.New(), UserID: uuid.New(), EventID: b.event, ReservationID: uuid.New(), HolderName: "Ann O'Hara",
			Items: []order.Item{{TicketTypeID: b.typeID, Quantity: quantity}}, Method: order.CreditCard, PaymentToken: sagatest.GoodCard,
		}, uuid.NewString(), []byte("hash"))
		require.NoError(t, err)
		b.services.Next(sagatest.Charge, sagatest.AnswerLost)
		_, err = b.saga.Drive(under("purchase"), id)
		require.ErrorIs(t, err, sidecar.ErrUnavailable)
		return id
	}
	sweep := func() {
		b.timeOut(t)
		_, err := b.saga.Sweep(sweeper)
		require.NoError(t, err)
	}

	t.Run("Purchase", func(t *testing.T) {
		id := place()
		b.services.ExpireAndSellOut(b.typeID)
		sweep()
		b.deliver(t, id)
		sweep()
		require.Equal(t, map[string]string{"PAYMENT_COMPLETED": "purchase", "REFUND_PROCESSED": "purchase"}, origins(id))
	})
	t.Run("Refund", func(t *testing.T) {
		id := place()
		sweep()
		b.deliver(t, id)
		b.ask(under("refund"), t, id, refund.Refund{Whole: true})
		sweep()
		require.Equal(t, map[string]string{"PAYMENT_COMPLETED": "purchase", "REFUND_PROCESSED": "refund"}, origins(id))
	})
}
