package contracttest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/mux"
	"github.com/pb33f/go-yaml"
	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	"github.com/pb33f/libopenapi-validator/schema_validation"
	"github.com/pb33f/libopenapi/datamodel/high/base"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
	"github.com/pb33f/libopenapi/orderedmap"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
	"github.com/eventbooking/eventbooking/services/contracts/openapi"
)

// recorder is a testing.TB that records errors.
type recorder struct {
	testing.TB
	errors []string
}

func (r *recorder) Helper() {}

func (r *recorder) Cleanup(func()) {}

func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

// Each example of a document must be valid by the schema beside it.
func TestDocumentsAndTheirExamplesAreValid(t *testing.T) {
	t.Parallel()
	for _, service := range contracttest.Services() {
		t.Run(service, func(t *testing.T) {
			t.Parallel()
			content, err := openapi.Document(service)
			require.NoError(t, err)
			document, err := libopenapi.NewDocument(content)
			require.NoError(t, err)
			require.Equal(t, "3.1.0", document.GetVersion())
			v, errs := validator.NewValidator(document)
			require.Empty(t, errs)
			valid, failures := v.ValidateDocument()
			require.True(t, valid, "%v", failures)

			model, err := document.BuildV3Model()
			require.NoError(t, err)
			require.Equal(t, service, model.Model.Info.Title)
			for path, item := range model.Model.Paths.PathItems.FromOldest() {
				for method, operation := range item.GetOperations().FromOldest() {
					where := method + " " + path
					require.NotNil(t, operation.Security, "%s must have a security requirement", where)
					if operation.RequestBody != nil {
						checkExamples(t, where+" request", operation.RequestBody.Content)
					}
					for status, response := range operation.Responses.Codes.FromOldest() {
						checkExamples(t, where+" "+status, response.Content)
					}
				}
			}
		})
	}
}

func checkExamples(t *testing.T, where string, content *orderedmap.Map[string, *v3.MediaType]) {
	t.Helper()
	for kind, media := range content.FromOldest() {
		if media.Schema == nil {
			continue
		}
		schema := media.Schema.Schema()
		if media.Example != nil {
			checkExample(t, where+" "+kind, schema, media.Example)
		}
		for name, example := range media.Examples.FromOldest() {
			checkExample(t, where+" "+kind+" "+name, schema, example.Value)
		}
		for _, example := range schema.Examples {
			checkExample(t, where+" "+kind, schema, example)
		}
	}
}

func checkExample(t *testing.T, where string, schema *base.Schema, example *yaml.Node) {
	t.Helper()
	var value any
	require.NoError(t, example.Decode(&value), where)
	schemas := schema_validation.NewSchemaValidator(config.WithFormatAssertions())
	valid, failures := schemas.ValidateSchemaObject(schema, value)
	for _, failure := range failures {
		for _, detail := range failure.SchemaValidationErrors {
			t.Errorf("%s: %s: %s", where, detail.FieldPath, detail.Reason)
		}
	}
	require.True(t, valid, where)
}

func TestRoutesReportsDifferences(t *testing.T) {
	t.Parallel()
	router := mux.NewRouter()
	nothing := func(http.ResponseWriter, *http.Request) {}
	for _, path := range []string{
		"/actuator/health", "/actuator/health/ready", "/actuator/health/live",
		"/docs", "/docs/openapi.yaml", "/docs/{file:a|b}",
	} {
		router.HandleFunc(path, nothing).Methods(http.MethodGet)
	}
	router.HandleFunc("/api/email/internal/messages", nothing).Methods(http.MethodPost)
	r := &recorder{TB: t}
	contracttest.Routes(r, router, "email-service")
	require.Empty(t, r.errors)

	router.HandleFunc("/api/email/secret", nothing).Methods(http.MethodGet)
	contracttest.Routes(r, router, "email-service")
	require.Len(t, r.errors, 1, "a route without an entry")
	require.Contains(t, r.errors[0], "GET /api/email/secret")

	r = &recorder{TB: t}
	contracttest.Routes(r, mux.NewRouter(), "email-service")
	require.Len(t, r.errors, 7, "entries without a route")
}

func TestClientReportsDifferences(t *testing.T) {
	t.Parallel()
	const problem = `{"error":"USER_NOT_FOUND","message":"No such user"}`
	const id = "bb0e8400-e29b-41d4-a716-446655440000"
	for _, tt := range []struct {
		name, method, path, sent string
		status                   int
		received                 string
		wrong                    string // part of the reported error, empty if there is none
	}{
		{"AsDocumented", "GET", "/api/tickets/mine", "", 200, `{"tickets":[]}`, ""},
		{"ErrorForm", "GET", "/api/tickets/mine", "", 401, problem, ""},
		{"UnknownField", "GET", "/api/tickets/mine", "", 200, `{"tickets":[],"more":1}`, "more"},
		{"MissingField", "GET", "/api/tickets/mine", "", 200, `{}`, "tickets"},
		{
			"WrongFormat", "POST", "/api/tickets/internal/release-reservation", `{"reservationId":"` + id + `"}`,
			200, `{"released":true,"reservationId":"one","ticketsReleased":1}`, "uuid",
		},
		{"StatusNotDocumented", "GET", "/api/tickets/mine", "", 418, `{}`, "418"},
		{"OtherErrorForm", "GET", "/api/tickets/mine", "", 401, `{"oops":true}`, "error"},
		{
			"AcceptedInvalidRequest", "POST", "/api/tickets/internal/release-reservation", `{"reservationId":7}`,
			200, `{"released":true,"reservationId":"` + id + `","ticketsReleased":1}`, "accepted a request that is invalid",
		},
		{"NoSuchOperation", "GET", "/api/tickets/nothing/here/at-all", "", 404, problem, ""},
		{"NoSuchOperationButSuccess", "GET", "/api/tickets/nothing/here/at-all", "", 200, `{}`, "no such operation"},
		{"ErrorOfSidecar", "GET", "/api/tickets/mine", "", 500, `{"errorCode":"ERR_DIRECT_INVOKE","message":"..."}`, ""},
		{"RateLimitOfSidecar", "GET", "/api/tickets/mine", "", 429, "You have reached maximum request limit.", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.received)
			}))
			t.Cleanup(server.Close)
			for _, base := range []string{server.URL + "/v1.0/invoke/ticket-service/method", server.URL} {
				r := &recorder{TB: t}
				apps := contracttest.Apps{strings.TrimPrefix(server.URL, "http://"): "ticket-service"}
				client := contracttest.Client(r, apps)
				req, err := http.NewRequestWithContext(t.Context(), tt.method, base+tt.path, strings.NewReader(tt.sent))
				require.NoError(t, err)
				req.Header.Set("Content-Type", "application/json")
				res, err := client.Do(req)
				require.NoError(t, err)
				body, err := io.ReadAll(res.Body)
				require.NoError(t, err)
				require.NoError(t, res.Body.Close())
				require.Equal(t, tt.received, string(body), "the response reaches the caller unchanged")
				if tt.wrong == "" {
					require.Empty(t, r.errors)
				} else {
					require.NotEmpty(t, r.errors)
					require.Contains(t, r.errors[0], tt.wrong)
				}
			}
		})
	}
}
