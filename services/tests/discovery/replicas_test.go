package discovery_test

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
	"github.com/eventbooking/eventbooking/deploy/local/stack"
)

// A dead sidecar is called for three seconds at most (deploy/local/config), and a call that met one is repeated after so long
// (resiliency/ticket-service.yaml).
const (
	leftWithin = 5 * time.Second
	repetition = 1500 * time.Millisecond
)

func TestADeadReplicaCostsNoPurchase(t *testing.T) {
	s := newShop(t)
	replicas := slices.DeleteFunc(slices.Clone(system.Apps()), func(a *stack.App) bool { return a.ID != replicated })
	require.Len(t, replicas, 2)
	dead, bought := replicas[1], 0

	t.Run("WithItsSidecar", func(t *testing.T) {
		rush := s.rush(t)
		_, err := demo.Await(t.Context(), func() (least int, err error) {
			least = math.MaxInt
			for _, r := range replicas {
				n, err := served(t.Context(), r, "/api/tickets/internal/reserve")
				if err != nil {
					return 0, err
				}
				least = min(least, n)
			}
			return least, nil
		}, func(least int) bool { return least >= 10 })
		require.NoError(t, err, "calls are spread")

		killed := time.Now()
		require.NoError(t, dead.Process.Kill())
		require.NoError(t, dead.Sidecar.Kill())
		slow := slices.DeleteFunc(rush.await(t, killed.Add(leftWithin), 20), func(d deal) bool { return d.took < repetition })
		require.Less(t, len(slow), 5, "were it still called, it would be for half of them")
		bought += rush.end(t)
	})

	// It is back when its callers have connected again, which they try less often the longer it was away.
	require.NoError(t, dead.Sidecar.Start())
	require.NoError(t, dead.Process.Start())
	require.NoError(t, system.WaitHealthy(t.Context()))
	caller := s
	caller.Sidecar = system.App("payment-service").SidecarURL()
	_, err := demo.Await(t.Context(), func() (int, error) {
		// There is no such event, which is answered too. Each has a path and so a breaker of its own.
		_, _ = caller.Availability(t.Context(), uuid.New())
		return served(t.Context(), dead, "/api/tickets/events/{eventId}/availability")
	}, func(n int) bool { return n > 0 })
	require.NoError(t, err)

	// A sidecar without its app is called further. But whoever runs replicas starts a dead one again, within the time
	// of three attempts.
	t.Run("AndStartedAgain", func(t *testing.T) {
		rush := s.rush(t)
		killed := time.Now()
		require.NoError(t, dead.Process.Kill())
		require.NoError(t, dead.Process.Start())
		rush.await(t, killed, 15)
		bought += rush.end(t)
		require.NoError(t, system.WaitHealthy(t.Context()))
	})

	availability, err := s.Availability(t.Context(), s.event.EventID)
	require.NoError(t, err)
	require.Equal(t, capacity-bought, availability.Of(s.floor.TicketTypeID), "each bought one ticket")
}

// deal is a purchase and what came of it.
type deal struct {
	began  time.Time
	took   time.Duration
	status string
	err    error
}

// rush is people who buy all along.
type rush struct {
	people errgroup.Group
	stop   context.CancelFunc

	mu    sync.Mutex
	deals []deal
}

func (s shop) rush(t *testing.T) *rush {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r := &rush{stop: stop}
	for range 3 {
		r.people.Go(func() error {
			for ctx.Err() == nil {
				began := time.Now()
				// Who has begun to buy waits for the answer.
				order, err := s.Buy(context.WithoutCancel(ctx), s.buyer, s.purchase())
				r.mu.Lock()
				r.deals = append(r.deals, deal{began, time.Since(began), order.PaymentStatus, err})
				r.mu.Unlock()
				select {
				case <-ctx.Done():
				case <-time.After(700 * time.Millisecond):
				}
			}
			return nil
		})
	}
	t.Cleanup(stop)
	return r
}

// end waits for the last purchase, and wants all of them to have succeeded. It tells how many there were.
func (r *rush) end(t *testing.T) int {
	t.Helper()
	r.stop()
	require.NoError(t, r.people.Wait())
	for _, d := range r.deals {
		require.NoError(t, d.err)
		require.Equal(t, "COMPLETED", d.status)
	}
	return len(r.deals)
}

// since gives the purchases that began since then.
func (r *rush) since(then time.Time) []deal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.deals), func(d deal) bool { return d.began.Before(then) })
}

// await waits for so many purchases that began since then, and gives them.
func (r *rush) await(t *testing.T, then time.Time, n int) []deal {
	t.Helper()
	deals, err := demo.Await(t.Context(), func() ([]deal, error) { return r.since(then), nil }, func(d []deal) bool { return len(d) >= n })
	require.NoError(t, err)
	return deals
}

// served counts the requests that a replica has answered, of one route or of all whose template begins so.
func served(ctx context.Context, replica *stack.App, route string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, replica.URL()+"/metrics", nil)
	if err != nil {
		return 0, fmt.Errorf("read the metrics of %s: %w", replica.Name, err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("read the metrics of %s: %w", replica.Name, err)
	}
	defer res.Body.Close()
	total := 0
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, "http_server_request_seconds_count{") || !strings.Contains(line, `route="`+route) {
			continue
		}
		n, err := strconv.Atoi(line[strings.LastIndexByte(line, ' ')+1:])
		if err != nil {
			return 0, fmt.Errorf("%s: %w", line, err)
		}
		total += n
	}
	return total, lines.Err()
}
