//go:build faults

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

// market is what a round's people trade in: an event with few tickets, and one that is cancelled while it sells.
type market struct {
	demo.Client
	organizer demo.Person
	buyers    []demo.Person
	events    []demo.Event
	types     []demo.TicketType

	attempted, answered, refused, moved atomic.Int64
}

const (
	buyersInARound = 5
	capacity       = 25
	cancelled      = 1 // the event of that index
)

// open brings people and events.
func open(ctx context.Context, c demo.Client) (*market, error) {
	m := &market{Client: c, buyers: make([]demo.Person, buyersInARound)}
	var err error
	if m.organizer, err = c.Join(ctx, "Olivia", "Stone", true); err != nil {
		return nil, err
	}
	for i := range m.buyers {
		if m.buyers[i], err = c.Join(ctx, "Ben", "Ito", false); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"Lakeside Festival", "Rainy Festival"} {
		event, err := c.Draft(ctx, m.organizer, name)
		if err != nil {
			return nil, err
		}
		tickets, err := c.AddTicketType(ctx, m.organizer, event.EventID, "Floor", "49.50", capacity)
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

// trade has everybody buy, give away and give back for a while. In the middle of it the organizer cancels the second
// event. Nobody minds an error: people try again, or go away.
func (m *market) trade(ctx context.Context, seed uint64, during time.Duration) error {
	end := time.Now().Add(during)
	var people errgroup.Group
	for i, buyer := range m.buyers {
		people.Go(func() error {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			for time.Now().Before(end) && ctx.Err() == nil {
				switch random.IntN(6) {
				case 0:
					m.give(ctx, random, buyer)
				default:
					m.buy(ctx, random, buyer)
				}
				// People think, so that there are tickets left when the last fault strikes.
				if err := pause(ctx, time.Duration(random.IntN(400))*time.Millisecond); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	}
	people.Go(func() error {
		if err := pause(ctx, during/2); err != nil {
			return err
		}
		path := "/api/events/" + m.events[cancelled].EventID.String() + "/cancel"
		for {
			err := m.call(ctx, demo.Request{
				Method: http.MethodPost, App: "event-service", Path: path, Token: m.organizer.Token, Body: map[string]string{"reason": "Rain"},
			}, nil)
			if err == nil {
				return nil
			}
			if pauseErr := pause(ctx, time.Second); pauseErr != nil {
				return fmt.Errorf("cancel the event: %w", errors.Join(err, pauseErr))
			}
		}
	})
	return people.Wait()
}

func (m *market) call(ctx context.Context, req demo.Request, out any) error {
	ctx, stop := context.WithTimeout(ctx, callTime)
	defer stop()
	return m.Do(ctx, req, out)
}

// buy places an order, under the same key again where no answer came.
func (m *market) buy(ctx context.Context, random *rand.Rand, buyer demo.Person) {
	which := random.IntN(len(m.events))
	purchase := demo.Purchase{
		Event: m.events[which].EventID, TicketType: m.types[which].TicketTypeID, Quantity: 1 + random.IntN(2),
		Card: demo.GoodCard, Key: uuid.NewString(),
	}
	if random.IntN(4) == 0 {
		purchase.Card = demo.DeclinedCard
	}
	m.attempted.Add(1)
	for range 3 {
		err := m.call(ctx, purchase.Request(buyer), nil)
		refusal, refused := errors.AsType[*demo.Refusal](err)
		switch {
		case err == nil:
			m.answered.Add(1)
			return
		case refused && refusal.Status < http.StatusInternalServerError:
			m.refused.Add(1)
			return
		}
		if pause(ctx, 500*time.Millisecond) != nil {
			return
		}
	}
}

// give gives one of the buyer's tickets to somebody else, or back.
func (m *market) give(ctx context.Context, random *rand.Rand, buyer demo.Person) {
	var mine struct{ Tickets []demo.Ticket }
	if err := m.call(ctx, demo.Request{Method: http.MethodGet, App: "ticket-service", Path: "/api/tickets/mine", Token: buyer.Token}, &mine); err != nil {
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
		if m.call(ctx, req, nil) == nil {
			m.moved.Add(1)
		}
		return
	}
}
