package saga_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/messaging"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/admission"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/store"
)

// deadline bounds what a test waits for.
const deadline = 20 * time.Second

// capacity is how many tickets each type has, quantity how many an order of these tests buys.
const (
	capacity = 10
	quantity = 2
)

type bundle struct {
	pool     *pgxpool.Pool
	store    *store.Store
	services *sagatest.Services
	saga     saga.Saga
	event    uuid.UUID
	typeID   uuid.UUID
}

func setup(t *testing.T) *bundle {
	t.Helper()
	t.Parallel()
	b := &bundle{
		pool:     postgrestest.New(t, messaging.Migrations(), store.Migrations()),
		services: &sagatest.Services{},
		event:    uuid.New(),
	}
	b.store = store.New(b.pool)
	b.saga = saga.Saga{Store: b.store, Services: b.services, Charges: admission.NewPacer(0)}
	b.newType(5000)
	return b
}

// newType puts new tickets on sale; the orders that follow are for these.
func (b *bundle) newType(cents int64) {
	b.typeID = b.services.AddType(b.event, money.Of(cents, "USD"), capacity)
}

// place stores an order and leases it, as the request of a buyer does before it drives it.
func (b *bundle) place(t *testing.T, card string) uuid.UUID {
	t.Helper()
	id, created, err := b.store.Create(t.Context(), order.Order{
		ID: uuid.New(), UserID: uuid.New(), EventID: b.event, ReservationID: uuid.New(), HolderName: "Ann O'Hara",
		Items:  []order.Item{{TicketTypeID: b.typeID, Quantity: quantity}},
		Method: order.CreditCard, PaymentToken: card,
	}, uuid.NewString(), []byte("hash"))
	require.NoError(t, err)
	require.True(t, created)
	return id
}

func (b *bundle) order(t *testing.T, id uuid.UUID) order.Order {
	t.Helper()
	o, err := b.store.Order(t.Context(), id)
	require.NoError(t, err)
	return o
}

// exec changes what only time would change.
func (b *bundle) exec(ctx context.Context, t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := b.pool.Exec(ctx, sql, args...)
	require.NoError(t, err)
}

// timeOut ends every lease and makes every saga due that has a call to make.
func (b *bundle) timeOut(t *testing.T) {
	t.Helper()
	for _, table := range []string{"orders", "refunds"} {
		b.exec(t.Context(), t, `UPDATE `+table+` SET leased_until = '-infinity', resume_at = now() WHERE step NOT IN ('DONE', 'FULFIL')`)
	}
}

// unfinished gives the order's refunds that are under way.
func (b *bundle) unfinished(ctx context.Context, id uuid.UUID) ([]uuid.UUID, error) {
	rows, err := b.pool.Query(ctx, `SELECT id FROM refunds WHERE order_id = $1 AND step <> 'DONE'`, id)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}

// drive is a driver who believes that the order's sagas are his.
func (b *bundle) drive(ctx context.Context, id uuid.UUID) error {
	if _, err := b.saga.Drive(ctx, id); err != nil {
		return err
	}
	refunds, err := b.unfinished(ctx, id)
	for _, r := range refunds {
		_, driven := b.saga.DriveRefund(ctx, r)
		err = errors.Join(err, driven)
	}
	return err
}

// age makes the first attempt of every charge that much older, and the end of all attempts.
func (b *bundle) age(t *testing.T, by time.Duration) {
	t.Helper()
	b.exec(t.Context(), t, `UPDATE orders SET charge_since = charge_since - $1::interval, asking_since = asking_since - $1::interval WHERE step <> 'DONE'`, by)
}

// outbox gives the events about the order, as published.
func (b *bundle) outbox(t *testing.T, id uuid.UUID) (types []string, bodies [][]byte) {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `
		SELECT cloud_event->>'type', cloud_event::text::bytea FROM outbox
		WHERE cloud_event->>'subject' = $1 ORDER BY position`, id.String())
	require.NoError(t, err)
	var eventType string
	var body []byte
	_, err = pgx.ForEachRow(rows, []any{&eventType, &body}, func() error {
		types, bodies = append(types, eventType), append(bodies, append([]byte(nil), body...))
		return nil
	})
	require.NoError(t, err)
	return types, bodies
}

// deliver does what the brokers do, and each delivery twice: our events to ticket-service, and back.
func (b *bundle) deliver(t *testing.T, id uuid.UUID) {
	t.Helper()
	_, bodies := b.outbox(t, id)
	for _, body := range append(bodies, bodies...) {
		answer, err := b.services.Deliver(body)
		require.NoError(t, err)
		if answer.Generated != nil {
			require.NoError(t, b.store.Fulfilled(t.Context(), answer.ID, *answer.Generated))
		}
		if answer.Failed != nil {
			require.NoError(t, b.store.Unfulfillable(t.Context(), answer.ID, *answer.Failed))
		}
	}
}

// peopleReturn is the retry of the buyer, with the same Idempotency-Key, and of whoever asked for a refund.
func (b *bundle) peopleReturn(ctx context.Context, id uuid.UUID) error {
	leased, err := b.store.Lease(ctx, id)
	if err == nil && leased {
		_, err = b.saga.Drive(ctx, id)
	}
	refunds, unread := b.unfinished(ctx, id)
	err = errors.Join(err, unread)
	for _, r := range refunds {
		leased, notLeased := b.store.LeaseRefund(ctx, r)
		err = errors.Join(err, notLeased)
		if leased {
			_, driven := b.saga.DriveRefund(ctx, r)
			err = errors.Join(err, driven)
		}
	}
	return err
}

func (b *bundle) sweeps(ctx context.Context, _ uuid.UUID) error {
	_, err := b.saga.Sweep(ctx)
	return err
}

// settle lets messages arrive and somebody take the saga up again until it has ended.
func (b *bundle) settle(t *testing.T, id uuid.UUID, resume func(ctx context.Context, id uuid.UUID) error) {
	t.Helper()
	for range 20 {
		b.deliver(t, id)
		if b.order(t, id).Step == order.Done {
			b.deliver(t, id)
			return
		}
		b.timeOut(t)
		if err := resume(t.Context(), id); err != nil {
			require.ErrorIs(t, err, sidecar.ErrUnavailable)
		}
	}
	require.Failf(t, "the saga does not end", "%+v", b.order(t, id))
}

