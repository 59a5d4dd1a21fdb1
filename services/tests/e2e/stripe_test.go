package e2e_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// charge is a charge as the Stripe simulator lists it.
type charge struct {
	Status         string            `json:"status"`
	AmountReceived int64             `json:"amountReceived"`
	AmountRefunded int64             `json:"amountRefunded"`
	Metadata       map[string]string `json:"metadata"`
}

// charges returns the charges of an order that received money.
func charges(t *testing.T, order uuid.UUID) []charge {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, system.StripeURL()+"/_charges", http.NoBody)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	var all struct{ Charges []charge }
	require.NoError(t, json.NewDecoder(res.Body).Decode(&all))
	var paid []charge
	for _, c := range all.Charges {
		if c.Metadata["order_id"] == order.String() && c.AmountReceived > 0 {
			paid = append(paid, c)
		}
	}
	return paid
}

// setFaults sets the faults that the Stripe simulator injects, until reset is called or the test ends.
func setFaults(t *testing.T, set map[string]any) (reset func()) {
	t.Helper()
	put := func(method string, body []byte) {
		req, err := http.NewRequest(method, system.StripeURL()+"/_faults", bytes.NewReader(body))
		require.NoError(t, err)
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Less(t, res.StatusCode, 300)
	}
	body, err := json.Marshal(set)
	require.NoError(t, err)
	put(http.MethodPut, body)
	// Once, because another test may have set its own faults by the time this one ends.
	reset = sync.OnceFunc(func() { put(http.MethodDelete, nil) })
	t.Cleanup(reset)
	return reset
}
