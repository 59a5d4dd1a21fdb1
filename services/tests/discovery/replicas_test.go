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

// A sidecar calls a dead one for three seconds at most (deploy/local/config), and retries a call that met one after
// 1.5 s (resiliency/ticket-service.yaml).
const (
	removedWithin = 5 * time.Second
	retryDelay    = 1500 * time.Millisecond
)

func TestPurchasesSurviveADeadReplica(t *testing.T) {
	s := newShop(t)
	replicas := slices.DeleteFunc(slices.Clone(system.Apps()), func(a *stack.App) bool { return a.ID != replicated })
	require.Len(t, replicas, 2)
	dead, bought := replicas[1], 0

	t.Run("WithItsSidecar", func(t *testing.T) {
		buyers := s.startBuyers(t)
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
		require.NoError(t, err, "requests do not reach both replicas")

		killed := time.Now()
		require.NoError(t, dead.Process.Kill())
		require.NoError(t, dead.Sidecar.Kill())
		deals := buyers.await(t, killed.Add(removedWithin), 20)
		slow := slices.DeleteFunc(deals, func(d deal) bool { return d.took < retryDelay })
		require.Less(t, len(slow), 5, "a replica that is still called would slow down half of the purchases")
		bought += buyers.stopAndCheck(t)
	})

	// The replica receives requests again once its callers have reconnected. They try less often the longer it was down.
	require.NoError(t, dead.Sidecar.Start())
	require.NoError(t, dead.Process.Start())
	require.NoError(t, system.WaitHealthy(t.Context()))
	caller := s
	caller.Sidecar = system.App("payment-service").SidecarURL()
	_, err := demo.Await(t.Context(), func() (int, error) {
		// No such event exists. The answer counts as a request all the same, and each path has its own breaker.
		_, _ = caller.Availability(t.Context(), uuid.New())
		return served(t.Context(), dead, "/api/tickets/events/{eventId}/availability")
	}, func(n int) bool { return n > 0 })
	require.NoError(t, err)

	// A sidecar whose app died still receives requests. But an orchestrator restarts a dead replica within the time of
	// three attempts.
	t.Run("ThenRestarted", func(t *testing.T) {
		buyers := s.startBuyers(t)
		killed := time.Now()
		require.NoError(t, dead.Process.Kill())
		require.NoError(t, dead.Process.Start())
		buyers.await(t, killed, 15)
		bought += buyers.stopAndCheck(t)
		require.NoError(t, system.WaitHealthy(t.Context()))
	})

	availability, err := s.Availability(t.Context(), s.event.EventID)
	require.NoError(t, err)
	require.Equal(t, capacity-bought, availability.Of(s.floor.TicketTypeID), "each purchase is of one ticket")
}

// deal is a purchase and its outcome.
type deal struct {
	start  time.Time
	took   time.Duration
	status string
	err    error
}

// buyers buy one ticket after the other in the background.
type buyers struct {
	group errgroup.Group
	stop  context.CancelFunc

	mu    sync.Mutex
	deals []deal
}

func (s shop) startBuyers(t *testing.T) *buyers {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	b := &buyers{stop: stop}
	for range 3 {
		b.group.Go(func() error {
			for ctx.Err() == nil {
				start := time.Now()
				// A purchase that has begun is not cancelled.
				order, err := s.Buy(context.WithoutCancel(ctx), s.buyer, s.purchase())
				b.mu.Lock()
				b.deals = append(b.deals, deal{start, time.Since(start), order.PaymentStatus, err})
				b.mu.Unlock()
				select {
				case <-ctx.Done():
				case <-time.After(700 * time.Millisecond):
				}
			}
			return nil
		})
	}
	t.Cleanup(stop)
	return b
}

// stopAndCheck waits for the last purchase, requires that all of them succeeded, and returns their number.
func (b *buyers) stopAndCheck(t *testing.T) int {
	t.Helper()
	b.stop()
	require.NoError(t, b.group.Wait())
	for _, d := range b.deals {
		require.NoError(t, d.err)
		require.Equal(t, "COMPLETED", d.status)
	}
	return len(b.deals)
}

// since returns the purchases that began at or after then.
func (b *buyers) since(then time.Time) []deal {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(b.deals), func(d deal) bool { return d.start.Before(then) })
}

// await waits for n purchases that began at or after then, and returns them.
func (b *buyers) await(t *testing.T, then time.Time, n int) []deal {
	t.Helper()
	deals, err := demo.Await(t.Context(), func() ([]deal, error) { return b.since(then), nil },
		func(d []deal) bool { return len(d) >= n })
	require.NoError(t, err)
	return deals
}

// served returns the number of requests that a replica has answered, of all routes whose template begins with route.
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