// requirePromises asserts what must be true of every order that has ended, whatever happened on the
// way: charged once for exactly the tickets bought, or refunded, or never charged; nothing held any
// more; each event announced once.
func (b *bundle) requirePromises(t *testing.T, id uuid.UUID) order.Order {
	t.Helper()
	o := b.order(t, id)
	require.Equal(t, order.Done, o.Step)
	require.False(t, b.services.Holds(o.ReservationID), "every hold ends")

	charged, refunded := b.services.Money(id)
	tickets := b.services.Tickets(id)
	announced, _ := b.outbox(t, id)
	total := []money.Decimal{o.Total.Decimal()}
	if o.Total.Minor == 0 {
		total = nil
	}
	switch o.Status {
	case order.Completed:
		require.Equal(t, total, charged)
		require.Empty(t, refunded)
		require.Equal(t, map[uuid.UUID]int{o.Items[0].TicketTypeID: quantity}, tickets)
		require.Equal(t, []string{"PAYMENT_COMPLETED"}, announced)
	case order.Refunded:
		require.Equal(t, total, charged)
		require.Equal(t, total, refunded)
		require.Empty(t, tickets)
		require.Equal(t, []string{"PAYMENT_COMPLETED", "REFUND_PROCESSED"}, announced)
	case order.Failed:
		require.Empty(t, charged)
		require.Empty(t, tickets)
		require.NotEmpty(t, o.Failure.Code)
		if o.ChargeSince.IsZero() {
			require.Empty(t, announced)
		} else {
			require.Equal(t, []string{"PAYMENT_FAILED"}, announced)
		}
	case order.Pending:
		require.Fail(t, "an order that has ended is not pending")
	}
	require.Empty(t, o.PaymentToken, "kept no longer than needed")

	history, err := b.store.History(t.Context(), id)
	require.NoError(t, err)
	told := map[string]bool{}
	for _, e := range history {
		require.False(t, told[e.EventType], "%s is told once", e.EventType)
		told[e.EventType] = true
	}
	return o
}

func (b *bundle) story(t *testing.T, id uuid.UUID) []string {
	t.Helper()
	history, err := b.store.History(t.Context(), id)
	require.NoError(t, err)
	var story []string
	for _, e := range history {
		story = append(story, e.EventType+" "+string(e.Status))
	}
	return story
}

func TestBuy(t *testing.T) {
	b := setup(t)
	id := b.place(t, sagatest.GoodCard)
	o, err := b.saga.Drive(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, order.Completed, o.Status)
	require.Equal(t, order.Fulfil, o.Step)
	require.Equal(t, money.Of(10000, "USD"), o.Total)
	require.NotEmpty(t, o.TransactionID)
	require.WithinDuration(t, time.Now(), o.CompletedAt, time.Minute)

	b.deliver(t, id)
	require.Equal(t, order.Completed, b.requirePromises(t, id).Status)
	require.Equal(t, capacity-quantity, b.services.Left(b.typeID))
	require.Equal(t, []string{
		"ORDER_CREATED COMPLETED", "TICKETS_RESERVED COMPLETED", "PAYMENT_STARTED PENDING",
		"PAYMENT_COMPLETED COMPLETED", "TICKETS_GENERATED COMPLETED",
	}, b.story(t, id))
}

