package httpapi_test

import (
	"testing"

	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
	"github.com/eventbooking/eventbooking/services/email-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

func TestRoutesAreThoseOfTheDocument(t *testing.T) {
	t.Parallel()
	contracttest.Routes(t, httpapi.New(nil, identity.Guard{}, web.Check{}), "email-service")
}
