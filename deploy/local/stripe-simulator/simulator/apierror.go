package simulator

import (
	"fmt"
	"net/http"
	"strings"
)

// apiError is Stripe's error object, and the last_payment_error of an intent.
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

// Error makes an apiError an error.
func (e *apiError) Error() string { return e.Message }

// invalidRequest is a 400 of type invalid_request_error; code and param may be empty.
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

// noSuch is the answer to an id nobody knows: 404 for the object a path names,
// 400 for one that a parameter names.
func noSuch(status int, object, param, id string) *apiError {
	e := invalidRequest("resource_missing", param, "No such %s: '%s'", object, id)
	e.status = status
	return e
}

// internalError is Stripe's own failure.
func internalError(status int) *apiError {
	return &apiError{
		status:  status,
		Type:    "api_error",
		Message: "Sorry! There was an error while talking to one of our backends.",
	}
}