// What may not be charged yet waits, and what cannot wait for so long is left to the sweeper, as it is.
func TestChargesAreRare(t *testing.T) {
	b := setup(t)
	first, second := b.place(t, sagatest.GoodCard), b.place(t, sagatest.GoodCard)
	b.saga.Charges = admission.NewPacer(time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := b.saga.Drive(ctx, first)
	require.NoError(t, err)
	o, err := b.saga.Drive(ctx, second)
	require.ErrorIs(t, err, sidecar.ErrUnavailable)
	require.Equal(t, order.Charge, o.Step)
	charged, _ := b.services.Money(second)
	require.Empty(t, charged)

	b.saga.Charges = admission.NewPacer(200 * time.Millisecond)
	require.NoError(t, b.saga.Charges.Wait(t.Context()))
	began := time.Now()
	b.timeOut(t)
	require.NoError(t, b.sweeps(t.Context(), second))
	require.GreaterOrEqual(t, time.Since(began), 100*time.Millisecond)
	b.deliver(t, second)
	require.Equal(t, order.Completed, b.requirePromises(t, second).Status)
}

func TestFreeTickets(t *testing.T) {
	b := setup(t)
	b.newType(0)
	id := b.place(t, sagatest.DeclinedCard) // which nobody asks
	o, err := b.saga.Drive(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, order.Completed, o.Status)
	require.Equal(t, money.Of(0, "USD"), o.Total)
	b.deliver(t, id)
	b.requirePromises(t, id)

	t.Run("NoTicketsAfterAll", func(t *testing.T) {
		id := b.place(t, sagatest.GoodCard)
		_, err := b.saga.Drive(t.Context(), id)
		require.NoError(t, err)
		b.services.ExpireAndSellOut(b.typeID)
		b.settle(t, id, b.sweeps)
		require.Equal(t, order.Refunded, b.requirePromises(t, id).Status)
	})
}

// A refusal of ticket-service's ends the order: nothing is held, nothing is charged.
func TestReserveRefused(t *testing.T) {
	b := setup(t)
	for _, refusal := range []*problem.Error{
		problem.New(problem.Conflict, "INSUFFICIENT_INVENTORY", "Not enough tickets available"),
		problem.New(problem.Conflict, "EVENT_NOT_ON_SALE", "The event is not on sale"),
		problem.New(problem.Conflict, "RESERVATION_ENDED", "The reservation was released or has expired"),
		problem.New(problem.NotFound, "EVENT_NOT_FOUND", "No such event"),
		problem.New(problem.NotFound, "TICKET_TYPE_NOT_FOUND", "This event has no such ticket type"),
		problem.Field("ticketRequests", "ticketRequests must have 1 to 20 entries"),
	} {
		t.Run(refusal.Code, func(t *testing.T) {
			b.services.Next(sagatest.Reserve, sagatest.Refused(refusal))
			id := b.place(t, sagatest.GoodCard)
			o, err := b.saga.Drive(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, order.Failed, o.Status)
			require.Equal(t, order.Failure{Code: refusal.Code, Message: refusal.Message}, o.Failure)
			b.requirePromises(t, id)
			require.Equal(t, []string{"ORDER_CREATED COMPLETED", "RESERVATION_REFUSED FAILED"}, b.story(t, id))
		})
	}
}

// What the gateway will not do ends the order, and the tickets go back.
func TestChargeRefused(t *testing.T) {
	b := setup(t)
	for _, tt := range []struct {
		name, card string
		fault      sagatest.Fault // nil for what the card does
		failure    order.Failure
	}{
		{
			"Declined", sagatest.DeclinedCard, nil,
			order.Failure{Code: "INSUFFICIENT_FUNDS", Message: "Your card has insufficient funds."},
		},
		{
			"UnknownPaymentMethod", "pm_card_nobody", nil,
			order.Failure{Code: "UNKNOWN_PAYMENT_METHOD", Message: "The card processor does not know this payment method"},
		},
		{
			"DeclinedForNow", sagatest.GoodCard,
			sagatest.Answered(map[string]any{
				"status": "DECLINED", "declineCode": "PROCESSING_ERROR", "message": "Try again.", "retryable": true,
			}),
			order.Failure{Code: "PROCESSING_ERROR", Message: "Try again.", Retryable: true},
		},
		{
			"RequestRefused", sagatest.GoodCard,
			sagatest.Refused(problem.New(problem.Unprocessable, "PAYMENT_REQUEST_REFUSED", "Refused")),
			order.Failure{Code: "PAYMENT_REQUEST_REFUSED", Message: "Refused"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.fault != nil {
				b.services.Next(sagatest.Charge, tt.fault)
			}
			id := b.place(t, tt.card)
			o, err := b.saga.Drive(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, order.Failed, o.Status)
			require.Equal(t, tt.failure, o.Failure)
			b.deliver(t, id)
			b.requirePromises(t, id)
			require.Equal(t, capacity, b.services.Left(b.typeID))
			require.Equal(t, []string{
				"ORDER_CREATED COMPLETED", "TICKETS_RESERVED COMPLETED", "PAYMENT_STARTED PENDING",
				"PAYMENT_DECLINED FAILED", "RESERVATION_RELEASED COMPENSATED",
			}, b.story(t, id))
		})
	}
}

// to brings a new order to the step at which it makes the call.
func (b *bundle) to(t *testing.T, call sagatest.Call) uuid.UUID {
	t.Helper()
	card := sagatest.GoodCard
	switch call {
	case sagatest.Reserve:
		return b.place(t, card)
	case sagatest.Charge, sagatest.Ask:
		b.services.Next(sagatest.Charge, sagatest.AnswerLost)
	case sagatest.Release:
		card = sagatest.DeclinedCard
		b.services.Next(sagatest.Release, sagatest.CallLost)
	case sagatest.Refund:
	}
	id := b.place(t, card)
	_, err := b.saga.Drive(t.Context(), id)
	switch call {
	case sagatest.Refund:
		require.NoError(t, err)
		b.services.ExpireAndSellOut(b.typeID)
		b.deliver(t, id)
	case sagatest.Ask:
		require.ErrorIs(t, err, sidecar.ErrUnavailable)
		b.age(t, order.ChargeSearchLag)
	case sagatest.Reserve, sagatest.Charge, sagatest.Release:
		require.ErrorIs(t, err, sidecar.ErrUnavailable)
	}
	b.timeOut(t)
	return id
}

// No refusal that is not about the order, and no answer that is not the contract's, is taken for an
// outcome, and none of it is told to the buyer. The same order ends well once its callee is well.
func TestNotAnAnswer(t *testing.T) {
	b := setup(t)
	refused := func(kind problem.Kind, code string) sagatest.Fault {
		return sagatest.Refused(problem.New(kind, code, "Refused"))
	}
	reserved := func(change map[string]any) sagatest.Fault {
		return func(_ context.Context, deed func() (any, error)) (any, error) {
			answer, err := deed()
			fields, ok := answer.(map[string]any)
			if !ok {
				return nil, errors.Join(err, errors.New("no reservation"))
			}
			for name, value := range change {
				fields[name] = value
			}
			return fields, err
		}
	}
	tickets := func(typeID uuid.UUID, quantity int, price money.Decimal) map[string]any {
		return map[string]any{"tickets": []map[string]any{{"ticketTypeId": typeID, "quantity": quantity, "unitPrice": price}}}
	}
	empty := sagatest.Answered(map[string]any{})

	for _, tt := range []struct {
		name  string
		call  sagatest.Call
		fault func() sagatest.Fault
	}{
		{"ReserveLost", sagatest.Reserve, func() sagatest.Fault { return sagatest.CallLost }},
		{"ReserveAnswerLost", sagatest.Reserve, func() sagatest.Fault { return sagatest.AnswerLost }},
		{"ReserveUnauthenticated", sagatest.Reserve, func() sagatest.Fault { return refused(problem.Unauthenticated, "SERVICE_TOKEN_INVALID") }},
		{"ReserveForbidden", sagatest.Reserve, func() sagatest.Fault { return refused(problem.Forbidden, "SERVICE_FORBIDDEN") }},
		{"ReserveAnswersNothing", sagatest.Reserve, func() sagatest.Fault { return empty }},
		{"ReserveSaysNo", sagatest.Reserve, func() sagatest.Fault { return reserved(map[string]any{"reserved": false}) }},
		{"ReserveWithoutTickets", sagatest.Reserve, func() sagatest.Fault { return reserved(map[string]any{"tickets": []any{}}) }},
		{"ReserveOfOtherTickets", sagatest.Reserve, func() sagatest.Fault { return reserved(tickets(uuid.New(), quantity, "50.00")) }},
		{"ReserveOfTooFew", sagatest.Reserve, func() sagatest.Fault { return reserved(tickets(b.typeID, quantity-1, "50.00")) }},
		{"ReserveWithoutCurrency", sagatest.Reserve, func() sagatest.Fault { return reserved(map[string]any{"currency": ""}) }},
		{"ReserveTooPrecise", sagatest.Reserve, func() sagatest.Fault { return reserved(tickets(b.typeID, quantity, "50.001")) }},
		{"ReserveNegative", sagatest.Reserve, func() sagatest.Fault { return reserved(tickets(b.typeID, quantity, "-50.00")) }},

		{"ChargeSearchLag", sagatest.Charge, func() sagatest.Fault { return sagatest.CallLost }},
		{"ChargeAnswerLost", sagatest.Charge, func() sagatest.Fault { return sagatest.AnswerLost }},
		{"ChargeUnauthenticated", sagatest.Charge, func() sagatest.Fault { return refused(problem.Unauthenticated, "SERVICE_TOKEN_INVALID") }},
		{"ChargeForbidden", sagatest.Charge, func() sagatest.Fault { return refused(problem.Forbidden, "SERVICE_FORBIDDEN") }},
		{"ChargeRouteNotFound", sagatest.Charge, func() sagatest.Fault { return refused(problem.NotFound, "NOT_FOUND") }},
		{"ChargeNotUnderstood", sagatest.Charge, func() sagatest.Fault { return refused(problem.Invalid, "VALIDATION_ERROR") }},
		{"ChargeKeyReused", sagatest.Charge, func() sagatest.Fault { return refused(problem.Conflict, "KEY_REUSED") }},
		{"ChargePending", sagatest.Charge, func() sagatest.Fault { return sagatest.Answered(map[string]any{"status": "PENDING"}) }},
		{"ChargeAnswersNothing", sagatest.Charge, func() sagatest.Fault { return empty }},
		{"ChargeNotFound", sagatest.Charge, func() sagatest.Fault { return sagatest.Answered(map[string]any{"status": "NOT_FOUND"}) }},

		{"AskLost", sagatest.Ask, func() sagatest.Fault { return sagatest.CallLost }},
		{"AskPending", sagatest.Ask, func() sagatest.Fault { return sagatest.Answered(map[string]any{"status": "PENDING"}) }},
		{"AskUnauthenticated", sagatest.Ask, func() sagatest.Fault { return refused(problem.Unauthenticated, "SERVICE_TOKEN_INVALID") }},
		{"AskRouteNotFound", sagatest.Ask, func() sagatest.Fault { return refused(problem.NotFound, "NOT_FOUND") }},
		{"AskRefused", sagatest.Ask, func() sagatest.Fault { return refused(problem.Unprocessable, "PAYMENT_REQUEST_REFUSED") }},
		{"AskInvalid", sagatest.Ask, func() sagatest.Fault { return refused(problem.Invalid, "VALIDATION_ERROR") }},
		{"AskAnswersNothing", sagatest.Ask, func() sagatest.Fault { return empty }},

		{"ReleaseLost", sagatest.Release, func() sagatest.Fault { return sagatest.CallLost }},
		{"ReleaseAnswerLost", sagatest.Release, func() sagatest.Fault { return sagatest.AnswerLost }},
		{"ReleaseForbidden", sagatest.Release, func() sagatest.Fault { return refused(problem.Forbidden, "SERVICE_FORBIDDEN") }},
		{"ReleaseRouteNotFound", sagatest.Release, func() sagatest.Fault { return refused(problem.NotFound, "NOT_FOUND") }},

		{"RefundLost", sagatest.Refund, func() sagatest.Fault { return sagatest.CallLost }},
		{"RefundAnswerLost", sagatest.Refund, func() sagatest.Fault { return sagatest.AnswerLost }},
		{"RefundPending", sagatest.Refund, func() sagatest.Fault { return sagatest.Answered(map[string]any{"status": "PENDING"}) }},
		{"RefundRouteNotFound", sagatest.Refund, func() sagatest.Fault { return refused(problem.NotFound, "NOT_FOUND") }},
		{"RefundKeyReused", sagatest.Refund, func() sagatest.Fault { return refused(problem.Conflict, "KEY_REUSED") }},
		{"RefundAnswersNothing", sagatest.Refund, func() sagatest.Fault { return empty }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.newType(5000)
			id := b.to(t, tt.call)
			before := b.order(t, id)
			story := b.story(t, id)
			b.services.Next(tt.call, tt.fault())
			err := b.drive(t.Context(), id)
			require.ErrorIs(t, err, sidecar.ErrUnavailable)
			require.Equal(t, problem.Unavailable, problem.KindOf(err), "the callee's refusal is not the buyer's")
			after := b.order(t, id)
			after.ChargeAge, after.LookupAge = before.ChargeAge, before.LookupAge // all that time changed
			require.Equal(t, before, after)
			require.Equal(t, story, b.story(t, id))

			leased, err := b.store.Lease(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, before.Step != order.Refund, leased, "the next driver need not wait for the lease to end")
			refunds, err := b.unfinished(t.Context(), id)
			require.NoError(t, err)
			for _, r := range refunds {
				leased, err := b.store.LeaseRefund(t.Context(), r)
				require.NoError(t, err)
				require.True(t, leased)
			}
			b.settle(t, id, b.peopleReturn)
			require.Zero(t, b.services.Pending())
			status := map[sagatest.Call]order.Status{
				sagatest.Reserve: order.Completed, sagatest.Charge: order.Completed, sagatest.Ask: order.Completed,
				sagatest.Release: order.Failed, sagatest.Refund: order.Refunded,
			}[tt.call]
			require.Equal(t, status, b.requirePromises(t, id).Status)
		})
	}
}

