package simulator

import (
	"fmt"
	"net/http"
	"strings"
)

// apiError is Stripe's error object. An intent holds one as its last_payment_error.
type apiError struct {
	status int

	Charge        string         `json:"charge,omitempty"`
	Code          string         `json:"code,omitempty"`
	DeclineCode   string         `json:"decline_code,omitempty"`
	DocURL        string         `json:"doc_url,omitempty"`
	Message       string         `json:"message"`
	Param         string         `json:"param,omitempty"`
	PaymentIntent *intent        `json:"payment_intent,omitempty"`
	PaymentMethod *paymentMethod `json:"payment_method,omitempty"`
	Type          string         `json:"type"`
}

// Error returns the message.
func (e *apiError) Error() string { return e.Message }

// invalidRequest returns a 400 of type invalid_request_error. Code and param may be empty.
func invalidRequest(code, param, format string, args ...any) *apiError {
	e := &apiError{
		status:  http.StatusBadRequest,
		Type:    "invalid_request_error",
		Code:    code,
		Param:   param,
		Message: fmt.Sprintf(format, args...),
	}
	if code != "" {
		e.DocURL = "https://stripe.com/docs/error-codes/" + strings.ReplaceAll(code, "_", "-")
	}
	return e
}

// noSuch returns the answer to an unknown id: 404 for an object that the path names, 400 for one that a parameter
// names.
func noSuch(status int, object, param, id string) *apiError {
	e := invalidRequest("resource_missing", param, "No such %s: '%s'", object, id)
	e.status = status
	return e
}

// internalError returns the answer to a request that fails inside Stripe.
func internalError(status int) *apiError {
	return &apiError{
		status:  status,
		Type:    "api_error",
		Message: "Sorry! There was an error while talking to one of our backends.",
	}
}
