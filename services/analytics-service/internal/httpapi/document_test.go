package httpapi_test

import (
	"testing"

	"github.com/eventbooking/eventbooking/services/analytics-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
)

func TestRoutesAreThoseOfTheDocument(t *testing.T) {
	t.Parallel()
	router := httpapi.API{}.Router()
	mountConsumer(router, httpapi.API{})
	contracttest.Routes(t, router, "analytics-service")
}

func TestHandlersAreThoseOfTheDocument(t *testing.T) {
	t.Parallel()
	contracttest.Handlers(t, httpapi.API{}.Handlers(), "analytics-service")
}
