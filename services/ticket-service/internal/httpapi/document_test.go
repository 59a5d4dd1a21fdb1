package httpapi_test

import (
	"testing"

	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/httpapi"
)

func TestRoutesAreThoseOfTheDocument(t *testing.T) {
	t.Parallel()
	router := httpapi.API{}.Router()
	mountConsumer(router, httpapi.API{})
	contracttest.Routes(t, router, "ticket-service")
}

func TestHandlersAreThoseOfTheDocument(t *testing.T) {
	t.Parallel()
	contracttest.Handlers(t, httpapi.API{}.Handlers(), "ticket-service")
}
