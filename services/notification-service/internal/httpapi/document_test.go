package httpapi_test

import (
	"testing"

	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/courier"
	"github.com/eventbooking/eventbooking/services/notification-service/internal/httpapi"
)

func TestRoutesAreThoseOfTheDocument(t *testing.T) {
	t.Parallel()
	router := httpapi.API{}.Router()
	mountConsumer(router, httpapi.API{})
	contracttest.Routes(t, router, "notification-service")
}

func TestHandlersAreThoseOfTheDocument(t *testing.T) {
	t.Parallel()
	contracttest.Handlers(t, courier.Courier{}.Handlers(), "notification-service")
}
