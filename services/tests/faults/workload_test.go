package faults_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/services/contracts/money"
)

// callTimeout is how long a client waits for an answer.
const callTimeout = 15 * time.Second

// workload is the users and events of a round, and what the users have done.
type workload struct {
	sidecars  []string // that the users' calls go to
	stripe    string   // URL of the Stripe simulator
	scanner   ed25519.PrivateKey
	count     func(key string, n int)
	organizer demo.Person
	buyers    []demo.Person
	events    []demo.Event
	types     []demo.TicketType

	attempted, answered, refused, ticketsMoved, refunds atomic.Int64

	lastAnswer atomic.Int64 // when an order was last answered, in nanoseconds since 1970
}

const buyersPerRound = 6

// eventSpecs has the events of a round. The large one is never sold out, so that there are purchases during the whole
// round.
var eventSpecs = []struct {
	name         string
	capacity     int
	maxPerPerson int
	startsIn     time.Duration // if it is not the demo's date
}{
	small:     {name: "Lakeside Festival", capacity: 12, maxPerPerson: 3},
	large:     {name: "Stadium Festival", capacity: 2000},
	cancelled: {name: "Rainy Festival", capacity: 300},
	postponed: {name: "Windy Festival", capacity: 300},
	tonight:   {name: "Late Festival", capacity: 300, startsIn: 5 * time.Hour},
}

const (
	small = iota
	large
	cancelled // during the round
	postponed // during the round
	tonight   // its check-in is open
)

// newWorkload registers users and publishes events. Each call of a user will go to a random one of the sidecars. seed
// is the secret with which ticket-service signs the codes of tickets. count counts what happens, by keys of a tally.
func newWorkload(
	ctx context.Context, sidecars []string, stripe, seed string, count func(key string, n int),
) (*workload, error) {
	w := &workload{sidecars: sidecars, stripe: stripe, count: count, buyers: make([]demo.Person, buyersPerRound)}
	key, err := base64.StdEncoding.DecodeString(seed)
	if err != nil {
		return nil, fmt.Errorf("read the key of the codes: %w", err)
	}
	w.scanner = ed25519.NewKeyFromSeed(key)
	c := demo.Client{Sidecar: sidecars[0]}
	if w.organizer, err = c.Join(ctx, "Olivia", "Stone", true); err != nil {
		return nil, err
	}
	for i := range w.buyers {
		if w.buyers[i], err = c.Join(ctx, "Ben", "Ito", false); err != nil {
			return nil, err
		}
	}
	for _, spec := range eventSpecs {
		event, err := c.Draft(ctx, w.organizer, spec.name)
		if err != nil {
			return nil, err
		}
		if spec.startsIn > 0 {
			if err := startIn(ctx, c, w.organizer, event, spec.startsIn); err != nil {
				return nil, err
			}
		}
		tickets, err := c.AddTicketType(ctx, w.organizer, event.EventID, "Floor", "49.50", spec.capacity)
		if err != nil {
			return nil, err
		}
		if spec.maxPerPerson > 0 {
			if err := c.Do(ctx, demo.Request{
				Method: http.MethodPatch, App: "ticket-service", Path: "/api/tickets/types/" + tickets.TicketTypeID.String(),
				Token: w.organizer.Token, Body: map[string]int{"maxPerPerson": spec.maxPerPerson},
			}, nil); err != nil {
				return nil, err
			}
		}
		if event, err = c.Publish(ctx, w.organizer, event.EventID); err != nil {
			return nil, err
		}
		w.events, w.types = append(w.events, event), append(w.types, tickets)
	}
	return w, nil
}

