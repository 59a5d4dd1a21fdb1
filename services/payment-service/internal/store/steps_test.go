package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/events"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
)

// Every method changes an order at its own step, once, and no order at another step.
func TestStepsMoveOnlyFromTheirOwnStep(t *testing.T) {
	b := setup(t)
	for _, s := range steps {
		for from, path := range paths {
			t.Run(s.name+"From"+string(from), func(t *testing.T) {
				o := b.move(t, b.create(t), path...)
				require.Equal(t, from, o.Step)
				before := b.everything(t)
				require.NoError(t, s.move(t.Context(), b.store, o))
				if s.name == "Paid" && from == order.Release { // a late charge is refunded, once
					var refunds int
					for range 2 {
						b.query(t, &refunds, `
							SELECT count(*) FROM refunds WHERE order_id = $1 AND reason = $2 AND amount_minor = $3`,
							o.ID, order.CodePaymentTooLate, o.Total.Minor)
						require.Equal(t, 1, refunds)
						require.NoError(t, s.move(t.Context(), b.store, o))
					}
					require.Equal(t, order.Release, b.order(t, o.ID).Step)
					return
				}
				if from != s.from {
					require.Equal(t, before, b.everything(t))
					return
				}
				moved := b.order(t, o.ID)
				require.Equal(t, s.to, moved.Step)
				require.Equal(t, s.status, moved.Status)
				require.Equal(t, s.to == order.Charge, moved.PaymentToken != "",
					"the payment token is deleted when no charge can be made any more")

				once := b.everything(t)
				require.NotEqual(t, before, once)
				require.NoError(t, s.move(t.Context(), b.store, o))
				require.Equal(t, once, b.everything(t))
			})
		}
	}
}

// The step, the history and the published event are committed together or not at all.
func TestStepsAreAtomic(t *testing.T) {
	b := setup(t)
	publishes := map[string]bool{"Paid": true, "Declined": true, "Refunded": true, "RefundFailed": true}
	for _, s := range steps {
		tables := []string{"saga_events"}
		if publishes[s.name] {
			tables = append(tables, "outbox")
		}
		for _, table := range tables {
			t.Run(s.name+"Without_"+table, func(t *testing.T) {
				o := b.move(t, b.create(t), paths[s.from]...)
				before := b.everything(t)
				b.exec(t, `ALTER TABLE `+table+` ADD CONSTRAINT broken CHECK (false) NOT VALID`)
				err := s.move(t.Context(), b.store, o)
				b.exec(t, `ALTER TABLE `+table+` DROP CONSTRAINT broken`)
				require.Error(t, err)
				require.Equal(t, before, b.everything(t))

				require.NoError(t, s.move(t.Context(), b.store, o), "a retry moves the order")
				require.Equal(t, s.to, b.order(t, o.ID).Step)
			})
		}
	}
}

func TestConcurrentDriversRecordAnOutcomeOnce(t *testing.T) {
	b := setup(t)
	for _, s := range steps {
		t.Run(s.name, func(t *testing.T) {
			o := b.move(t, b.create(t), paths[s.from]...)
			recordedBefore, publishedBefore := b.recorded(t, o.ID)
			errs := make([]error, 8)
			race(len(errs), func(i int) { errs[i] = s.move(t.Context(), b.store, o) })
			for _, err := range errs {
				require.NoError(t, err)
			}
			recorded, published := b.recorded(t, o.ID)
			wantRecorded, wantPublished := 1, 0
			switch s.name {
			case "Reserved", "Unfulfillable": // the outcome, and the payment or refund that begins
				wantRecorded = 2
			case "RefundFailed": // the outcome and the alert; two events, to operations and the buyer
				wantRecorded, wantPublished = 2, 2
			case "Paid", "Declined", "Refunded":
				wantPublished = 1
			}
			require.Equal(t, wantRecorded, recorded-recordedBefore)
			require.Equal(t, wantPublished, published-publishedBefore)
		})
	}
}

