package web_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/web"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	up := func(context.Context) error { return nil }
	down := func(context.Context) error { return errors.New("postgres://user:password@host") }
	hung := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for _, tt := range []struct {
		name  string
		probe func(context.Context) error
		code  int
		word  string
		ready string
	}{
		{"Up", up, 200, "UP", "READY"},
		{"Down", down, 503, "DOWN", "NOT_READY"},
		{"Hung", hung, 503, "DOWN", "NOT_READY"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, func(r *mux.Router) {
				web.Health(r, web.Check{Name: "database", Probe: tt.probe}, web.Check{Name: "other", Probe: up})
			})

			var got struct {
				Status     string
				Timestamp  time.Time
				Components map[string]string
			}
			res := do(t, newRequest(t, http.MethodGet, server.URL+"/actuator/health", ""), &got)
			require.Equal(t, tt.code, res.StatusCode)
			require.Equal(t, tt.word, got.Status)
			require.Equal(t, map[string]string{"database": tt.word, "other": "UP"}, got.Components)
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
