package contracttest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pb33f/libopenapi/datamodel/high/base"
)

// Services returns the app-ids of all services. Each has an OpenAPI document.
func Services() []string {
	return []string{
		"auth-service", "event-service", "ticket-service", "payment-service", "notification-service",
		"analytics-service", "payment-gateway", "email-service",
	}
}

// Security is the kind of caller that an operation is for.
type Security string

// The kinds of caller, by the security schemes of the documents.
const (
	ForEveryone Security = "everyone"
	ForUsers    Security = "users"
	ForServices Security = "services"
	ForSidecar  Security = "the sidecar"
)

// Operation is an operation of an OpenAPI document.
type Operation struct {
	Service, Method, Path string
	Security              Security
	Optional              bool     // a caller need not have credentials
	Statuses              []string // of the responses, such as 404
}

// Operations returns the operations of a service, ordered by path and method.
func Operations(service string) ([]Operation, error) {
	document, err := load(service)
	if err != nil {
		return nil, err
	}
	var all []Operation
	for path, item := range document.model.Paths.PathItems.FromOldest() {
		for method, operation := range item.GetOperations().FromOldest() {
			o := Operation{Service: service, Method: strings.ToUpper(method), Path: path, Security: ForEveryone}
			for _, alternative := range operation.Security {
				security, err := securityOf(alternative)
				if err != nil {
					return nil, fmt.Errorf("%s: %s %s: %w", service, o.Method, path, err)
				}
				if security == ForEveryone {
					o.Optional = true
				} else {
					o.Security = security
				}
			}
			for status := range operation.Responses.Codes.KeysFromOldest() {
				o.Statuses = append(o.Statuses, status)
			}
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b Operation) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Method, b.Method))
	})
	return all, nil
}

func securityOf(alternative *base.SecurityRequirement) (Security, error) {
	var schemes []string
	if alternative.Requirements != nil {
		schemes = slices.Sorted(alternative.Requirements.KeysFromOldest())
	}
	switch strings.Join(schemes, " ") {
	case "":
		return ForEveryone, nil
	case "user":
		return ForUsers, nil
	case "sidecar":
		return ForSidecar, nil
	case "serviceName serviceToken sidecar", "serviceAuthorization sidecar":
		return ForServices, nil
	}
	return "", fmt.Errorf("unknown security schemes %v", schemes)
}