func TestAnOrderIsPaidOrDeclined(t *testing.T) {
	b := setup(t)
	for range 8 {
		o := b.move(t, b.create(t), "Reserved")
		errs := make([]error, 2)
		race(2, func(i int) {
			if i == 0 {
				errs[i] = b.store.Paid(t.Context(), o, "pi_1")
				return
			}
			errs[i] = b.store.Declined(t.Context(), o, order.Failure{Code: "INSUFFICIENT_FUNDS"})
		})
		require.NoError(t, errs[0])
		require.NoError(t, errs[1])
		var published []string
		b.query(t, &published, `SELECT array_agg(cloud_event->>'type') FROM outbox WHERE cloud_event->>'subject' = $1`,
			o.ID.String())
		want := map[order.Status]string{
			order.Completed: "PAYMENT_COMPLETED", order.Failed: "PAYMENT_FAILED",
		}[b.order(t, o.ID).Status]
		require.Equal(t, []string{want}, published)
	}
}

// A message takes effect once, however often it is delivered. A message about an unknown order, or one at another step,
// has no effect and no error.
func TestDuplicateMessagesHaveNoEffect(t *testing.T) {
	b := setup(t)
	for name, deliver := range map[string]func(id uuid.UUID, o order.Order) error{
		"Fulfilled": func(id uuid.UUID, o order.Order) error {
			return b.store.Fulfilled(t.Context(), id, events.TicketsGenerated{OrderID: o.ID})
		},
		"Unfulfillable": func(id uuid.UUID, o order.Order) error {
			return b.store.Unfulfillable(t.Context(), id, events.TicketGenerationFailed{
				OrderID: o.ID, Reason: "INSUFFICIENT_INVENTORY",
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			message := uuid.New()
			o := b.move(t, b.create(t), paths[order.Fulfil]...)
			errs := make([]error, 8)
			race(len(errs), func(i int) { errs[i] = deliver(message, o) })
			for _, err := range errs {
				require.NoError(t, err)
			}
			require.NotEqual(t, order.Fulfil, b.order(t, o.ID).Step)
			var recorded, received int
			b.query(t, &recorded, `
				SELECT count(*) FROM saga_events WHERE saga_id = $1 AND saga_type = 'TICKET_PURCHASE'`, o.ID)
			require.Equal(t, 5, recorded)
			b.query(t, &received, `SELECT count(*) FROM inbox WHERE event_id = $1`, message)
			require.Equal(t, 1, received)
		})
		t.Run(name+"OfAnUnknownOrder", func(t *testing.T) {
			require.NoError(t, deliver(uuid.New(), newOrder()))
		})
	}
	t.Run("FailureAfterSuccess", func(t *testing.T) {
		o := b.move(t, b.create(t), paths[order.Done]...)
		require.NoError(t, b.store.Unfulfillable(t.Context(), uuid.New(), events.TicketGenerationFailed{OrderID: o.ID}))
		require.Equal(t, o, withAge(b.order(t, o.ID), o))
	})
}

// withAge returns o with the charge's age of other, the only field that changes by itself.
func withAge(o, other order.Order) order.Order {
	o.ChargeAge = other.ChargeAge
	return o
}

func TestReservedStoresPricesAndChargeTime(t *testing.T) {
	b := setup(t)
	o := newOrder()
	o.Items = append(o.Items, order.Item{TicketTypeID: uuid.New(), Quantity: 1})
	_, _, err := b.store.Create(t.Context(), o, "key", hash)
	require.NoError(t, err)
	require.Zero(t, b.order(t, o.ID).ChargeAge)
	prices := []order.Item{
		{TicketTypeID: o.Items[1].TicketTypeID, Quantity: 1, UnitPrice: money.Of(5000, "USD")},
		{TicketTypeID: o.Items[0].TicketTypeID, Quantity: 2, UnitPrice: money.Of(2500, "USD")},
	}
	expiresAt := time.Now().Add(15 * time.Minute)
	require.NoError(t, b.store.Reserved(t.Context(), o.ID, prices, money.Of(10000, "USD"), expiresAt))

	stored := b.order(t, o.ID)
	require.Equal(t, money.Of(10000, "USD"), stored.Total)
	require.ElementsMatch(t, prices, stored.Items)
	require.WithinDuration(t, time.Now(), stored.ChargeSince, time.Minute)

	t.Run("ChargeAge", func(t *testing.T) {
		for _, age := range []time.Duration{11 * time.Minute, 3 * time.Hour, 49 * time.Hour} {
			b.exec(t, `UPDATE orders SET charge_since = now() - $2::interval WHERE id = $1`, o.ID, age)
			require.InDelta(t, age, b.order(t, o.ID).ChargeAge, float64(time.Minute))
		}
	})
}
