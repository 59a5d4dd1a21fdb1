package calls_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
)

func TestTableHasTheInternalOperationsOfTheDocuments(t *testing.T) {
	t.Parallel()
	var described, listed []string
	for _, service := range contracttest.Services() {
		operations, err := contracttest.Operations(service)
		require.NoError(t, err)
		for _, o := range operations {
			if o.Security == contracttest.ForServices {
				described = append(described, service+" "+o.Method+" "+o.Path)
			}
		}
	}
	for _, r := range calls.Table() {
		listed = append(listed, r.App+" "+r.Method+" "+r.Path)
		require.NotContains(t, r.Callers, r.App, "%s calls itself", r.Path)
		for _, caller := range r.Callers {
			require.Contains(t, contracttest.Services(), caller)
		}
	}
	require.ElementsMatch(t, described, listed)
}

func TestMayAllowsOnlyListedCallers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, service, method, path string
		want                        bool
	}{
		{"Listed", "payment-service", "POST", "/api/tickets/internal/reserve", true},
		{"OtherService", "email-service", "POST", "/api/tickets/internal/reserve", false},
		{"OtherMethod", "payment-service", "GET", "/api/tickets/internal/reserve", false},
		{"OtherRoute", "payment-service", "POST", "/api/tickets/internal/nothing", false},
		{"NoService", "", "POST", "/api/tickets/internal/reserve", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, calls.May(tt.service, tt.method, tt.path))
		})
	}
}
