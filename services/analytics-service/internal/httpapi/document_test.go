package httpapi_test

import (
	"testing"

	"github.com/eventbooking/eventbooking/services/analytics-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
	"github.com/eventbooking/eventbooking/services/internal/identity"
)

func TestRoutesAreThoseOfTheDocument(t *testing.T) {
	t.Parallel()
	router := httpapi.New(httpapi.Deps{})
	mountConsumer(router, nil, httpapi.Handlers(nil), identity.Guard{})
	contracttest.Routes(t, router, "analytics-service")
}

func TestHandlersAreThoseOfTheDocument(t *testing.T) {
	t.Parallel()
	contracttest.Handlers(t, httpapi.Handlers(nil), "analytics-service")
}
