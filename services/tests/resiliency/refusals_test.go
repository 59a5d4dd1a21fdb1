package resiliency_test

import (
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// Refusals are normal answers of a service. Between our services they neither open a breaker nor cause a retry. All
// other callers still receive them with the status that the contract requires.
func TestRefusalsDoNotOpenTheBreaker(t *testing.T) {
	eachHop(t, func(t *testing.T, h hop, path string) {
		t.Helper()
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
		endpoint := calls.Endpoint[struct{}, struct{}]{Route: calls.Route{
			App: h.callee, Method: http.MethodPost, Path: path, Refusals: []problem.Kind{problem.Conflict},
		}}
		for range 50 {
			_, err := sidecar.Call(t.Context(), services, endpoint, struct{}{})
			refusal, refused := sidecar.Refusal(err)
			require.True(t, refused)
			require.Equal(t, problem.Conflict, refusal.Kind)
			require.Equal(t, "INSUFFICIENT_INVENTORY", refusal.Code)
		}
		require.EqualValues(t, 50, hits.Load(), "a refusal was retried")

		// A caller that does not use our client receives the plain status, which counts as a failure in its sidecar.
		for range h.trip.after(50) {
			a := call(t, h, path)
			require.Equal(t, http.StatusConflict, a.status)
			require.JSONEq(t, `{"error":"INSUFFICIENT_INVENTORY","message":"Not enough tickets available"}`, a.body)
		}
		require.True(t, call(t, h, path).byBreaker())

		// Our client reports an open breaker as ErrUnavailable.
		_, err = sidecar.Call(t.Context(), services, endpoint, struct{}{})
		require.ErrorIs(t, err, sidecar.ErrUnavailable)
	})
}
