package httpapi_test

import (
	"testing"

	"github.com/eventbooking/eventbooking/services/auth-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
)

func TestRoutesAreThoseOfTheDocument(t *testing.T) {
	t.Parallel()
	contracttest.Routes(t, httpapi.New(httpapi.Deps{}), "auth-service")
}
