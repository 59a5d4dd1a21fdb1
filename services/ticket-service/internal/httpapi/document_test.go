package httpapi_test

import (
	"testing"

	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/sales"
)

func TestRoutesAreThoseOfTheDocument(t *testing.T) {
	t.Parallel()
	selling := sales.New(nil, nil, nil, nil)
	router := httpapi.New(selling, nil, "", identity.Guard{}, web.Check{})
	mountConsumer(router, nil, selling, identity.Guard{})
	contracttest.Routes(t, router, "ticket-service")
}

func TestHandlersAreThoseOfTheDocument(t *testing.T) {
	t.Parallel()
	contracttest.Handlers(t, sales.New(nil, nil, nil, nil).Handlers(), "ticket-service")
}
