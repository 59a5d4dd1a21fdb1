package resiliency_test

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// Refusals are a service's daily business: between our services they neither open a breaker nor are asked again, and yet
// everybody else gets them as the contract has them.
func TestRefusalsOpenNoBreaker(t *testing.T) {
	eachHop(t, func(t *testing.T, h hop, path string) {
		var hits atomic.Int32
		router := web.NewRouter()
		router.Path(path).Handler(web.Handler(func(http.ResponseWriter, *http.Request) error {
			hits.Add(1)
			return problem.New(problem.Conflict, "INSUFFICIENT_INVENTORY", "Not enough tickets available")
		}))
		apps.on(h.callee, path, router.ServeHTTP)

		address, err := url.Parse(sidecars.App(h.caller).SidecarURL())
		require.NoError(t, err)
		port, err := strconv.Atoi(address.Port())
		require.NoError(t, err)
		services, err := sidecar.Connect(t.Context(), h.caller, port, sidecars.GRPCPort(h.caller))
		require.NoError(t, err)
		t.Cleanup(services.Close)
		for range 50 {
			err := services.Call(t.Context(), h.callee, http.MethodPost, path, struct{}{}, nil)
			refusal, ok := errors.AsType[*problem.Error](err)
			require.True(t, ok)
			require.Equal(t, problem.Conflict, refusal.Kind)
			require.Equal(t, "INSUFFICIENT_INVENTORY", refusal.Code)
		}
		require.EqualValues(t, 50, hits.Load(), "asked once each")

		// A caller that does not ask for it gets the plain status, and pays for it: to its sidecar these are failures.
		for range h.trip.after(50) {
			a := call(t, h, path)
			require.Equal(t, http.StatusConflict, a.status)
			require.JSONEq(t, `{"error":"INSUFFICIENT_INVENTORY","message":"Not enough tickets available"}`, a.body)
		}
		require.True(t, call(t, h, path).byBreaker())

		// What our client makes of an open breaker.
		require.ErrorIs(t, services.Call(t.Context(), h.callee, http.MethodPost, path, struct{}{}, nil), sidecar.ErrUnavailable)
	})
}