// A reserve without an answer is the buyer's to repeat for a minute; then the sweeper gives it up.
func TestAbandoned(t *testing.T) {
	b := setup(t)
	for name, fault := range map[string]sagatest.Fault{"CallLost": sagatest.CallLost, "AnswerLost": sagatest.AnswerLost} {
		t.Run(name, func(t *testing.T) {
			b.services.Next(sagatest.Reserve, fault)
			id := b.place(t, sagatest.GoodCard)
			_, err := b.saga.Drive(t.Context(), id)
			require.ErrorIs(t, err, sidecar.ErrUnavailable)
			n, err := b.saga.Sweep(t.Context())
			require.NoError(t, err)
			require.Zero(t, n, "the buyer has a minute")

			b.settle(t, id, b.sweeps)
			o := b.requirePromises(t, id)
			require.Equal(t, order.Failed, o.Status)
			require.Equal(t, order.CodeAbandoned, o.Failure.Code)
			require.True(t, o.Failure.Retryable)
			require.Equal(t, capacity, b.services.Left(b.typeID))
			require.Equal(t, []string{
				"ORDER_CREATED COMPLETED", "RESERVATION_ABANDONED FAILED", "RESERVATION_RELEASED COMPENSATED",
			}, b.story(t, id))
		})
	}
}

