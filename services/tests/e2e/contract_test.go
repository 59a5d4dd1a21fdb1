package e2e_test

import (
	"testing"

	"github.com/eventbooking/eventbooking/services/tests/conformancetest"
	"github.com/eventbooking/eventbooking/services/tests/hostile"
)

func TestContractExamplesGetTheContractsAnswers(t *testing.T) {
	t.Parallel()
	conformancetest.Run(t, system)
}

// Not parallel: the test counts rows, and no other test may add any meanwhile.
func TestHostileRequestsAreRejectedWithoutEffect(t *testing.T) {
	const seed = 2024
	hostile.Run(t, system, seed)
}
