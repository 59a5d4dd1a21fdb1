package faults_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
)

// callTime is how long people wait for an answer.
const callTime = 15 * time.Second

// market is what a round's people trade in.
type market struct {
	sidecars  []string // where people's calls arrive
	organizer demo.Person
	buyers    []demo.Person
	events    []demo.Event
	types     []demo.TicketType

	attempted, answered, refused, moved, returned atomic.Int64
	lastAnswer                                    atomic.Int64 // when an order was last answered, in nanoseconds
}

const buyersInARound = 6

// The events of a round. People buy as long as it lasts: the large one is never sold out.
var festivals = []struct {
	name     string
	capacity int
}{
	small:     {"Lakeside Festival", 12},
	large:     {"Stadium Festival", 2000},
	cancelled: {"Rainy Festival", 300},
	postponed: {"Windy Festival", 300},
}

const (
	small = iota
	large
	cancelled // in the middle of its sale
	postponed // likewise
)

// open brings people and events. Whom they call is one of the sidecars at each time.
func open(ctx context.Context, sidecars []string) (*market, error) {
	m := &market{sidecars: sidecars, buyers: make([]demo.Person, buyersInARound)}
	c := demo.Client{Sidecar: sidecars[0]}
	var err error
	if m.organizer, err = c.Join(ctx, "Olivia", "Stone", true); err != nil {
		return nil, err
	}
	for i := range m.buyers {
		if m.buyers[i], err = c.Join(ctx, "Ben", "Ito", false); err != nil {
			return nil, err
		}
	}
	for _, f := range festivals {
		event, err := c.Draft(ctx, m.organizer, f.name)
		if err != nil {
			return nil, err
		}
		tickets, err := c.AddTicketType(ctx, m.organizer, event.EventID, "Floor", "49.50", f.capacity)
		if err != nil {
			return nil, err
		}
		if event, err = c.Publish(ctx, m.organizer, event.EventID); err != nil {
			return nil, err
		}
		m.events, m.types = append(m.events, event), append(m.types, tickets)
	}
	return m, nil
}

