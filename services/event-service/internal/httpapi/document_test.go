package httpapi_test

import (
	"testing"

	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
	"github.com/eventbooking/eventbooking/services/event-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

func TestRoutesAreThoseOfTheDocument(t *testing.T) {
	t.Parallel()
	router := web.NewRouter()
	web.Health(router)
	httpapi.API{}.Route(router, identity.Guard{})
	contracttest.Routes(t, router, "event-service")
}
