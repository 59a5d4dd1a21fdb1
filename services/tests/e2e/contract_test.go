package e2e_test

import (
	"testing"

	"github.com/eventbooking/eventbooking/services/tests/conformancetest"
	"github.com/eventbooking/eventbooking/services/tests/hostile"
)

func TestTheContractsExamples(t *testing.T) {
	t.Parallel()
	conformancetest.Run(t, system)
}

// Not parallel: it counts rows, which nobody else may add meanwhile.
func TestHostileRequests(t *testing.T) {
	const seed = 2024
	hostile.Run(t, system, seed)
}
