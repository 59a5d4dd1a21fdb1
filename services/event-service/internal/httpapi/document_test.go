package httpapi_test

import (
	"testing"

	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
	"github.com/eventbooking/eventbooking/services/event-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/messaging/replay"
)

func TestRoutesAreThoseOfTheDocument(t *testing.T) {
	t.Parallel()
	router := httpapi.New(httpapi.Deps{})
	replay.New(nil, replay.Config{API: "/api/events"}).Mount(router, identity.Guard{})
	contracttest.Routes(t, router, "event-service")
}