// Once a charge is overdue no new one is made; the gateway tells what became of the old one.
func TestOverdueCharge(t *testing.T) {
	b := setup(t)
	forbidden := func(context.Context, func() (any, error)) (any, error) {
		return nil, errors.New("a new charge was attempted")
	}
	for _, tt := range []struct {
		name, card string
		first      sagatest.Fault // what befalls the one charge that is attempted
		age        time.Duration
		soldOut    bool // the hold ran out meanwhile, and others bought the tickets
		status     order.Status
		code       string
	}{
		{"Succeeded", sagatest.GoodCard, sagatest.AnswerLost, order.ChargeWindow, false, order.Completed, ""},
		{"SucceededTooLate", sagatest.GoodCard, sagatest.AnswerLost, order.ChargeWindow, true, order.Refunded, "INSUFFICIENT_INVENTORY"},
		{"Declined", sagatest.DeclinedCard, sagatest.AnswerLost, order.ChargeWindow, false, order.Failed, "INSUFFICIENT_FUNDS"},
		{"NeverMade", sagatest.GoodCard, sagatest.CallLost, order.ChargeSearchLag, false, order.Failed, order.CodePaymentAbandoned},
		{"NeverMadeAsFarAsItKnows", sagatest.GoodCard, sagatest.CallLost, order.ChargeWindow, false, order.Pending, ""},
		{"PendingForHours", sagatest.PendingCard, sagatest.AnswerLost, order.ChargeSearchLag, false, order.Pending, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.newType(5000)
			b.services.Next(sagatest.Charge, tt.first, forbidden)
			id := b.place(t, tt.card)
			_, err := b.saga.Drive(t.Context(), id)
			require.ErrorIs(t, err, sidecar.ErrUnavailable)
			b.age(t, tt.age)
			if tt.soldOut {
				b.services.ExpireAndSellOut(b.typeID)
			}
			b.timeOut(t)
			_, err = b.saga.Sweep(t.Context())
			require.NoError(t, err)
			o := b.order(t, id)
			if tt.status == order.Pending {
				require.Equal(t, order.Charge, o.Step)
				require.Equal(t, order.Pending, o.Status)
				b.age(t, order.ChargeSearchLag)
				b.services.Settle()
			}
			require.Equal(t, 1, b.services.Pending(), "the gateway was only asked")

			b.settle(t, id, b.sweeps)
			o = b.requirePromises(t, id)
			if tt.status != order.Pending {
				require.Equal(t, tt.status, o.Status)
				require.Equal(t, tt.code, o.Failure.Code)
			}
		})
	}

	// The last attempt may be younger than the first, and the index behind the charge.
	t.Run("FoundLater", func(t *testing.T) {
		b.newType(5000)
		id := b.to(t, sagatest.Charge)
		b.age(t, order.ChargeWindow)
		notYet := sagatest.Answered(map[string]any{"status": "NOT_FOUND", "retryable": true})
		b.services.Next(sagatest.Ask, notYet, notYet)
		b.settle(t, id, b.sweeps)
		require.Zero(t, b.services.Pending())
		require.Equal(t, order.Completed, b.requirePromises(t, id).Status)
	})
}

// "No such charge" is believed once none can be on its way any more, of a gateway that has looked everywhere; and
// one that turns up later goes back. Whatever changes meanwhile, no new charge is attempted.
func TestNoSuchCharge(t *testing.T) {
	b := setup(t)
	// asked is an order whose charge nobody has heard of, with its hold gone, and which was asked about first now.
	asked := func(t *testing.T) uuid.UUID {
		t.Helper()
		b.newType(5000)
		b.services.Next(sagatest.Charge, sagatest.CallLost)
		id := b.place(t, sagatest.GoodCard)
		_, err := b.saga.Drive(t.Context(), id)
		require.ErrorIs(t, err, sidecar.ErrUnavailable)
		b.services.ExpireAndSellOut(b.typeID)
		b.age(t, 2*order.HoldExtendAfter)
		b.timeOut(t)
		require.NoError(t, b.sweeps(t.Context(), id))
		require.Equal(t, order.Charge, b.order(t, id).Step)
		return id
	}
	again := func(t *testing.T, id uuid.UUID) order.Order {
		t.Helper()
		b.timeOut(t)
		require.NoError(t, b.sweeps(t.Context(), id))
		return b.order(t, id)
	}
	t.Run("Believed", func(t *testing.T) {
		id := asked(t)
		b.age(t, order.ChargeMaxInFlight-10*time.Second)
		require.Equal(t, order.Pending, again(t, id).Status, "one may still be on its way")
		b.age(t, 20*time.Second)
		require.Equal(t, order.Failed, again(t, id).Status)
		b.settle(t, id, b.sweeps)
		require.Equal(t, order.CodePaymentAbandoned, b.requirePromises(t, id).Failure.Code)
	})
	t.Run("NotLookedEverywhere", func(t *testing.T) {
		id := asked(t)
		b.age(t, order.ChargeMaxInFlight)
		indexed := sagatest.Answered(map[string]any{"status": "NOT_FOUND", "retryable": true})
		b.services.Next(sagatest.Ask, indexed, indexed)
		require.Equal(t, order.Pending, again(t, id).Status)
		b.age(t, order.ChargeSearchLag)
		require.Equal(t, order.Failed, again(t, id).Status)
		b.settle(t, id, b.sweeps)
		b.requirePromises(t, id)
	})
	t.Run("TheHoldMayBeThereAfterAll", func(t *testing.T) {
		id := asked(t)
		b.services.Next(sagatest.Extend, sagatest.CallLost) // so that nobody says that it is gone
		b.services.Next(sagatest.Charge, sagatest.CallLost)
		require.Equal(t, order.Charge, again(t, id).Step)
		require.Equal(t, 1, b.services.Pending(), "it was only asked about")
		b.age(t, order.ChargeMaxInFlight)
		b.settle(t, id, b.sweeps)
		require.Equal(t, order.Failed, b.requirePromises(t, id).Status)
	})

	// A driver is frozen with its charge in hand, for longer than anybody thinks possible.
	t.Run("Frozen", func(t *testing.T) {
		b.newType(5000)
		id := b.place(t, sagatest.GoodCard)
		b.services.Next(sagatest.Charge, func(_ context.Context, deed func() (any, error)) (any, error) {
			b.age(t, order.ChargeWindow)
			require.Equal(t, order.Pending, again(t, id).Status)
			b.age(t, order.ChargeMaxInFlight)
			require.Equal(t, order.Failed, again(t, id).Status)
			return deed()
		})
		o, err := b.saga.Drive(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, order.Failed, o.Status, "it stays what the buyer was told")
		b.settleRefunds(t, id, b.sweeps)
		charged, refunded := b.services.Money(id)
		require.Equal(t, []money.Decimal{"100.00"}, charged)
		require.Equal(t, charged, refunded)
		require.Contains(t, b.story(t, id), "PAYMENT_TOO_LATE FAILED")
		announced, _ := b.outbox(t, id)
		require.Equal(t, []string{"PAYMENT_FAILED", "REFUND_PROCESSED"}, announced)
	})
}

