package httpapi_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/order"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga/sagatest"
)

// stock is the number of tickets of each type in TestNoRequestLeavesAnOrderPending. Some types sell out.
const stock = 400

// offer is an event with its ticket types, which have the same currency, as all types of an event have.
type offer struct {
	event  uuid.UUID
	types  []uuid.UUID
	prices []money.Amount
}

// requests generates requests to place an order: valid ones, and ones with every kind of defect.
type requests struct {
	*rand.Rand
	offers []offer
}

// offersIn returns an event for each currency, with prices on both sides of every limit. Prices that cannot be sold for
// may have been stored before the limits existed.
func (b *bundle) offersIn(currencies map[money.Currency][]int64) []offer {
	var offers []offer
	for _, currency := range slices.Sorted(maps.Keys(currencies)) {
		o := offer{event: uuid.New()}
		for _, minor := range currencies[currency] {
			price := money.Of(minor, currency)
			id := b.services.AddType(o.event, price, stock)
			o.types, o.prices = append(o.types, id), append(o.prices, price)
		}
		b.services.LimitPerPerson(o.types[len(o.types)-1], 150)
		if minor := currencies[currency]; len(minor)%2 == 1 {
			b.services.SkipTotalCheck(o.types[len(minor)/2])
		}
		offers = append(offers, o)
	}
	return offers
}

// one returns one of the values.
func one[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }

// hostile are strings that have broken other systems.
var hostile = []string{
	"", " ", "\t\n", "\x00", "null", "undefined", "Ann\u202eO'Hara", "'; DROP TABLE orders; --",
	"<script>alert(1)</script>",
	"../../etc/passwd", "%00%0a", "{{.}}", "\u0000\ufffd\uffff", "ǻ", "😀🎫", "4242 4242 4242 4242", "-1", "1e309",
	strings.Repeat("a", 201), strings.Repeat("😀", 201), strings.Repeat("a", 256), strings.Repeat("a", 10_000),
}

// request returns the body of a request.
func (r requests) request() []byte {
	o := one(r.Rand, r.offers...)
	fields := map[string]any{
		"eventId": o.event, "paymentMethod": "CREDIT_CARD", "paymentToken": one(r.Rand,
			sagatest.GoodCard, sagatest.GoodCard, sagatest.GoodCard, sagatest.DeclinedCard, sagatest.PendingCard,
			sagatest.SecuredCard, "pm_card_unknown", "tok_visa", "pm_"+strings.Repeat("a", 250)),
	}
	var items []map[string]any
	total := money.Of(0, o.prices[0].Currency)
	for _, i := range r.Perm(len(o.types))[:1+r.IntN(min(3, len(o.types)))] {
		quantity := one(r.Rand, 1, 2, 3, 50, 99, 100)
		items = append(items, map[string]any{"ticketTypeId": o.types[i], "quantity": quantity})
		total = total.Plus(o.prices[i].Times(quantity))
	}
	fields["ticketRequests"] = items
	if r.IntN(3) == 0 {
		fields["expectedTotal"] = one[any](r.Rand, total.Decimal(), total.Plus(total).Decimal(), json.Number("0"),
			json.Number("-1"), json.Number("1e2"), json.Number("0.0001"), json.Number("99999999999999999999"), "100", nil)
	}
	if r.IntN(3) == 0 {
		fields["returnUrl"] = one(r.Rand, "https://shop.example.com/paid?order=7", "http://localhost:3000",
			"https://shop.example.com/"+strings.Repeat("a", 450), "https://shop.example.com/"+strings.Repeat("a", 500),
			"https://shop.example.com/bezahlt/ä", "javascript:alert(1)", "https://user:secret@example.com",
			one(r.Rand, hostile...))
	}
	if r.IntN(4) == 0 { // a defect
		defect := one(r.Rand, hostile...)
		switch r.IntN(8) {
		case 0:
			fields["holderName"] = defect
		case 1:
			fields["paymentToken"] = defect
		case 2:
			fields["eventId"] = one[any](r.Rand, uuid.New(), uuid.Nil, defect, 7)
		case 3:
			fields[one(r.Rand, "promoCode", "maxPerPerson", "totalAmount", "status", defect)] = one[any](r.Rand, defect, 1)
		case 4:
			items[0]["quantity"] = one[any](r.Rand, 0, -1, 101, 1.5, json.Number("1e30"), defect, nil)
		case 5:
			items[0]["ticketTypeId"] = one[any](r.Rand, uuid.New(), uuid.Nil, defect)
		case 6:
			fields["paymentMethod"] = one(r.Rand, "PAYPAL", "credit_card", defect)
		default:
			fields["ticketRequests"] = one[any](r.Rand, nil, []any{}, slices.Repeat(items, 21), slices.Repeat(items, 2), defect)
		}
	}
	body, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	switch r.IntN(40) {
	case 0:
		return body[:r.IntN(len(body))]
	case 1:
		return bytes.Replace(body, []byte("CREDIT_CARD"), []byte("\xff\xfe"), 1)
	}
	return body
}