// trade has everybody buy, give away and give back for a while. Meanwhile the organizer postpones one event and cancels
// another. Nobody minds an error: people try again, or go away.
func (m *market) trade(ctx context.Context, seed uint64, during time.Duration) error {
	end := time.Now().Add(during)
	var people errgroup.Group
	for i, buyer := range m.buyers {
		people.Go(func() error {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			var orders []uuid.UUID
			for time.Now().Before(end) && ctx.Err() == nil {
				switch dice := random.IntN(12); {
				case dice < 2:
					m.give(ctx, random, buyer)
				case dice < 3 && len(orders) > 0:
					m.takeBack(ctx, random, orders[random.IntN(len(orders))], buyer)
				default:
					if id := m.buy(ctx, random, buyer); id != uuid.Nil {
						orders = append(orders, id)
					}
				}
				// People think.
				if err := pause(ctx, time.Duration(random.IntN(600))*time.Millisecond); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	}
	random := rand.New(rand.NewPCG(seed, buyersInARound))
	people.Go(func() error {
		if err := pause(ctx, during/3); err != nil {
			return err
		}
		return m.decide(ctx, random, postponed, "postpone", map[string]any{
			"eventDate": m.events[postponed].EventDate.AddDate(1, 0, 0), "reason": "Storm",
		})
	})
	people.Go(func() error {
		if err := pause(ctx, during/2); err != nil {
			return err
		}
		return m.decide(ctx, random, cancelled, "cancel", map[string]any{"reason": "Rain"})
	})
	return people.Wait()
}

// decide has the organizer do something with an event, again until there is an answer.
func (m *market) decide(ctx context.Context, random *rand.Rand, which int, deed string, body any) error {
	for {
		err := m.call(ctx, random, demo.Request{
			Method: http.MethodPost, App: "event-service", Path: "/api/events/" + m.events[which].EventID.String() + "/" + deed,
			Token: m.organizer.Token, Body: body,
		}, nil)
		if err == nil || final(err) { // such as that it is done: an answer was lost before
			return nil
		}
		if pauseErr := pause(ctx, time.Second); pauseErr != nil {
			return fmt.Errorf("%s the event: %w", deed, errors.Join(err, pauseErr))
		}
	}
}

// final reports whether an error is an answer of ours that another try would not change.
func final(err error) bool {
	refusal, refused := errors.AsType[*demo.Refusal](err)
	return refused && refusal.Status < http.StatusInternalServerError && refusal.Status != http.StatusTooManyRequests && refusal.Code != demo.NotFromApp
}

// call asks one of the sidecars, which may be dead.
func (m *market) call(ctx context.Context, random *rand.Rand, req demo.Request, out any) error {
	ctx, stop := context.WithTimeout(ctx, callTime)
	defer stop()
	return demo.Client{Sidecar: m.sidecars[random.IntN(len(m.sidecars))]}.Do(ctx, req, out)
}

// buy places an order, under the same key again where no answer came. It gives the order's id if there was one.
func (m *market) buy(ctx context.Context, random *rand.Rand, buyer demo.Person) uuid.UUID {
	which := []int{small, large, large, cancelled, postponed}[random.IntN(5)]
	purchase := demo.Purchase{
		Event: m.events[which].EventID, TicketType: m.types[which].TicketTypeID, Quantity: 1 + random.IntN(2),
		Card: demo.GoodCard, Key: uuid.NewString(),
	}
	if random.IntN(6) == 0 {
		purchase.Card = demo.DeclinedCard
	}
	m.attempted.Add(1)
	for range 4 {
		var order demo.Order
		err := m.call(ctx, random, purchase.Request(buyer), &order)
		switch {
		case err == nil:
			m.answered.Add(1)
			m.lastAnswer.Store(time.Now().UnixNano())
			return order.OrderID
		case final(err):
			m.refused.Add(1)
			return uuid.Nil
		}
		if pause(ctx, 500*time.Millisecond) != nil {
			break
		}
	}
	return uuid.Nil
}

// give gives one of the buyer's tickets to somebody else, or back.
func (m *market) give(ctx context.Context, random *rand.Rand, buyer demo.Person) {
	var mine struct{ Tickets []demo.Ticket }
	if err := m.call(ctx, random, demo.Request{Method: http.MethodGet, App: "ticket-service", Path: "/api/tickets/mine", Token: buyer.Token}, &mine); err != nil {
		return
	}
	for _, ticket := range mine.Tickets {
		if ticket.Status != "ACTIVE" {
			continue
		}
		req := demo.Request{Method: http.MethodPost, App: "ticket-service", Path: "/api/tickets/" + ticket.TicketID.String(), Token: buyer.Token}
		if random.IntN(2) == 0 {
			req.Path, req.Body = req.Path+"/cancel", map[string]string{"reason": "Ill"}
		} else {
			req.Path, req.Body = req.Path+"/transfer", map[string]any{"toUserId": m.buyers[random.IntN(len(m.buyers))].UserID}
		}
		if m.call(ctx, random, req, nil) == nil {
			m.moved.Add(1)
		}
		return
	}
}

// takeBack has the organizer give an order's money back, or its buyer ask for that of a postponed event. Whether there
// is anything to give back is the system's to say.
func (m *market) takeBack(ctx context.Context, random *rand.Rand, order uuid.UUID, buyer demo.Person) {
	req := demo.Request{
		Method: http.MethodPost, App: "payment-service", Path: "/api/payments/orders/" + order.String() + "/refunds", Token: m.organizer.Token,
		Header: map[string]string{"Idempotency-Key": uuid.NewString()}, Body: map[string]string{"reason": "Cannot come"},
	}
	if random.IntN(2) == 0 {
		req.Path, req.Token, req.Body = "/api/payments/orders/"+order.String()+"/postponement-refund", buyer.Token, nil
	}
	for range 3 {
		err := m.call(ctx, random, req, nil)
		if err == nil {
			m.returned.Add(1)
		}
		if err == nil || final(err) || pause(ctx, 500*time.Millisecond) != nil {
			return
		}
	}
}
