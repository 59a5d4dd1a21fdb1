package contracttest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi-validator/errors"
)

// Apps maps the addresses (host:port) of services to their app-ids.
type Apps map[string]string

// Client returns a client that reports an error of tb for each response that differs from the OpenAPI document of the
// service in its status, headers, content type or a field of its body. It also checks a request that the service
// accepted (2xx).
//
// It finds the service in the path /v1.0/invoke/<app-id>/method/... or in the header dapr-app-id of a call through a
// sidecar, and by the address in apps otherwise. It does not check requests for other servers, and responses of a
// sidecar in place of the service.
func Client(tb testing.TB, apps Apps) *http.Client {
	tb.Helper()
	next := http.DefaultTransport.(*http.Transport).Clone()
	tb.Cleanup(next.CloseIdleConnections)
	return &http.Client{Transport: &transport{tb: tb, apps: apps, next: next}}
}

// transport checks the requests and responses of Client.
type transport struct {
	tb   testing.TB
	apps Apps
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (tr *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	service, path := tr.serviceOf(req)
	if service == "" {
		return tr.next.RoundTrip(req)
	}
	sent, err := drain(&req.Body)
	if err != nil {
		return nil, err
	}
	res, err := tr.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	received, err := drain(&res.Body)
	if err != nil {
		return nil, err
	}
	if fromSidecar(res, received) {
		return res, nil
	}
	// The request as the service received it.
	direct := req.Clone(req.Context())
	direct.URL.Path, direct.URL.RawPath, direct.Host = path, "", service
	for _, failure := range check(service, direct, sent, res, received) {
		tr.tb.Errorf("%s: %s %s -> %d is not as documented: %s\nrequest:  %s\nresponse: %s",
			service, req.Method, path, res.StatusCode, failure, excerpt(sent), excerpt(received))
	}
	return res, nil
}

// serviceOf returns the app-id of the service that a request is for, and the path at that service. The app-id is empty
// if it is unknown.
func (tr *transport) serviceOf(req *http.Request) (service, path string) {
	if rest, invoked := strings.CutPrefix(req.URL.Path, "/v1.0/invoke/"); invoked {
		app, path, _ := strings.Cut(rest, "/method/")
		return app, "/" + strings.TrimPrefix(path, "/")
	}
	if app := req.Header.Get("dapr-app-id"); app != "" {
		return app, req.URL.Path
	}
	return tr.apps[req.URL.Host], req.URL.Path
}

// drain reads a body and replaces it with a copy.
func drain(body *io.ReadCloser) ([]byte, error) {
	if *body == nil || *body == http.NoBody {
		return nil, nil
	}
	content, err := io.ReadAll(*body)
	if err != nil {
		return nil, err
	}
	if err := (*body).Close(); err != nil {
		return nil, err
	}
	*body = io.NopCloser(bytes.NewReader(content))
	return content, nil
}

// fromSidecar reports whether a response is a sidecar's own: an error with an error code (Dapr API reference, "Error
// codes") or the plain text of its rate limiter.
func fromSidecar(res *http.Response, body []byte) bool {
	if res.StatusCode == http.StatusTooManyRequests && !json.Valid(body) {
		return true
	}
	var form struct{ ErrorCode string }
	return res.StatusCode >= http.StatusBadRequest && json.Unmarshal(body, &form) == nil && form.ErrorCode != ""
}

// check returns the differences of a response, and of the request if the service accepted it, from the document.
func check(service string, req *http.Request, sent []byte, res *http.Response, received []byte) []string {
	document, err := load(service)
	if err != nil {
		return []string{err.Error()}
	}
	operation, found := document.find(req)
	if !found {
		if res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusMethodNotAllowed {
			return nil // the service has no such operation either
		}
		return []string{"there is no such operation in the document"}
	}
	_, path, _ := strings.Cut(operation, " ")
	item := document.model.Paths.PathItems.GetOrZero(path)

	response := *res
	response.Body = io.NopCloser(bytes.NewReader(received))
	req.Body = io.NopCloser(bytes.NewReader(sent))
	responses := document.validator.GetResponseBodyValidator()
	_, failures := responses.ValidateResponseBodyWithPathItem(req, &response, item, path)
	all := messages("", failures)
	if res.StatusCode < http.StatusMultipleChoices {
		req.Body = io.NopCloser(bytes.NewReader(sent))
		_, failures = document.validator.ValidateHttpRequestSyncWithPathItem(req, item, path)
		all = append(all, messages("the service accepted a request that is invalid: ", failures)...)
	}
	return all
}

// messages returns the messages of failures, each with the prefix and its details.
func messages(prefix string, failures []*errors.ValidationError) []string {
	var all []string
	for _, failure := range failures {
		lines := []string{prefix + failure.Message + ": " + failure.Reason}
		for _, detail := range failure.SchemaValidationErrors {
			lines = append(lines, "  at "+detail.FieldPath+": "+detail.Reason)
		}
		all = append(all, strings.Join(lines, "\n"))
	}
	return all
}

// excerpt returns the beginning of a long body.
func excerpt(body []byte) string {
	const limit = 2000 // bytes
	if len(body) > limit {
		return string(body[:limit]) + "..."
	}
	return string(body)
}
