// Package contracttest holds what services do to what their documents say: their routes and their
// answers to the OpenAPI documents, their events to the JSON Schemas.
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
	// operations has METHOD and path of all operations.
	operations map[string]bool
}

// loaded keeps documents: reading one takes a while, and does not change it.
var loaded = struct {
	sync.Mutex
	documents map[string]*document
}{documents: map[string]*document{}}

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
	// Paths are compared as the service sees them, not as a sidecar's caller does.
	model.Model.Servers = nil
	d := &document{
		model: &model.Model,
		validator: validator.NewValidatorFromV3Model(&model.Model,
			// Who may call what has tests of its own, and sidecars add tokens that callers never see.
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

// find gives "METHOD path" of the operation that a request is for, the path as in the document.
func (d *document) find(r *http.Request) (string, bool) {
	path, found := d.template(r.URL.Path)
	operation := r.Method + " " + path
	return operation, found && d.operations[operation]
}

// template gives the document's path that a request's path is of: of two that fit, the one that has a
// word where the other has a variable, as routers do.
func (d *document) template(path string) (string, bool) {
	best, bestVariables := "", -1
	segments := strings.Split(path, "/")
	for candidate := range d.model.Paths.PathItems.KeysFromOldest() {
		parts := strings.Split(candidate, "/")
		if len(parts) != len(segments) {
			continue
		}
		variables, fits := 0, true
		for i, part := range parts {
			switch {
			case part == segments[i]:
			case strings.HasPrefix(part, "{") && segments[i] != "":
				variables++
			default:
				fits = false
			}
		}
		if fits && (bestVariables < 0 || variables < bestVariables) {
			best, bestVariables = candidate, variables
		}
	}
	return best, bestVariables >= 0
}