// Whatever a request contains: with all dependencies up it gets an answer at once, and its order is neither pending nor
// holds tickets once the time of a charge has passed.
func TestNoRequestLeavesAnOrderPending(t *testing.T) {
	b := setup(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	offers := b.offersIn(map[money.Currency][]int64{
		"USD": {0, 49, 50, 4950, 1_000_000, 99_999_999, 100_000_000},
		"INR": {50, 1_000_000, 99_999_999},
		"JPY": {0, 10, 50, 999_999, 99_999_999},
		"KWD": {1230, 1235, 99_999_990},
		"HUF": {17_500, 2_500_000},
		"IDR": {150_000_000, 999_999_999_999},
		"MGA": {10_050, 10_000},
		"BTN": {100_000},
	})
	const count, workers = 400, 8
	var sending errgroup.Group
	for worker := range workers {
		r := requests{rand.New(rand.NewPCG(seed, uint64(worker))), offers}
		header := b.withKey(t, uuid.NewString())
		sending.Go(func() error {
			for range count / workers {
				if r.IntN(10) > 0 { // otherwise the key of the request before
					header.Set("Idempotency-Key", uuid.NewString())
				}
				body := r.request()
				a, err := b.try(t.Context(), http.MethodPost, orders, string(body), header.Clone())
				if err != nil {
					return err
				}
				if err := settledOrWaiting(a); err != nil {
					return fmt.Errorf("%w: the answer to %.500s is %d %s", err, body, a.status, a.body)
				}
			}
			return nil
		})
	}
	require.NoError(t, sending.Wait())

	sweep := func() {
		_, err := b.pool.Exec(t.Context(),
			`UPDATE orders SET leased_until = '-infinity', resume_at = now() WHERE step NOT IN ('DONE', 'FULFIL')`)
		require.NoError(t, err)
		_, err = b.deps.Saga.Sweep(t.Context())
		require.NoError(t, err)
	}
	pending := func() (n int) {
		require.NoError(t, b.pool.QueryRow(t.Context(), `
			SELECT count(*) FROM orders WHERE status = 'PENDING' AND action_client_secret IS NULL`).Scan(&n))
		return n
	}
	b.services.SettleCharges() // the time of a charge has passed
	sweep()
	require.Zero(t, pending(), "orders that do not wait for the buyer")

	_, err := b.pool.Exec(t.Context(), `UPDATE orders SET charge_since = charge_since - $1::interval`, order.ChargeWindow)
	require.NoError(t, err)
	sweep()
	b.requireSettled(t, offers)
}

// settledOrWaiting returns an error unless the answer is one that a client can act on: the order is paid, was refused
// in the contract's form, or waits for the buyer or for the bank that processes the charge.
func settledOrWaiting(a answer) error {
	var fields struct{ Error, Message, PaymentStatus string }
	if err := json.Unmarshal([]byte(a.body), &fields); err != nil {
		return err
	}
	switch a.status {
	case http.StatusCreated, http.StatusAccepted:
		if fields.PaymentStatus == "" {
			return errors.New("no status")
		}
		return nil
	case http.StatusBadRequest, http.StatusPaymentRequired, http.StatusNotFound, http.StatusConflict,
		http.StatusUnprocessableEntity:
		if fields.Error == "" || fields.Message == "" {
			return errors.New("not the form of an error")
		}
		return nil
	}
	return errors.New("unexpected status")
}

// requireSettled asserts that no order is pending, that exactly the tickets of paid orders are not for sale, and that
// exactly the paid orders were charged, once.
func (b *bundle) requireSettled(t *testing.T, offers []offer) {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `
		SELECT id, reservation_id, status, step, coalesce(failure_code, '') FROM orders`)
	require.NoError(t, err)
	type row struct {
		ID, ReservationID uuid.UUID
		Status            order.Status
		Step              order.Step
		Failure           string
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
	require.NoError(t, err)
	statuses := map[string]int{}
	for _, o := range all {
		statuses[string(o.Status)+" "+o.Failure]++
		charged, refunded := b.services.Money(o.ID)
		require.Empty(t, refunded)
		if o.Status == order.Failed {
			require.Equal(t, order.Done, o.Step)
			require.False(t, b.services.Holds(o.ReservationID), "%+v", o)
			require.Empty(t, charged)
			continue
		}
		require.Equal(t, order.Completed, o.Status, "%+v", o)
		require.LessOrEqual(t, len(charged), 1) // none for a free order
	}
	t.Log(statuses)
	require.Greater(t, statuses["COMPLETED "], 5, "the requests are too hostile to test anything")

	var sold int
	require.NoError(t, b.pool.QueryRow(t.Context(), `
		SELECT coalesce(sum(quantity), 0) FROM order_items JOIN orders o ON o.id = order_id
		WHERE o.status = 'COMPLETED'`).Scan(&sold))
	taken := 0
	for _, o := range offers {
		for _, id := range o.types {
			taken += stock - b.services.Left(id)
		}
	}
	require.Equal(t, sold, taken, "tickets of refused orders are for sale again")
}
