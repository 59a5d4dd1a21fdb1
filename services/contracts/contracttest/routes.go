package contracttest

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/mux"
)

// variablePattern matches a variable that has a pattern, as in {id:[0-9]+}. Documents have variables without patterns.
var variablePattern = regexp.MustCompile(`\{(\w+):[^{}]*\}`)

// Routes checks that the routes of a service and the operations of its OpenAPI document are the same. A prefix route,
// whose path ends in a slash, is in the document as the path followed by {eventType}.
func Routes(tb testing.TB, router *mux.Router, service string) {
	tb.Helper()
	document, err := load(service)
	if err != nil {
		tb.Fatal(err)
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
		if err != nil { // the route accepts any method
			methods = []string{"ANY"}
		}
		for _, method := range methods {
			routes[method+" "+path] = true
		}
		return nil
	})
	if err != nil {
		tb.Fatalf("%s: %v", service, err)
	}
	for _, route := range missing(routes, document.operations) {
		tb.Errorf("%s: %s has no entry in the OpenAPI document", service, route)
	}
	for _, operation := range missing(document.operations, routes) {
		tb.Errorf("%s: %s of the OpenAPI document has no route", service, operation)
	}
}

// missing returns the sorted names that are in from and not in in.
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
