package contracttest

import (
	"testing"

	"github.com/eventbooking/eventbooking/services/contracts"
)

// Handlers checks that the handlers of a service are those of the event types that the service receives by
// asyncapi.yaml.
func Handlers[H interface{ Type() string }](tb testing.TB, handlers []H, service string) {
	tb.Helper()
	subscriptions, err := contracts.Subscriptions()
	if err != nil {
		tb.Fatal(err)
	}
	described, handled := map[string]bool{}, map[string]bool{}
	for _, s := range subscriptions {
		if s.Service == service {
			described[s.Type] = true
		}
	}
	for _, h := range handlers {
		handled[h.Type()] = true
	}
	for _, eventType := range missing(described, handled) {
		tb.Errorf("%s: %s of asyncapi.yaml has no handler", service, eventType)
	}
	for _, eventType := range missing(handled, described) {
		tb.Errorf("%s: the handler of %s has no entry in asyncapi.yaml", service, eventType)
	}
}
