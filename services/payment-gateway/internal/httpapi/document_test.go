package httpapi_test

import (
	"testing"

	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
	"github.com/eventbooking/eventbooking/services/payment-gateway/internal/httpapi"
)

func TestRoutesAreThoseOfTheDocument(t *testing.T) {
	t.Parallel()
	contracttest.Routes(t, httpapi.New(httpapi.Deps{}), "payment-gateway")
}
