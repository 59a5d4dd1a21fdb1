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

// maxSignature bounds the header Stripe-Signature, which has a time and a signature or two of 64 digits.
const maxSignature = 4096

// stripeWebhook takes Stripe's word for what became of a charge. Only payment-gateway can tell that it is
// Stripe's; an answer of ours other than 200 makes Stripe send it again.
func (a API) stripeWebhook(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, web.MaxBody))
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return problem.New(problem.TooLarge, "BODY_TOO_LARGE", "The body exceeds %d bytes", tooLarge.Limit)
	}
	if err != nil {
		return problem.New(problem.Invalid, "MALFORMED_JSON", "The body could not be read").Because(err)
	}
	signature := r.Header.Get("Stripe-Signature")
	// What cannot be Stripe's need not be asked about. A text on its way to payment-gateway has to be UTF-8.
	if signature == "" || len(signature) > maxSignature || !utf8.ValidString(signature) || len(body) == 0 || !utf8.Valid(body) {
		return saga.ErrForged
	}
	if err := a.Saga.Notice(r.Context(), string(body), signature); err != nil {
		if errors.Is(err, sidecar.ErrUnavailable) {
			unavailable := sidecar.ErrUnavailable.Because(err)
			unavailable.RetryAfter = retryAfter
			return unavailable
		}
		return err
	}
	return web.WriteJSON(w, http.StatusOK, map[string]bool{"received": true})
}
