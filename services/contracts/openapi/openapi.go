// Package openapi holds each service's HTTP contract, an OpenAPI 3.1 document. Each is complete in
// itself, so that a reader needs one file. Package contracttest holds the services to them.
package openapi

import "embed"

//go:embed *.yaml
var documents embed.FS

// Document gives the document of the service with this app-id. It returns fs.ErrNotExist for one that
// there is none of.
func Document(service string) ([]byte, error) { return documents.ReadFile(service + ".yaml") }