// While a charge has no answer its hold is kept alive, before each try. Only a hold that is gone keeps a new
// charge from being attempted.
func TestHoldIsKept(t *testing.T) {
	b := setup(t)
	var calls []sagatest.Call
	noted := func(call sagatest.Call, then sagatest.Fault) sagatest.Fault {
		return func(ctx context.Context, deed func() (any, error)) (any, error) {
			calls = append(calls, call)
			if then != nil {
				return then(ctx, deed)
			}
			return deed()
		}
	}
	for _, tt := range []struct {
		name   string
		age    time.Duration
		gone   bool           // others have the tickets
		extend sagatest.Fault // nil for what ticket-service says
		calls  []sagatest.Call
		step   order.Step
	}{
		{"AtOnce", 0, false, nil, []sagatest.Call{sagatest.Charge}, order.Fulfil},
		{"Kept", 2 * order.HoldExtendAfter, false, nil, []sagatest.Call{sagatest.Extend, sagatest.Charge}, order.Fulfil},
		{"KeptToAsk", order.ChargeWindow, false, nil, []sagatest.Call{sagatest.Extend, sagatest.Ask}, order.Charge},
		{"PastTheLimit", order.HoldMaxAge, false, nil, []sagatest.Call{sagatest.Ask}, order.Charge},
		{"Gone", 2 * order.HoldExtendAfter, true, nil, []sagatest.Call{sagatest.Extend, sagatest.Ask}, order.Charge},
		{"Lost", 2 * order.HoldExtendAfter, false, sagatest.CallLost, []sagatest.Call{sagatest.Extend, sagatest.Charge}, order.Fulfil},
		{"AnswerLost", 2 * order.HoldExtendAfter, false, sagatest.AnswerLost, []sagatest.Call{sagatest.Extend, sagatest.Charge}, order.Fulfil},
		{
			"RouteNotFound", 2 * order.HoldExtendAfter, false,
			sagatest.Refused(problem.New(problem.NotFound, "NOT_FOUND", "No such route")),
			[]sagatest.Call{sagatest.Extend, sagatest.Charge},
			order.Fulfil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.newType(5000)
			b.services.Next(sagatest.Charge, sagatest.CallLost)
			id := b.place(t, sagatest.GoodCard)
			_, err := b.saga.Drive(t.Context(), id)
			require.ErrorIs(t, err, sidecar.ErrUnavailable)
			if tt.gone {
				b.services.ExpireAndSellOut(b.typeID)
			}
			b.age(t, tt.age)
			b.timeOut(t)
			calls = nil
			b.services.Next(sagatest.Extend, noted(sagatest.Extend, tt.extend))
			b.services.Next(sagatest.Charge, noted(sagatest.Charge, nil))
			b.services.Next(sagatest.Ask, noted(sagatest.Ask, nil))
			require.NoError(t, b.sweeps(t.Context(), id))
			require.Equal(t, tt.calls, calls)
			require.Equal(t, tt.step, b.order(t, id).Step)
			b.services.Pending()

			b.age(t, order.ChargeSearchLag)
			b.settle(t, id, b.sweeps)
			want := order.Completed
			if tt.step == order.Charge {
				want = order.Failed
			}
			require.Equal(t, want, b.requirePromises(t, id).Status)
		})
	}
}

