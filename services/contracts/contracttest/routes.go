package contracttest

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/mux"
)

// variablePattern is the pattern of a variable in a route, which a document does not have.
var variablePattern = regexp.MustCompile(`\{(\w+):[^{}]*\}`)

// Routes checks that the routes of a service's router and the operations of its OpenAPI document are
// the same. A route that takes every path below one, which mux writes with a slash at its end, stands
// in the document with {eventType} there.
func Routes(t testing.TB, router *mux.Router, service string) {
	t.Helper()
	document, err := load(service)
	if err != nil {
		t.Fatal(err)
	}
	routes := map[string]bool{}
	err = router.Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		path, err := route.GetPathTemplate()
		if err != nil {
			return err
		}
		path = variablePattern.ReplaceAllString(path, "{$1}")
		if strings.HasSuffix(path, "/") {
			path += "{eventType}"
		}
		methods, err := route.GetMethods()
		if err != nil { // it takes any
			methods = []string{"ANY"}
		}
		for _, method := range methods {
			routes[method+" "+path] = true
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v", service, err)
	}
	for _, route := range missing(routes, document.operations) {
		t.Errorf("%s: %s has no entry in the OpenAPI document", service, route)
	}
	for _, operation := range missing(document.operations, routes) {
		t.Errorf("%s: %s of the OpenAPI document has no route", service, operation)
	}
}

func missing(from, in map[string]bool) []string {
	var names []string
	for name := range from {
		if !in[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
