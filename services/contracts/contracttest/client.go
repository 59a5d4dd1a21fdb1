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

// Apps names the services behind addresses: host:port to app-id.
type Apps map[string]string

// Client gives a client that fails t at every answer that is not as the service's OpenAPI document has
// it: its status, its headers, its content type and every field of its body. Where a service took a
// request (2xx), the request has to be as documented too.
//
// Calls through a sidecar (/v1.0/invoke/<app-id>/method/..., or the header dapr-app-id) tell by
// themselves which service they are for; for others apps has to know the address. What is for no
// service of ours, and what a sidecar answered for a service that did not, passes unseen.
func Client(t testing.TB, apps Apps) *http.Client {
	t.Helper()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: &Transport{T: t, Apps: apps, Next: transport}}
}

// Transport is what Client works by, for a client that is otherwise its owner's.
type Transport struct {
	T    testing.TB
	Apps Apps
	Next http.RoundTripper
}

// RoundTrip does what Client says.
func (tr *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	service, path := tr.serviceOf(req)
	if service == "" {
		return tr.Next.RoundTrip(req)
	}
	sent, err := drain(&req.Body)
	if err != nil {
		return nil, err
	}
	res, err := tr.Next.RoundTrip(req)
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
	asSeen := req.Clone(req.Context())
	asSeen.URL.Path, asSeen.URL.RawPath, asSeen.Host = path, "", service
	for _, wrong := range check(service, asSeen, sent, res, received) {
		tr.T.Errorf("%s: %s %s -> %d is not as documented: %s\nrequest:  %s\nanswer:   %s",
			service, req.Method, path, res.StatusCode, wrong, excerpt(sent), excerpt(received))
	}
	return res, nil
}

func (tr *Transport) serviceOf(req *http.Request) (service, path string) {
	if rest, invoked := strings.CutPrefix(req.URL.Path, "/v1.0/invoke/"); invoked {
		app, path, _ := strings.Cut(rest, "/method/")
		return app, "/" + strings.TrimPrefix(path, "/")
	}
	if app := req.Header.Get("dapr-app-id"); app != "" {
		return app, req.URL.Path
	}
	return tr.Apps[req.URL.Host], req.URL.Path
}

// drain reads a body and puts one like it in its place.
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

// fromSidecar tells a sidecar's own error, which has this form (Dapr API reference, "Error codes"), or is the plain text
// of its rate limiter.
func fromSidecar(res *http.Response, body []byte) bool {
	if res.StatusCode == http.StatusTooManyRequests && !json.Valid(body) {
		return true
	}
	var form struct{ ErrorCode string }
	return res.StatusCode >= http.StatusBadRequest && json.Unmarshal(body, &form) == nil && form.ErrorCode != ""
}

// check gives what is wrong with an answer, and with the request if it was taken.
func check(service string, req *http.Request, sent []byte, res *http.Response, received []byte) []string {
	document, err := load(service)
	if err != nil {
		return []string{err.Error()}
	}
	operation, found := document.find(req)
	if !found {
		if res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusMethodNotAllowed {
			return nil // it is not ours, and the service says so
		}
		return []string{"there is no such operation in the document"}
	}
	_, path, _ := strings.Cut(operation, " ")
	item := document.model.Paths.PathItems.GetOrZero(path)

	answer := *res
	answer.Body = io.NopCloser(bytes.NewReader(received))
	req.Body = io.NopCloser(bytes.NewReader(sent))
	_, wrong := document.validator.GetResponseBodyValidator().ValidateResponseBodyWithPathItem(req, &answer, item, path)
	all := messages("", wrong)
	if res.StatusCode < http.StatusMultipleChoices {
		req.Body = io.NopCloser(bytes.NewReader(sent))
		_, wrong = document.validator.ValidateHttpRequestSyncWithPathItem(req, item, path)
		all = append(all, messages("the request was taken, but ", wrong)...)
	}
	return all
}

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

// excerpt keeps messages readable.
func excerpt(body []byte) string {
	const most = 2000
	if len(body) > most {
		return string(body[:most]) + "..."
	}
	return string(body)
}