// run lets every buyer buy, transfer, cancel and refund tickets for a time, while the organizer postpones one event,
// moves it to another venue, and cancels another. Errors of single calls do not matter: users retry or give up.
func (w *workload) run(ctx context.Context, seed uint64, during time.Duration) error {
	end := time.Now().Add(during)
	var users errgroup.Group
	for i, buyer := range w.buyers {
		users.Go(func() error {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			var orders []uuid.UUID
			for time.Now().Before(end) && ctx.Err() == nil {
				switch dice := random.IntN(12); {
				case dice < 2:
					w.moveTicket(ctx, random, buyer)
				case dice < 4 && len(orders) > 0:
					w.refund(ctx, random, orders[random.IntN(len(orders))], buyer)
				default:
					if id := w.buy(ctx, random, buyer); id != uuid.Nil {
						orders = append(orders, id)
					}
				}
				// The think time of a user.
				if err := pause(ctx, time.Duration(random.IntN(600))*time.Millisecond); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	}
	random := rand.New(rand.NewPCG(seed, buyersPerRound))
	users.Go(func() error {
		if err := pause(ctx, during/3); err != nil {
			return err
		}
		return w.changeEvent(ctx, random, postponed, "postpone", map[string]any{
			"eventDate": w.events[postponed].EventDate.AddDate(1, 0, 0), "reason": "Storm",
		})
	})
	users.Go(func() error {
		if err := pause(ctx, during/2); err != nil {
			return err
		}
		return w.changeEvent(ctx, random, cancelled, "cancel", map[string]any{"reason": "Rain"})
	})
	users.Go(func() error {
		random := rand.New(rand.NewPCG(seed, buyersPerRound+1))
		for _, venue := range []string{"Barn", "Town Hall"} {
			if err := pause(ctx, during/4); err != nil {
				return err
			}
			// Without an answer after a while, the organizer gives up.
			_ = w.call(ctx, random, demo.Request{
				Method: http.MethodPatch, App: "event-service",
				Path:  "/api/events/" + w.events[postponed].EventID.String(),
				Token: w.organizer.Token, Body: map[string]string{"venueName": venue},
			}, nil)
		}
		return nil
	})
	return users.Wait()
}

// changeEvent sends an action of the organizer, and retries until it is answered.
func (w *workload) changeEvent(ctx context.Context, random *rand.Rand, which int, action string, body any) error {
	for {
		err := w.call(ctx, random, demo.Request{
			Method: http.MethodPost, App: "event-service",
			Path:  "/api/events/" + w.events[which].EventID.String() + "/" + action,
			Token: w.organizer.Token, Body: body,
		}, nil)
		if err == nil || final(err) { // a refusal means that an earlier attempt took effect and its answer was lost
			return nil
		}
		if pauseErr := pause(ctx, time.Second); pauseErr != nil {
			return fmt.Errorf("%s the event: %w", action, errors.Join(err, pauseErr))
		}
	}
}

// final reports whether an error is an answer of an app that a retry would not change.
func final(err error) bool {
	refusal, refused := errors.AsType[*demo.Refusal](err)
	return refused && refusal.Status < http.StatusInternalServerError &&
		refusal.Status != http.StatusTooManyRequests && refusal.Code != demo.NotFromApp
}

// call sends a request to a random sidecar, which may be down.
func (w *workload) call(ctx context.Context, random *rand.Rand, req demo.Request, out any) error {
	ctx, stop := context.WithTimeout(ctx, callTimeout)
	defer stop()
	return demo.Client{Sidecar: w.sidecars[random.IntN(len(w.sidecars))]}.Do(ctx, req, out)
}

// buy places an order, and retries with the same idempotency key while there is no answer. It returns the order's id,
// or uuid.Nil if the order was refused or never answered.
func (w *workload) buy(ctx context.Context, random *rand.Rand, buyer demo.Person) uuid.UUID {
	which := []int{small, large, large, cancelled, postponed, tonight}[random.IntN(6)]
	purchase := demo.Purchase{
		Event: w.events[which].EventID, TicketType: w.types[which].TicketTypeID, Quantity: 1 + random.IntN(2),
		Card: demo.GoodCard, Key: uuid.NewString(),
	}
	switch random.IntN(6) {
	case 0:
		purchase.Card = demo.DeclinedCard
	case 1:
		purchase.Card = demo.AuthenticatedCard
		if random.IntN(2) == 0 {
			purchase.ReturnURL = "https://shop.example/paid"
		}
	}
	w.attempted.Add(1)
	for range 4 {
		var order demo.Order
		err := w.call(ctx, random, purchase.Request(buyer), &order)
		switch {
		case err == nil:
			w.answered.Add(1)
			w.lastAnswer.Store(time.Now().UnixNano())
			if purchase.Card == demo.AuthenticatedCard {
				w.authenticate(ctx, random, buyer, order)
			}
			return order.OrderID
		case final(err):
			w.refused.Add(1)
			return uuid.Nil
		}
		if pause(ctx, 500*time.Millisecond) != nil {
			break
		}
	}
	return uuid.Nil
}

// authenticate answers the bank that asks the buyer about the payment of an order: yes, no or nothing.
func (w *workload) authenticate(ctx context.Context, random *rand.Rand, buyer demo.Person, order demo.Order) {
	read := demo.Request{
		Method: http.MethodGet, App: "payment-service", Path: "/api/payments/orders/" + order.OrderID.String(),
		Token: buyer.Token,
	}
	for range 4 { // the charge may not have been made yet
		if order.PaymentStatus != "PENDING" || pause(ctx, time.Second) != nil {
			break
		}
		_ = w.call(ctx, random, read, &order)
	}
	if order.PaymentStatus != "REQUIRES_ACTION" || order.Action == nil {
		return
	}
	answer := []string{bankYes, bankYes, bankNo, bankNothing}[random.IntN(4)]
	if answer != bankNothing && answerBank(ctx, w.stripe, *order.Action, answer) != nil {
		answer = bankNothing // or the bank's own answer was lost
	}
	w.count("bank "+answer, 1)
}

// moveTicket cancels one of the buyer's tickets, transfers it to another buyer, or uses it if its event is tonight.
func (w *workload) moveTicket(ctx context.Context, random *rand.Rand, buyer demo.Person) {
	var mine struct{ Tickets []demo.Ticket }
	list := demo.Request{Method: http.MethodGet, App: "ticket-service", Path: "/api/tickets/mine", Token: buyer.Token}
	if err := w.call(ctx, random, list, &mine); err != nil {
		return
	}
	for _, ticket := range mine.Tickets {
		if ticket.Status != "ACTIVE" {
			continue
		}
		if ticket.TicketTypeID == w.types[tonight].TicketTypeID {
			w.checkIn(ctx, random, ticket)
			return
		}
		req := demo.Request{
			Method: http.MethodPost, App: "ticket-service", Path: "/api/tickets/" + ticket.TicketID.String(), Token: buyer.Token,
		}
		if random.IntN(2) == 0 {
			req.Path, req.Body = req.Path+"/cancel", map[string]string{"reason": "Ill"}
		} else {
			receiver := w.buyers[random.IntN(len(w.buyers))]
			req.Path, req.Body = req.Path+"/transfer", map[string]any{"toUserId": receiver.UserID}
		}
		if w.call(ctx, random, req, nil) == nil {
			w.ticketsMoved.Add(1)
		}
		return
	}
}

// The keys of a tally that count check-ins.
const (
	checkedIn = "checked in"
	undone    = "check-ins undone"
)

// checkIn scans the code of a ticket at the gate. Some check-ins are undone.
func (w *workload) checkIn(ctx context.Context, random *rand.Rand, ticket demo.Ticket) {
	code, err := checkInCode(w.scanner, ticket.TicketID, w.events[tonight].EventID)
	if err != nil {
		return
	}
	req := demo.Request{
		Method: http.MethodPost, App: "ticket-service", Path: "/api/tickets/check-in", Token: w.organizer.Token,
		Body: map[string]string{"code": code, "gate": "North"},
	}
	if w.call(ctx, random, req, nil) != nil {
		return
	}
	w.count(checkedIn, 1)
	if random.IntN(2) == 0 {
		req.Path = "/api/tickets/" + ticket.TicketID.String() + "/check-in/undo"
		req.Body = map[string]string{"reason": "Scanned by mistake"}
		if w.call(ctx, random, req, nil) == nil {
			w.count(undone, 1)
		}
	}
}

// checkInCode returns the code of a ticket that was never transferred.
func checkInCode(key ed25519.PrivateKey, ticket, event uuid.UUID) (string, error) {
	return jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
		"sub": ticket.String(), "aud": "check-in", "evt": event.String(), "ver": 1,
	}).SignedString(key)
}

// startIn gives a draft a date in the near future.
func startIn(ctx context.Context, c demo.Client, organizer demo.Person, event demo.Event, in time.Duration) error {
	date := time.Now().Add(in).UTC().Truncate(time.Second)
	return c.Do(ctx, demo.Request{
		Method: http.MethodPatch, App: "event-service", Path: "/api/events/" + event.EventID.String(),
		Token: organizer.Token, Body: map[string]any{"eventDate": date, "endDate": date.Add(3 * time.Hour)},
	}, nil)
}

// refund requests the refund of an order or of an amount, either as the organizer, or as an owner of tickets because
// the event is postponed. The system refuses the request if there is nothing to refund.
func (w *workload) refund(ctx context.Context, random *rand.Rand, order uuid.UUID, buyer demo.Person) {
	path := "/api/payments/orders/" + order.String()
	req := demo.Request{
		Method: http.MethodPost, App: "payment-service", Path: path + "/refunds", Token: w.organizer.Token,
		Header: map[string]string{"Idempotency-Key": uuid.NewString()}, Body: map[string]string{"reason": "Cannot come"},
	}
	switch random.IntN(4) {
	case 0:
		if random.IntN(2) == 0 { // who may have got a ticket of the order
			buyer = w.buyers[random.IntN(len(w.buyers))]
		}
		req.Path, req.Token, req.Body = path+"/postponement-refund", buyer.Token, nil
	case 1: // the price of one ticket, which is the whole price of some orders
		req.Body = map[string]any{"reason": "Bad seat", "amount": money.Decimal("49.50")}
	}
	for range 3 {
		err := w.call(ctx, random, req, nil)
		if err == nil {
			w.refunds.Add(1)
		}
		if err == nil || final(err) || pause(ctx, 500*time.Millisecond) != nil {
			return
		}
	}
}
