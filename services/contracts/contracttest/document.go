// Package contracttest compares services with their documents: routes, requests and responses with the OpenAPI
// documents, event handlers with asyncapi.yaml, and events with their JSON Schemas.
package contracttest

import (
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"

	"github.com/eventbooking/eventbooking/services/contracts/openapi"
)

// document is a service's OpenAPI document.
type document struct {
	model     *v3.Document
	validator validator.Validator
	// operations has "METHOD path" of each operation.
	operations map[string]bool
}

// loaded caches documents, because parsing one is slow.
var loaded = struct {
	sync.Mutex
	documents map[string]*document
}{documents: map[string]*document{}}

// load returns the document of a service, which callers must not change.
func load(service string) (*document, error) {
	loaded.Lock()
	defer loaded.Unlock()
	if d, done := loaded.documents[service]; done {
		return d, nil
	}
	content, err := openapi.Document(service)
	if err != nil {
		return nil, fmt.Errorf("OpenAPI document of %s: %w", service, err)
	}
	parsed, err := libopenapi.NewDocument(content)
	if err != nil {
		return nil, fmt.Errorf("OpenAPI document of %s: %w", service, err)
	}
	model, err := parsed.BuildV3Model()
	if err != nil {
		return nil, fmt.Errorf("OpenAPI document of %s: %w", service, err)
	}
	// The servers are sidecars, whose paths have a prefix. Paths are compared as the service sees them.
	model.Model.Servers = nil
	d := &document{
		model: &model.Model,
		validator: validator.NewValidatorFromV3Model(&model.Model,
			// Other tests check who may call what, and sidecars add tokens that callers do not see.
			config.WithoutSecurityValidation(), config.WithFormatAssertions()),
		operations: map[string]bool{},
	}
	for path, item := range model.Model.Paths.PathItems.FromOldest() {
		for method := range item.GetOperations().FromOldest() {
			d.operations[strings.ToUpper(method)+" "+path] = true
		}
	}
	loaded.documents[service] = d
	return d, nil
}

// find returns "METHOD path" of the operation that a request is for, with the path template of the document. It reports
// whether there is one.
func (d *document) find(r *http.Request) (string, bool) {
	path, found := d.template(r.URL.Path)
	operation := r.Method + " " + path
	return operation, found && d.operations[operation]
}

// template returns the path template that matches a path, and whether there is one. Of two that match, it returns the
// one with fewer variables, as routers do.
func (d *document) template(path string) (string, bool) {
	best, bestVariables := "", -1
	segments := strings.Split(path, "/")
	for candidate := range d.model.Paths.PathItems.KeysFromOldest() {
		parts := strings.Split(candidate, "/")
		if len(parts) != len(segments) {
			continue
		}
		variables, matches := 0, true
		for i, part := range parts {
			switch {
			case part == segments[i]:
			case strings.HasPrefix(part, "{") && segments[i] != "":
				variables++
			default:
				matches = false
			}
		}
		if matches && (bestVariables < 0 || variables < bestVariables) {
			best, bestVariables = candidate, variables
		}
	}
	return best, bestVariables >= 0
}
