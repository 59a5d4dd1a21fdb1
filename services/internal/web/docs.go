package web

import (
	"net/http"

	"github.com/gorilla/mux"
	"github.com/swaggest/swgui"
	"github.com/swaggest/swgui/v5emb"

	"github.com/eventbooking/eventbooking/services/contracts/openapi"
)

// docsPolicy permits the page to load files of its own origin only. Swagger UI has inline styles and an inline script.
const docsPolicy = "default-src 'self'; script-src 'self' 'unsafe-inline'; " +
	"style-src 'self' 'unsafe-inline'; img-src 'self' data:"

// docsFiles is a pattern for the files that the page loads. Other names get the response for unknown paths.
const docsFiles = `swagger-ui-(?:bundle|standalone-preset)\.js|swagger-ui\.css|favicon-(?:16x16|32x32)\.png`

// Docs adds /docs, a page for the service's OpenAPI document, and /docs/openapi.yaml, the document. The URLs on the
// page are relative, so that it also works under the path prefix of a sidecar. Docs panics if the service has no
// document, which is a bug.
func Docs(r *mux.Router, service string) {
	document, err := openapi.Document(service)
	if err != nil {
		panic(err)
	}
	page := v5emb.NewHandlerWithConfig(swgui.Config{
		Title: service, SwaggerJSON: "./openapi.yaml", BasePath: "docs", InternalBasePath: "/docs",
	})
	protected := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", docsPolicy)
		page.ServeHTTP(w, r)
	}
	r.Methods(http.MethodGet).Path("/docs/openapi.yaml").HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(document)
	})
	r.Methods(http.MethodGet).Path("/docs").HandlerFunc(protected)
	r.Methods(http.MethodGet).Path("/docs/{file:" + docsFiles + "}").HandlerFunc(protected)
}
