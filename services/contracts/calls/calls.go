// Package calls describes every internal call between the services: the route, who may call it, the
// request, the answer and the refusals. Callees register these routes and decode these requests, callers
// send them with sidecar.Call, and the stand-ins of the tests answer them.
//
// Ids in requests are strings, so that the callee can name the field of a malformed one. Ids in answers
// are UUIDs.
package calls

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// The app-ids of the services that take part in internal calls.
const (
	authService         = "auth-service"
	eventService        = "event-service"
	ticketService       = "ticket-service"
	paymentService      = "payment-service"
	notificationService = "notification-service"
	paymentGateway      = "payment-gateway"
	emailService        = "email-service"
)

// MaxBody is the maximum size of a request's body in bytes. A sidecar refuses a larger one (daprd 1.18.2), as if the
// callee had failed.
const MaxBody = 4 << 20

// Route is an internal route of one service.
type Route struct {
	App     string   // the app-id of the callee
	Method  string   // the HTTP method
	Path    string   // the template, with variables as in the OpenAPI document
	Callers []string // the app-ids that may call the route
	// Refusals are the kinds of refusal that the callers act on. After such a refusal the callee has done
	// nothing, and the request is the reason: it would be refused again. A caller treats every other error as
	// "unavailable". services/decisions/refusals-are-outcomes.md lists what the callers do.
	Refusals []problem.Kind
}

// Fill returns the path with ids in place of its variables, in order. It returns an error if their numbers
// differ.
func (r Route) Fill(ids ...uuid.UUID) (string, error) {
	path := r.Path
	for _, id := range ids {
		before, rest, opened := strings.Cut(path, "{")
		_, after, closed := strings.Cut(rest, "}")
		if !opened || !closed {
			return "", fmt.Errorf("%s %s: too many ids", r.Method, r.Path)
		}
		path = before + id.String() + after
	}
	if strings.Contains(path, "{") {
		return "", fmt.Errorf("%s %s: too few ids", r.Method, r.Path)
	}
	return path, nil
}

// Endpoint is a Route with the types of its request and its answer.
type Endpoint[Req, Res any] struct{ Route }

// None is the request of a call without a body.
type None struct{}

// File is an answer that is not JSON.
type File []byte

// query is a request that travels in the query of the URL.
type query interface{ query() url.Values }

// Request is a call that is ready to be sent.
type Request struct {
	Route Route
	IDs   []uuid.UUID // the values of the path's variables
	Path  string      // the path with the ids
	Query url.Values
	Body  []byte // JSON, nil without a body
}

// URL returns the path with the query.
func (r Request) URL() string {
	if len(r.Query) == 0 {
		return r.Path
	}
	return r.Path + "?" + r.Query.Encode()
}

// Request encodes in as a request to the path with these ids.
func (e Endpoint[Req, Res]) Request(in Req, ids ...uuid.UUID) (Request, error) {
	path, err := e.Fill(ids...)
	if err != nil {
		return Request{}, err
	}
	r := Request{Route: e.Route, IDs: ids, Path: path}
	switch in := any(in).(type) {
	case None:
	case query:
		r.Query = in.query()
	default:
		if r.Body, err = json.Marshal(in); err != nil {
			return Request{}, fmt.Errorf("%s %s: %w", e.Method, e.Path, err)
		}
	}
	return r, nil
}

// Answer decodes an answer. It accepts fields that Res lacks.
func (e Endpoint[Req, Res]) Answer(body []byte) (Res, error) {
	var out Res
	if file, ok := any(&out).(*File); ok {
		*file = body
		return out, nil
	}
	err := json.Unmarshal(body, &out)
	return out, err
}

// Refused is the common part of the refusals that have a flag besides the error form.
type Refused struct {
	Error   string `json:"error"`
	Message string `json:"message"`
}

// Table returns every internal route. The caller may change the result.
func Table() []Route {
	all := []Route{
		ValidateToken.Route, User.Route, Users.Route, AccountMail.Route,
		EventInfo.Route, ValidateOrganizer.Route, Events.Route,
		CheckAvailability.Route, Reserve.Route, ConfirmPurchase.Route, ReleaseReservation.Route, ExtendReservation.Route,
		CancelTickets.Route, TicketCount.Route, Holders.Route, OrderTickets.Route, TicketInfo.Route, TicketPDF.Route,
		OrderPDF.Route,
		OrderInfo.Route,
		Charge.Route, SettleCharge.Route, Refund.Route, ListDisputes.Route, VerifyWebhook.Route,
		SendMail.Route,
	}
	for i := range all {
		all[i].Callers = slices.Clone(all[i].Callers)
		all[i].Refusals = slices.Clone(all[i].Refusals)
	}
	return all
}

// May reports whether the app may call the route with this method and path template. No app may call a
// route that is not in the table.
func May(app, method, path string) bool {
	return slices.ContainsFunc(Table(), func(r Route) bool {
		return r.Method == method && r.Path == path && slices.Contains(r.Callers, app)
	})
}
