package web_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/eventbooking/eventbooking/services/internal/web"
)

func TestHealthReportsEachCheck(t *testing.T) {
	t.Parallel()
	up := func(context.Context) error { return nil }
	down := func(context.Context) error { return errors.New("postgres://user:password@host") }
	hung := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for _, tt := range []struct {
		name                string
		database, states    func(context.Context) error
		code                int
		status              string
		databaseIs, storeIs string
		ready               string
	}{
		{"Up", up, up, 200, "UP", "UP", "UP", "READY"},
		{"Down", down, up, 503, "DOWN", "DOWN", "UP", "NOT_READY"},
		{"Hung", hung, up, 503, "DOWN", "DOWN", "UP", "NOT_READY"},
		{"Degraded", up, down, 503, "DEGRADED", "UP", "DOWN", "NOT_READY"},
		{"DegradedByAHungCheck", up, hung, 503, "DEGRADED", "UP", "DOWN", "NOT_READY"},
		{"DownIsWorseThanDegraded", down, down, 503, "DOWN", "DOWN", "DOWN", "NOT_READY"},
		{"BothHung", hung, hung, 503, "DOWN", "DOWN", "DOWN", "NOT_READY"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, func(r *mux.Router) {
				web.Health(r, web.Check{Name: "database", Probe: tt.database},
					web.Check{Name: "statestore", Probe: tt.states, Degrades: true})
			})

			var got struct {
				Status     string
				Timestamp  time.Time
				Components map[string]string
			}
			began := time.Now()
			res := do(t, newRequest(t, http.MethodGet, server.URL+"/actuator/health", ""), &got)
			require.Less(t, time.Since(began), sidecarTimeout)
			require.Equal(t, tt.code, res.StatusCode)
			require.Equal(t, tt.status, got.Status)
			require.Equal(t, map[string]string{"database": tt.databaseIs, "statestore": tt.storeIs}, got.Components)
			require.WithinDuration(t, time.Now(), got.Timestamp, time.Minute)

			for path, want := range map[string]struct {
				code int
				text string
			}{
				"/actuator/health/ready": {tt.code, tt.ready},
				"/actuator/health/live":  {200, "ALIVE"},
			} {
				res, err := http.DefaultClient.Do(newRequest(t, http.MethodGet, server.URL+path, ""))
				require.NoError(t, err)
				text, err := io.ReadAll(res.Body)
				require.NoError(t, err)
				require.NoError(t, res.Body.Close())
				require.Equal(t, want.code, res.StatusCode)
				require.Equal(t, want.text, string(text))
			}
		})
	}
}

// sidecarTimeout is appHealthProbeTimeout of dapr.yaml.
const sidecarTimeout = 2 * time.Second

// The probe ignores its deadline.
func TestHungProbesDoNotAccumulate(t *testing.T) {
	t.Parallel()
	var probes atomic.Int32
	release := make(chan struct{})
	server := serve(t, func(r *mux.Router) {
		web.Health(r, web.Check{Name: "database", Probe: func(context.Context) error {
			probes.Add(1)
			<-release
			return nil
		}})
	})
	ready := func() error {
		began := time.Now()
		res, err := http.Get(server.URL + "/actuator/health/ready")
		if err != nil {
			return err
		}
		if took := time.Since(began); res.StatusCode != http.StatusServiceUnavailable || took > sidecarTimeout {
			return errors.New(res.Status + " after " + took.String())
		}
		return res.Body.Close()
	}
	for range 2 {
		var callers errgroup.Group
		for range 20 {
			callers.Go(ready)
		}
		require.NoError(t, callers.Wait())
	}
	require.EqualValues(t, 1, probes.Load())
	close(release)
}
