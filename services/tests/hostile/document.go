package hostile

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/openapi"
)

// object is a part of a document whose references are not resolved.
type object = map[string]any

// operation is the target of attacks.
type operation struct {
	service, method, path string
	parameters            []object
	schema                object // of the body; nil if the operation has none
	example               any    // of the body
	security              string // "user", "service", "sidecar" or empty
	optional              bool   // credentials are optional
	caller                string // a service that may call the operation, if security is "service"
}

func (o operation) String() string { return o.service + ": " + o.method + " " + o.path }

// document reads parts of a service's OpenAPI document.
type document struct{ root object }

// at resolves references and returns the part as an object. It returns nil if the part is not an object.
func (d document) at(part any) object {
	for {
		o, _ := part.(object)
		to, is := o["$ref"].(string)
		if !is {
			return o
		}
		part = d.root
		for name := range strings.SplitSeq(strings.TrimPrefix(to, "#/"), "/") {
			part = part.(object)[name]
		}
	}
}

// operations returns the operations of a service, and its document. It omits those that reject nothing: health and
// documentation.
func operations(service string) ([]operation, document, error) {
	content, err := openapi.Document(service)
	if err != nil {
		return nil, document{}, err
	}
	var d document
	if err := yaml.Unmarshal(content, &d.root); err != nil {
		return nil, document{}, fmt.Errorf("read the document of %s: %w", service, err)
	}
	var all []operation
	for path, item := range d.at(d.root["paths"]) {
		for method, definition := range d.at(item) {
			o := d.at(definition)
			if method == "parameters" || slices.Contains(list(o["tags"]), "service") {
				continue
			}
			op := operation{
				service: service, method: strings.ToUpper(method), path: path, security: securityOf(list(o["security"])),
			}
			op.optional = slices.ContainsFunc(list(o["security"]),
				func(alternative any) bool { return len(d.at(alternative)) == 0 })
			for _, parameter := range append(list(d.at(item)["parameters"]), list(o["parameters"])...) {
				op.parameters = append(op.parameters, d.at(parameter))
			}
			for _, media := range d.at(d.at(o["requestBody"])["content"]) {
				op.schema, op.example = d.at(d.at(media)["schema"]), d.at(media)["example"]
			}
			if op.security == "service" {
				op.caller = callerOf(op.method, op.path)
			}
			all = append(all, op)
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.String(), b.String()) })
	return all, d, nil
}

// securityOf returns the security of an operation from its alternatives.
func securityOf(alternatives []any) string {
	kind := ""
	for _, alternative := range alternatives {
		names, _ := alternative.(object)
		switch {
		case names["user"] != nil:
			kind = "user"
		case names["serviceToken"] != nil:
			kind = "service"
		case names["sidecar"] != nil && kind == "":
			kind = "sidecar"
		}
	}
	return kind
}

// callerOf returns a service that may call an internal route.
func callerOf(method, path string) string {
	for _, r := range calls.Table() {
		if r.Method == method && r.Path == path {
			return r.Callers[0]
		}
	}
	return ""
}

// list returns a part as an array, or nil if it is not one.
func list(part any) []any {
	l, _ := part.([]any)
	return l
}

// text returns a part as a string, or an empty string if it is not one.
func text(part any) string {
	s, _ := part.(string)
	return s
}
