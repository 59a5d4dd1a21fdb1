// Package openapi contains the OpenAPI 3.1 document of each service's HTTP API. Each document is self-contained.
// Package contracttest compares the services with their documents.
package openapi

import "embed"

//go:embed *.yaml
var documents embed.FS

// Document returns the document of the service with this app-id. It returns fs.ErrNotExist for an unknown service.
func Document(service string) ([]byte, error) { return documents.ReadFile(service + ".yaml") }
