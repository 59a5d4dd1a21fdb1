package sidecar

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
)

// Call is the untyped form of the function Call, until no service uses it.
func (c *Client) Call(ctx context.Context, app, method, path string, in, out any) error {
	path, query, _ := strings.Cut(path, "?")
	r := calls.Request{Route: calls.Route{App: app, Method: method}, Path: path}
	var err error
	if r.Query, err = url.ParseQuery(query); err != nil {
		return err
	}
	if in != nil {
		if r.Body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	body, err := c.Send(ctx, r)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(body, out); err != nil {
		return ErrUnavailable.Because(fmt.Errorf("decode the answer of %s: %w", app, err))
	}
	return nil
}

// Fetch returns a resource of another service, such as a PDF.
func (c *Client) Fetch(ctx context.Context, app, path string) ([]byte, error) {
	path, query, _ := strings.Cut(path, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, err
	}
	return c.Send(ctx, calls.Request{Route: calls.Route{App: app, Method: http.MethodGet}, Path: path, Query: values})
}
