package gateway_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/stripe-simulator/simulator"
	"github.com/eventbooking/eventbooking/services/payment-gateway/internal/gateway"
)

// status returns the status of the simulator's only intent.
func (b *bundle) status() string {
	b.t.Helper()
	charges := b.charges()
	require.Len(b.t, charges, 1)
	return charges[0].Status
}

// authenticate answers the bank's question about an intent.
func (b *bundle) authenticate(id, outcome string) {
	b.t.Helper()
	body := strings.NewReader(url.Values{"outcome": {outcome}}.Encode())
	request, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.url+"/_bank/"+id, body)
	require.NoError(b.t, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultTransport.RoundTrip(request)
	require.NoError(b.t, err)
	require.NoError(b.t, response.Body.Close())
	require.Less(b.t, response.StatusCode, http.StatusBadRequest)
}

func TestSettleBeforeAnyChargePreventsIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for range 2 {
		settled, err := b.Settle(t.Context(), chargeRequest("pm_card_visa"))
		require.NoError(t, err)
		require.Equal(t, gateway.NotFound, settled.Status)
	}
	_, err := b.Charge(t.Context(), chargeRequest("pm_card_visa"))
	require.ErrorIs(t, err, gateway.ErrKeyReused, "a request that was on its way comes too late")
	require.Equal(t, "canceled", b.status())
}

func TestSettleReturnsTheOutcomeOfALostAnswer(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		token  string
		faults simulator.Faults
		status gateway.Status
	}{
		"Charged":              {"pm_card_visa", simulator.Faults{LoseAnswer: 1}, gateway.Succeeded},
		"ChargedAndNotIndexed": {"pm_card_visa", simulator.Faults{LoseAnswer: 1, SearchLagMs: 60_000}, gateway.Succeeded},
		"Declined":             {"pm_card_chargeDeclined", simulator.Faults{LoseAnswer: 1}, gateway.Declined},
		"InternalErrorSaved":   {"pm_card_visa", simulator.Faults{FailAfter: 1}, gateway.Succeeded},
		"InternalErrorSavedAndNotIndexed": {
			"pm_card_visa", simulator.Faults{FailAfter: 1, SearchLagMs: 60_000}, gateway.Succeeded,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.faults(tt.faults)
			_, err := b.Charge(t.Context(), chargeRequest(tt.token))
			require.ErrorIs(t, err, gateway.ErrUnavailable)

			settled, err := b.Settle(t.Context(), chargeRequest(tt.token))
			require.NoError(t, err)
			require.Equal(t, tt.status, settled.Status)
			require.Len(t, b.charges(), 1)
		})
	}
}

func TestSettleAfterTheKeyExpiredSearches(t *testing.T) {
	t.Parallel()
	b := setup(t)
	charged, err := b.Charge(t.Context(), chargeRequest("pm_card_visa"))
	require.NoError(t, err)
	request := chargeRequest("pm_card_visa")
	request.AttemptedSince = time.Now().Add(-48 * time.Hour)
	settled, err := b.Settle(t.Context(), request)
	require.NoError(t, err)
	require.Equal(t, charged, settled)

	request.AttemptKey = "attempt-2"
	settled, err = b.Settle(t.Context(), request)
	require.NoError(t, err)
	require.Equal(t, gateway.NotFound, settled.Status)
	require.Len(t, b.charges(), 1, "no key is used up for an attempt of two days ago")
}

// TestSettleAfterAnUpgrade changes what the original request consisted of, as a new version of this service may.
func TestSettleAfterAnUpgrade(t *testing.T) {
	t.Parallel()
	b := setup(t)
	charged, err := b.Charge(t.Context(), chargeRequest("pm_card_visa"))
	require.NoError(t, err)
	request := chargeRequest("pm_card_visa")
	request.Description = "Another description"
	settled, err := b.Settle(t.Context(), request)
	require.NoError(t, err)
	require.Equal(t, charged, settled)
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	request := chargeRequest("pm_card_authenticationRequired")
	request.ReturnURL = "https://tickets.example/orders/1"
	begin := func(t *testing.T) (*bundle, gateway.Charge) {
		t.Helper()
		b := setup(t)
		waiting, err := b.Charge(t.Context(), request)
		require.NoError(t, err)
		require.Equal(t, gateway.RequiresAction, waiting.Status)
		require.NotEmpty(t, waiting.Action.ClientSecret)
		require.Contains(t, waiting.Action.RedirectURL, "/_bank/"+waiting.TransactionID)
		again, err := b.Charge(t.Context(), request)
		require.NoError(t, err)
		require.Equal(t, waiting, again)
		return b, waiting
	}
	for outcome, want := range map[string]gateway.Status{"authenticate": gateway.Succeeded, "fail": gateway.Declined} {
		t.Run(outcome, func(t *testing.T) {
			t.Parallel()
			b, waiting := begin(t)
			b.authenticate(waiting.TransactionID, outcome)
			got, err := b.Charge(t.Context(), request)
			require.NoError(t, err)
			require.Equal(t, want, got.Status, "a repetition returns the present state")
			settled, err := b.Settle(t.Context(), request)
			require.NoError(t, err)
			require.Equal(t, got, settled)
		})
	}
	t.Run("Abandoned", func(t *testing.T) {
		t.Parallel()
		b, _ := begin(t)
		settled, err := b.Settle(t.Context(), request)
		require.NoError(t, err)
		require.Equal(t, gateway.Declined, settled.Status)
		require.Equal(t, "CANCELED", settled.DeclineCode)
		require.Equal(t, "canceled", b.status(), "the buyer cannot pay any more")
	})
}

func TestUnconfirmedIntent(t *testing.T) {
	t.Parallel()
	t.Run("RepetitionConfirms", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.faults(simulator.Faults{LeaveUnconfirmed: 1, LoseAnswer: 1})
		_, err := b.Charge(t.Context(), chargeRequest("pm_card_visa"))
		require.ErrorIs(t, err, gateway.ErrUnavailable)
		require.Equal(t, "requires_confirmation", b.status())
		got, err := b.Charge(t.Context(), chargeRequest("pm_card_visa"))
		require.NoError(t, err)
		require.Equal(t, gateway.Succeeded, got.Status)
	})
	t.Run("SettleCancels", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.faults(simulator.Faults{LeaveUnconfirmed: 1, LoseAnswer: 1})
		_, err := b.Charge(t.Context(), chargeRequest("pm_card_visa"))
		require.ErrorIs(t, err, gateway.ErrUnavailable)
		got, err := b.Settle(t.Context(), chargeRequest("pm_card_visa"))
		require.NoError(t, err)
		require.Equal(t, gateway.Declined, got.Status)
		require.Equal(t, "canceled", b.status())
	})
	t.Run("ProcessingIsPending", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.faults(simulator.Faults{Process: 1, SettleMs: 300})
		got, err := b.Charge(t.Context(), chargeRequest("pm_card_visa"))
		require.NoError(t, err)
		require.Equal(t, gateway.Pending, got.Status)
		require.Eventually(t, func() bool {
			got, err := b.Settle(t.Context(), chargeRequest("pm_card_visa"))
			return err == nil && got.Status == gateway.Succeeded
		}, 5*time.Second, 20*time.Millisecond)
	})
}

func TestAuthenticationWithoutReturnURLNeedsStripeJS(t *testing.T) {
	t.Parallel()
	waiting, err := setup(t).Charge(t.Context(), chargeRequest("pm_card_authenticationRequired"))
	require.NoError(t, err)
	require.NotEmpty(t, waiting.Action.ClientSecret)
	require.Empty(t, waiting.Action.RedirectURL)
}