// A bank that takes its time keeps the order pending, and nobody guesses.
func TestPendingCharge(t *testing.T) {
	b := setup(t)
	id := b.place(t, sagatest.PendingCard)
	o, err := b.saga.Drive(t.Context(), id)
	require.ErrorIs(t, err, sidecar.ErrUnavailable)
	require.Equal(t, order.Pending, o.Status)
	for range 3 {
		b.timeOut(t)
		n, err := b.saga.Sweep(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.Equal(t, order.Pending, b.order(t, id).Status)
	}
	b.services.Settle()
	b.settle(t, id, b.sweeps)
	require.Equal(t, order.Completed, b.requirePromises(t, id).Status)
}

// process is this service, as far as a crash goes: when it dies, nothing it had in hand is stored any
// more.
type process struct {
	b   *bundle
	ctx context.Context // in a struct, since it is the life of the process
	die context.CancelFunc
}

func (b *bundle) start(t *testing.T) *process {
	t.Helper()
	p := &process{b: b}
	p.restart(t)
	return p
}

func (p *process) restart(t *testing.T) {
	t.Helper()
	p.ctx, p.die = context.WithCancel(t.Context())
	t.Cleanup(p.die)
}

// before is a process that dies when its step is stored and its call not made.
func (p *process) before(context.Context, func() (any, error)) (any, error) {
	p.die()
	return nil, sidecar.ErrUnavailable.Because(context.Canceled)
}

// after is a process that dies when the callee has acted and the outcome is not stored.
func (p *process) after(_ context.Context, deed func() (any, error)) (any, error) {
	answer, err := deed()
	p.die()
	return answer, err
}

// The process dies at every point there is, and again there when it resumes; then somebody else takes
// the saga up, the sweeper or the buyer. Whatever it was, the promises hold.
func TestCrash(t *testing.T) {
	b := setup(t)
	type rescuer struct {
		name   string
		resume func(context.Context, uuid.UUID) error
	}
	sweeper, people := rescuer{"Sweeper", b.sweeps}, rescuer{"People", b.peopleReturn}

	for _, story := range []struct {
		name    string
		card    string
		first   map[sagatest.Call]sagatest.Fault // befalls the first driver, who lives on
		between func(t *testing.T)               // happens when the first driver has stopped
		calls   []sagatest.Call                  // at which a process dies
		status  order.Status
	}{
		{name: "Bought", card: sagatest.GoodCard, calls: []sagatest.Call{sagatest.Reserve, sagatest.Charge}, status: order.Completed},
		{name: "Declined", card: sagatest.DeclinedCard, calls: []sagatest.Call{sagatest.Reserve, sagatest.Charge, sagatest.Release}, status: order.Failed},
		{
			name: "SoldOutMeanwhile", card: sagatest.GoodCard, calls: []sagatest.Call{sagatest.Refund}, status: order.Refunded,
			between: func(*testing.T) { b.services.ExpireAndSellOut(b.typeID) },
		},
		{
			name: "ChargedAndForgotten", card: sagatest.GoodCard, calls: []sagatest.Call{sagatest.Ask}, status: order.Completed,
			first:   map[sagatest.Call]sagatest.Fault{sagatest.Charge: sagatest.AnswerLost},
			between: func(t *testing.T) { b.age(t, order.ChargeSearchLag) },
		},
		{
			name: "HeldLonger", card: sagatest.GoodCard, calls: []sagatest.Call{sagatest.Extend, sagatest.Charge}, status: order.Completed,
			first:   map[sagatest.Call]sagatest.Fault{sagatest.Charge: sagatest.CallLost},
			between: func(t *testing.T) { b.age(t, 2*order.HoldExtendAfter) },
		},
		{
			name: "NeverCharged", card: sagatest.GoodCard, calls: []sagatest.Call{sagatest.Ask, sagatest.Release}, status: order.Failed,
			first:   map[sagatest.Call]sagatest.Fault{sagatest.Charge: sagatest.CallLost},
			between: func(t *testing.T) { b.age(t, order.ChargeSearchLag) },
		},
		{
			name: "ChargedForgottenAndSoldOut", card: sagatest.GoodCard, calls: []sagatest.Call{sagatest.Ask, sagatest.Refund}, status: order.Refunded,
			first: map[sagatest.Call]sagatest.Fault{sagatest.Charge: sagatest.AnswerLost},
			between: func(t *testing.T) {
				b.age(t, order.ChargeSearchLag)
				b.services.ExpireAndSellOut(b.typeID)
			},
		},
		{
			name: "Abandoned", card: sagatest.GoodCard, calls: []sagatest.Call{sagatest.Release}, status: order.Failed,
			first: map[sagatest.Call]sagatest.Fault{sagatest.Reserve: sagatest.AnswerLost},
			between: func(t *testing.T) {
				b.services.Next(sagatest.Release, sagatest.CallLost)
				b.timeOut(t)
				require.NoError(t, b.sweeps(t.Context(), uuid.Nil))
			},
		},
	} {
		// run lets the story happen with processes that die at the points, in their order.
		run := func(t *testing.T, rescuer rescuer, plan map[sagatest.Call][]func(*process) sagatest.Fault) order.Order {
			t.Helper()
			b.newType(5000)
			p := b.start(t)
			for call, fault := range story.first {
				b.services.Next(call, fault)
			}
			id := b.place(t, story.card)
			planned := func() {
				for call, deaths := range plan {
					for _, death := range deaths {
						b.services.Next(call, death(p))
					}
				}
			}
			if story.between == nil {
				planned()
			}
			_, _ = p.b.saga.Drive(p.ctx, id)
			if story.between != nil {
				story.between(t)
				planned()
			}
			b.settle(t, id, func(context.Context, uuid.UUID) error {
				if p.ctx.Err() != nil {
					p.restart(t)
				}
				_ = rescuer.resume(p.ctx, id) // a process that dies tells nobody
				return nil
			})
			return b.requirePromises(t, id)
		}

		before := func(p *process) sagatest.Fault { return p.before }
		after := func(p *process) sagatest.Fault { return p.after }
		for _, call := range story.calls {
			for name, death := range map[string]func(*process) sagatest.Fault{"Before": before, "After": after} {
				for _, rescuer := range []rescuer{sweeper, people} {
					t.Run(story.name+"/"+name+string(call)+"/"+rescuer.name, func(t *testing.T) {
						o := run(t, rescuer, map[sagatest.Call][]func(*process) sagatest.Fault{call: {death}})
						require.Zero(t, b.services.Pending(), "the point was reached")
						if call == sagatest.Reserve && rescuer.name == sweeper.name {
							require.Equal(t, order.Failed, o.Status)
							require.Equal(t, order.CodeAbandoned, o.Failure.Code)
							return
						}
						require.Equal(t, story.status, o.Status)
					})
				}
			}
		}
		for _, rescuer := range []rescuer{sweeper, people} {
			t.Run(story.name+"/EveryCallTwice/"+rescuer.name, func(t *testing.T) {
				plan := map[sagatest.Call][]func(*process) sagatest.Fault{}
				for _, call := range story.calls {
					plan[call] = []func(*process) sagatest.Fault{before, after}
				}
				run(t, rescuer, plan)
				b.services.Pending() // whoever gives up at Reserve never comes to the later ones
			})
		}
	}
}

// An outcome and all that goes with it are stored or nothing is: a process that dies in the middle of
// storing it leaves the step to be done again.
func TestCrashWhileStoring(t *testing.T) {
	b := setup(t)
	for _, tt := range []struct {
		name   string
		call   sagatest.Call
		table  string // whose row is the last of the transaction
		status order.Status
	}{
		{"Reserved", sagatest.Reserve, "saga_events", order.Completed},
		{"Paid", sagatest.Charge, "outbox", order.Completed},
		{"PaidOverdue", sagatest.Ask, "outbox", order.Completed},
		{"Released", sagatest.Release, "saga_events", order.Failed},
		{"Refunded", sagatest.Refund, "outbox", order.Refunded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.newType(5000)
			id := b.to(t, tt.call)
			before, story := b.order(t, id), b.story(t, id)
			b.exec(t.Context(), t, `ALTER TABLE `+tt.table+` ADD CONSTRAINT broken CHECK (false) NOT VALID`)
			err := b.drive(t.Context(), id)
			b.exec(t.Context(), t, `ALTER TABLE `+tt.table+` DROP CONSTRAINT broken`)
			require.Error(t, err)
			require.NotErrorIs(t, err, sidecar.ErrUnavailable)
			after := b.order(t, id)
			after.ChargeAge, after.LookupAge = before.ChargeAge, before.LookupAge
			require.Equal(t, before, after)
			require.Equal(t, story, b.story(t, id))

			b.settle(t, id, b.peopleReturn)
			require.Equal(t, tt.status, b.requirePromises(t, id).Status)
		})
	}
}

// Two drivers believe at once that the saga is theirs, and their calls cross.
func TestTwoDrivers(t *testing.T) {
	b := setup(t)
	for _, tt := range []struct {
		call   sagatest.Call
		status order.Status
	}{
		{sagatest.Reserve, order.Completed},
		{sagatest.Charge, order.Completed},
		{sagatest.Ask, order.Completed},
		{sagatest.Release, order.Failed},
		{sagatest.Refund, order.Refunded},
	} {
		t.Run(string(tt.call), func(t *testing.T) {
			b.newType(5000)
			id := b.to(t, tt.call)
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
			b.services.Next(tt.call, meet, meet)

			var drivers sync.WaitGroup
			errs := make([]error, 2)
			for i := range errs {
				drivers.Go(func() { errs[i] = b.drive(ctx, id) })
			}
			drivers.Wait()
			require.NoError(t, errors.Join(errs...))
			b.deliver(t, id)
			require.Equal(t, tt.status, b.requirePromises(t, id).Status)
		})
	}
}

