package httpapi

import (
	"errors"
	"io"
	"net/http"
	"unicode/utf8"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/payment-service/internal/saga"
)

// maxSignature is the maximum length, in bytes, of the header Stripe-Signature. It has a time and one or two signatures
// of 64 digits each.
const maxSignature = 4096

// stripeWebhook handles a webhook event of Stripe. payment-gateway, which has the secret, verifies the signature. Any
// status but 200 makes Stripe deliver the event again.
func (a api) stripeWebhook(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, web.MaxBody))
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return problem.New(problem.TooLarge, "BODY_TOO_LARGE", "The body exceeds %d bytes", tooLarge.Limit)
	}
	if err != nil {
		return problem.New(problem.Invalid, "MALFORMED_JSON", "The body could not be read").Because(err)
	}
	signature := r.Header.Get("Stripe-Signature")
	// Reject what cannot be Stripe's without a call. A text in a call to payment-gateway has to be UTF-8.
	if signature == "" || len(signature) > maxSignature || !utf8.ValidString(signature) ||
		len(body) == 0 || !utf8.Valid(body) {
		return saga.ErrForged
	}
	if err := a.saga.Notice(r.Context(), string(body), signature); err != nil {
		if errors.Is(err, saga.ErrUnsettled) {
			return retryLater(sidecar.ErrUnavailable, err)
		}
		return err
	}
	return web.WriteJSON(w, http.StatusOK, struct {
		Received bool `json:"received"`
	}{true})
}
