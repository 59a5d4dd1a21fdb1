// Package httpapi is payment-gateway's HTTP API: /api/gateway/internal, for payment-service alone.
package httpapi

import (
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"time"
	"unicode/utf8"

	"github.com/gorilla/mux"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/money"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/web"
	"github.com/eventbooking/eventbooking/services/payment-gateway/internal/gateway"
)

// New gives the API. Package calls says who may call it, by its sidecar.
func New(cards *gateway.Gateway, hooks gateway.Webhooks, guard identity.Guard) *mux.Router {
	r := web.NewRouter()
	// Stripe's health is not ours: taken out of service, we could not even say that it is away.
	web.Health(r)
	web.Docs(r, "payment-gateway")
	guard.Service(r, calls.Charge.Route, charge(cards))
	guard.Service(r, calls.FindCharge.Route, find(cards))
	guard.Service(r, calls.Refund.Route, refund(cards))
	guard.Service(r, calls.VerifyWebhook.Route, verify(hooks))
	return r
}

// What goes to Stripe as a key and into its search language, and as a payment method or intent. A
// card number fits neither: it is refused before it can reach a log.
var (
	keyForm         = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)
	tokenForm       = regexp.MustCompile(`^pm_[A-Za-z0-9_]{1,128}$`)
	transactionForm = regexp.MustCompile(`^pi_[A-Za-z0-9_]{1,128}$`)
)

// maxText bounds texts that Stripe keeps, in characters; its metadata takes no more.
const maxText = 500

func charge(cards *gateway.Gateway) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		var in calls.ChargeRequest
		if err := web.Decode(w, r, &in); err != nil {
			return err
		}
		if !keyForm.MatchString(in.AttemptKey) {
			return badKey("attemptKey")
		}
		since, err := sinceOf(in.AttemptedSince)
		if err != nil {
			return err
		}
		orderID, err := web.ParseID("orderId", in.OrderID)
		if err != nil {
			return err
		}
		amount, err := amountOf(in.Amount, string(in.Currency))
		if err != nil {
			return err
		}
		if utf8.RuneCountInString(in.Description) > maxText {
			return problem.Field("description", "description must be at most %d characters", maxText)
		}
		done, err := gateway.Charge{}, error(gateway.ErrUnknownPaymentMethod)
		if tokenForm.MatchString(in.PaymentToken) {
			done, err = cards.Charge(r.Context(), gateway.ChargeRequest{
				AttemptKey:     in.AttemptKey,
				OrderID:        orderID.String(),
				Amount:         amount,
				PaymentToken:   in.PaymentToken,
				Description:    in.Description,
				AttemptedSince: since,
			})
		}
		// What Stripe will never take is an answer like any decline, and a 200 like it: the breaker on
		// this hop counts every 4xx, and buyers with made-up tokens must not open it for all others.
		if p, ok := errors.AsType[*problem.Error](err); ok && p.Kind == problem.Invalid {
			done, err = gateway.Charge{
				AttemptKey: in.AttemptKey, Status: gateway.Declined, DeclineCode: p.Code, Message: p.Message,
			}, nil
		}
		if err != nil {
			return err
		}
		return web.WriteJSON(w, http.StatusOK, calls.ChargeAnswer(done))
	}
}

func find(cards *gateway.Gateway) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		in := calls.ReadFindCharge(r.URL.Query())
		if !keyForm.MatchString(in.AttemptKey) {
			return badKey("attemptKey")
		}
		since, err := sinceOf(in.AttemptedSince)
		if err != nil {
			return err
		}
		found, err := cards.Find(r.Context(), in.AttemptKey, since)
		if err != nil {
			return err
		}
		return web.WriteJSON(w, http.StatusOK, calls.ChargeAnswer(found))
	}
}

func refund(cards *gateway.Gateway) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		var in calls.RefundRequest
		if err := web.Decode(w, r, &in); err != nil {
			return err
		}
		if !keyForm.MatchString(in.RefundKey) {
			return badKey("refundKey")
		}
		if !transactionForm.MatchString(in.TransactionID) {
			return gateway.ErrUnknownTransaction
		}
		amount, err := amountOf(in.Amount, string(in.Currency))
		if err != nil {
			return err
		}
		if utf8.RuneCountInString(in.Reason) > maxText {
			return problem.Field("reason", "reason must be at most %d characters", maxText)
		}
		done, err := cards.Refund(r.Context(), in.RefundKey, in.TransactionID, amount, in.Reason)
		if err != nil {
			return err
		}
		return web.WriteJSON(w, http.StatusOK, calls.RefundAnswer(done))
	}
}

// maxWebhook bounds a webhook's body as it comes here: one of web.MaxBody, in which every byte may have had to
// be escaped to fit into a JSON string.
const maxWebhook = 7 * web.MaxBody

// verify says whether a webhook is Stripe's. That it is not is an answer too: the breaker on this hop counts
// every 4xx, and whoever makes up webhooks must not open it for Stripe's own.
func verify(hooks gateway.Webhooks) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		var in calls.VerifyWebhookRequest
		if err := web.DecodeUpTo(w, r, maxWebhook, &in); err != nil {
			return err
		}
		event, err := hooks.Parse([]byte(in.Payload), in.Signature)
		if errors.Is(err, gateway.ErrForged) {
			slog.WarnContext(r.Context(), "webhook refused", "error", err.Error())
			return web.WriteJSON(w, http.StatusOK, calls.VerifyWebhookAnswer{})
		}
		if err != nil {
			return err
		}
		c := event.Charge
		return web.WriteJSON(w, http.StatusOK, calls.VerifyWebhookAnswer{Verified: true, Event: &calls.WebhookEvent{
			ID: event.ID, Type: event.Type, AttemptKey: c.AttemptKey, OrderID: event.OrderID, TransactionID: c.TransactionID,
			Status: c.Status, DeclineCode: c.DeclineCode, Message: c.Message, Retryable: c.Retryable,
		}})
	}
}

func badKey(field string) error {
	return problem.Field(field, "%s must be 1 to 128 letters, digits, dots, underscores, colons or dashes", field)
}

// sinceOf reads when a charge was first attempted.
func sinceOf(text string) (time.Time, error) {
	since, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return since, problem.Field("attemptedSince", "attemptedSince must be a time such as 2024-01-15T10:30:00Z").Because(err)
	}
	return since, nil
}

// amountOf reads an amount that can be charged or refunded: more than nothing.
func amountOf(decimal money.Decimal, code string) (money.Amount, error) {
	currency, err := money.ParseCurrency(code)
	if err != nil {
		return money.Amount{}, problem.Field("currency", "currency must be an ISO 4217 code").Because(err)
	}
	if decimal == "" {
		return money.Amount{}, problem.Field("amount", "amount is required")
	}
	amount, err := decimal.In(currency)
	if err != nil {
		return money.Amount{}, problem.Field("amount", "amount %s", err).Because(err)
	}
	if amount.Minor == 0 {
		return money.Amount{}, problem.Field("amount", "amount must be more than 0")
	}
	return amount, nil
}