// A driver's call takes so long that its lease ends, and the sweeper drives the saga to its end before
// the call arrives, or before its answer does.
func TestOvertaken(t *testing.T) {
	b := setup(t)
	for _, tt := range []struct {
		call   sagatest.Call
		status order.Status
	}{
		{sagatest.Reserve, order.Failed}, // given up by the sweeper
		{sagatest.Charge, order.Completed},
		{sagatest.Ask, order.Completed},
		{sagatest.Release, order.Failed},
		{sagatest.Refund, order.Refunded},
	} {
		overtake := func(t *testing.T, id uuid.UUID) {
			t.Helper()
			b.timeOut(t)
			require.NoError(t, b.sweeps(t.Context(), id))
			b.deliver(t, id)
			require.Equal(t, order.Done, b.order(t, id).Step)
		}
		for name, fault := range map[string]func(t *testing.T, id uuid.UUID) sagatest.Fault{
			"BeforeItArrives": func(t *testing.T, id uuid.UUID) sagatest.Fault {
				t.Helper()
				return func(_ context.Context, deed func() (any, error)) (any, error) {
					overtake(t, id)
					return deed()
				}
			},
			"BeforeItsAnswer": func(t *testing.T, id uuid.UUID) sagatest.Fault {
				t.Helper()
				return func(_ context.Context, deed func() (any, error)) (any, error) {
					answer, err := deed()
					overtake(t, id)
					return answer, err
				}
			},
			"AndTheAnswerIsLost": func(t *testing.T, id uuid.UUID) sagatest.Fault {
				t.Helper()
				return func(ctx context.Context, deed func() (any, error)) (any, error) {
					overtake(t, id)
					return sagatest.AnswerLost(ctx, deed)
				}
			},
		} {
			t.Run(string(tt.call)+"/"+name, func(t *testing.T) {
				b.newType(5000)
				id := b.to(t, tt.call)
				b.services.Next(tt.call, fault(t, id))
				if err := b.drive(t.Context(), id); err != nil {
					require.ErrorIs(t, err, sidecar.ErrUnavailable)
				}
				require.Equal(t, tt.status, b.requirePromises(t, id).Status)
			})
		}
	}
}

// One sweep takes up all that is due, and one saga that is stuck holds up no other.
func TestSweep(t *testing.T) {
	b := setup(t)
	const sagas = 5
	ids := make([]uuid.UUID, sagas)
	for i := range ids {
		ids[i] = b.to(t, sagatest.Charge)
	}
	b.services.Next(sagatest.Charge, sagatest.CallLost)
	n, err := b.saga.Sweep(t.Context())
	require.NoError(t, err)
	require.Equal(t, sagas, n)
	paid := 0
	for _, id := range ids {
		if b.order(t, id).Status == order.Completed {
			paid++
		}
	}
	require.Equal(t, sagas-1, paid)

	n, err = b.saga.Sweep(t.Context())
	require.NoError(t, err)
	require.Zero(t, n, "the one that got no answer has to wait its turn")
	for _, id := range ids {
		b.settle(t, id, b.sweeps)
		require.Equal(t, order.Completed, b.requirePromises(t, id).Status)
	}
}

// Replicas that sweep at once share the work: no call is made twice, whatever step its saga stands at.
func TestSweepsOfReplicas(t *testing.T) {
	b := setup(t)
	calls := []sagatest.Call{sagatest.Ask, sagatest.Charge, sagatest.Release, sagatest.Refund} // Ask ages all before it
	const each = 4
	ended := map[sagatest.Call]order.Status{
		sagatest.Charge: order.Completed, sagatest.Ask: order.Completed, sagatest.Release: order.Failed, sagatest.Refund: order.Refunded,
	}
	ids := map[sagatest.Call][]uuid.UUID{}
	for _, call := range calls {
		for range each {
			b.newType(5000)
			ids[call] = append(ids[call], b.to(t, call))
		}
	}
	made := map[sagatest.Call]*atomic.Int32{}
	for _, call := range calls {
		made[call] = &atomic.Int32{}
		for range 2 * each {
			b.services.Next(call, func(_ context.Context, deed func() (any, error)) (any, error) {
				made[call].Add(1)
				return deed()
			})
		}
	}
	b.timeOut(t)
	errs, taken := make([]error, 4), make([]int, 4)
	var replicas sync.WaitGroup
	for i := range errs {
		replicas.Go(func() { taken[i], errs[i] = b.saga.Sweep(t.Context()) })
	}
	replicas.Wait()
	require.NoError(t, errors.Join(errs...))
	require.Equal(t, each*len(calls), taken[0]+taken[1]+taken[2]+taken[3])
	for _, call := range calls {
		require.EqualValues(t, each, made[call].Load(), call)
		for _, id := range ids[call] {
			b.settle(t, id, b.sweeps)
			require.Equal(t, ended[call], b.requirePromises(t, id).Status, call)
		}
	}
}

// A sweep whose calls take their time keeps no saga from another replica but those that it drives.
func TestSlowSweep(t *testing.T) {
	b := setup(t)
	const busy = 8
	ids := make([]uuid.UUID, busy+1)
	for i := range ids {
		b.newType(5000)
		ids[i] = b.to(t, sagatest.Charge)
	}
	arrived, goOn := make(chan struct{}, busy), make(chan struct{})
	for range busy {
		b.services.Next(sagatest.Charge, func(ctx context.Context, deed func() (any, error)) (any, error) {
			arrived <- struct{}{}
			select {
			case <-goOn:
				return deed()
			case <-ctx.Done():
				return nil, sidecar.ErrUnavailable.Because(ctx.Err())
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	swept := make(chan error, 1)
	go func() { swept <- b.sweeps(ctx, uuid.Nil) }()
	for range busy {
		select {
		case <-arrived:
		case <-ctx.Done():
			require.Fail(t, "the sweep does not drive as many sagas at once as it should")
		}
	}
	n, err := b.saga.Sweep(t.Context()) // of another replica
	require.NoError(t, err)
	require.Equal(t, 1, n)
	close(goOn)
	require.NoError(t, <-swept)
	for _, id := range ids {
		require.Equal(t, order.Fulfil, b.order(t, id).Step)
	}
}
