// Package httpapi is payment-gateway's HTTP API: the internal routes, which only payment-service may call. It validates
// requests, calls package gateway, and encodes the outcomes.
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

// Deps is what the API depends on.
type Deps struct {
	Cards    *gateway.Gateway
	Webhooks gateway.Webhooks
	Guard    identity.Guard
}

type api struct {
	cards    *gateway.Gateway
	webhooks gateway.Webhooks
}

// New returns the router.
func New(deps Deps) *mux.Router {
	a, guard := api{deps.Cards, deps.Webhooks}, deps.Guard
	r := web.NewRouter()
	// The health does not depend on Stripe's. An unhealthy service receives no requests, and could not report that Stripe
	// is unavailable.
	web.Health(r)
	web.Docs(r, "payment-gateway")
	guard.Service(r, calls.Charge.Route, a.charge)
	guard.Service(r, calls.SettleCharge.Route, a.settle)
	guard.Service(r, calls.Refund.Route, a.refund)
	guard.Service(r, calls.ListDisputes.Route, a.disputes)
	guard.Service(r, calls.VerifyWebhook.Route, a.verifyWebhook)
	return r
}

// The forms of the values that are sent to Stripe: keys, which are also part of a search query, payment methods, and
// PaymentIntents. A card number has none of these forms, so it is rejected before it can reach a log.
var (
	keyForm         = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)
	tokenForm       = regexp.MustCompile(`^pm_[A-Za-z0-9_]{1,128}$`)
	transactionForm = regexp.MustCompile(`^pi_[A-Za-z0-9_]{1,128}$`)
	disputeForm     = regexp.MustCompile(`^d[pu]_[A-Za-z0-9_]{1,128}$`)
)

// maxText is the maximum length, in characters, of a text that Stripe stores. It is the limit of Stripe's metadata.
const maxText = 500

// charge charges a card. A charge that Stripe will never accept is a declined one, with the status 200: the circuit
// breaker of the caller's sidecar counts every 4xx, and buyers with invented payment tokens must not open it for all
// others.
func (a api) charge(w http.ResponseWriter, r *http.Request) error {
	request, err := decodeCharge(w, r)
	if err != nil {
		return err
	}
	charged, err := gateway.Charge{}, error(gateway.ErrUnknownPaymentMethod)
	if tokenForm.MatchString(request.PaymentToken) {
		charged, err = a.cards.Charge(r.Context(), request)
	}
	if p, ok := errors.AsType[*problem.Error](err); ok && p.Kind == problem.Invalid {
		charged, err = gateway.Charge{
			AttemptKey: request.AttemptKey, Status: gateway.Declined, DeclineCode: p.Code, Message: p.Message,
		}, nil
	}
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, calls.ChargeAnswer(charged))
}

// settle ends the attempt to make a charge and returns its outcome.
func (a api) settle(w http.ResponseWriter, r *http.Request) error {
	request, err := decodeCharge(w, r)
	if err != nil {
		return err
	}
	settled, err := a.cards.Settle(r.Context(), request)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, calls.ChargeAnswer(settled))
}

// decodeCharge reads the request to make or to settle a charge. A payment token may have any form.
func decodeCharge(w http.ResponseWriter, r *http.Request) (gateway.ChargeRequest, error) {
	var none gateway.ChargeRequest
	var in calls.ChargeRequest
	if err := web.Decode(w, r, &in); err != nil {
		return none, err
	}
	if !keyForm.MatchString(in.AttemptKey) {
		return none, invalidKey("attemptKey")
	}
	since, err := parseSince(in.AttemptedSince)
	if err != nil {
		return none, err
	}
	orderID, err := web.ParseID("orderId", in.OrderID)
	if err != nil {
		return none, err
	}
	amount, err := parseAmount(in.Amount, in.Currency)
	if err != nil {
		return none, err
	}
	switch {
	case utf8.RuneCountInString(in.Description) > maxText:
		return none, problem.Field("description", "description must be at most %d characters", maxText)
	case utf8.RuneCountInString(in.ReturnURL) > maxText:
		return none, problem.Field("returnUrl", "returnUrl must be at most %d characters", maxText)
	}
	return gateway.ChargeRequest{
		AttemptKey: in.AttemptKey, AttemptedSince: since, OrderID: orderID.String(), Amount: amount,
		PaymentToken: in.PaymentToken, Description: in.Description, ReturnURL: in.ReturnURL,
	}, nil
}

// refund refunds an amount of a charge.
func (a api) refund(w http.ResponseWriter, r *http.Request) error {
	var in calls.RefundRequest
	if err := web.Decode(w, r, &in); err != nil {
		return err
	}
	if !keyForm.MatchString(in.RefundKey) {
		return invalidKey("refundKey")
	}
	if !transactionForm.MatchString(in.TransactionID) {
		return gateway.ErrUnknownTransaction
	}
	amount, err := parseAmount(in.Amount, in.Currency)
	if err != nil {
		return err
	}
	if utf8.RuneCountInString(in.Reason) > maxText {
		return problem.Field("reason", "reason must be at most %d characters", maxText)
	}
	refunded, err := a.cards.Refund(r.Context(), in.RefundKey, in.TransactionID, amount, in.Reason)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, calls.RefundAnswer(refunded))
}

// disputes returns a page of the disputes of a transaction, or of those since a time.
func (a api) disputes(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	transactionID, after := query.Get("transactionId"), query.Get("after")
	if transactionID != "" && !transactionForm.MatchString(transactionID) {
		return problem.Field("transactionId", "transactionId must be the id of a PaymentIntent")
	}
	if after != "" && !disputeForm.MatchString(after) {
		return problem.Field("after", "after must be the id of a dispute")
	}
	var since time.Time
	if text := query.Get("since"); text != "" {
		var err error
		if since, err = time.Parse(time.RFC3339, text); err != nil {
			return problem.Field("since", "since must be a time such as 2024-01-15T10:30:00Z").Because(err)
		}
	}
	found, next, err := a.cards.Disputes(r.Context(), transactionID, since, after)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, calls.DisputesAnswer{Disputes: found, Next: next})
}

// maxWebhookRequest is the maximum size, in bytes, of a request to verify a webhook. The body of a webhook has at most
// web.MaxBody bytes, and each of them may be escaped with six in the JSON string that has it.
const maxWebhookRequest = 7 * web.MaxBody

// verifyWebhook reports whether a webhook is Stripe's, and what it says. A forged webhook is an outcome with the status
// 200: the circuit breaker of the caller's sidecar counts every 4xx, and forged webhooks must not open it for genuine
// ones.
func (a api) verifyWebhook(w http.ResponseWriter, r *http.Request) error {
	var in calls.VerifyWebhookRequest
	if err := web.DecodeUpTo(w, r, maxWebhookRequest, &in); err != nil {
		return err
	}
	event, err := a.webhooks.Parse([]byte(in.Payload), in.Signature)
	if errors.Is(err, gateway.ErrForged) {
		slog.WarnContext(r.Context(), "webhook rejected", "error", err.Error())
		return web.WriteJSON(w, http.StatusOK, calls.VerifyWebhookAnswer{})
	}
	if err != nil {
		return err
	}
	c := event.Charge
	return web.WriteJSON(w, http.StatusOK, calls.VerifyWebhookAnswer{Verified: true, Event: &calls.WebhookEvent{
		ID: event.ID, Type: event.Type, AttemptKey: c.AttemptKey, RefundKey: event.RefundKey, OrderID: event.OrderID,
		TransactionID: c.TransactionID,
		Status:        c.Status, DeclineCode: c.DeclineCode, Message: c.Message, Retryable: c.Retryable,
		Dispute: event.Dispute,
	}})
}

func invalidKey(field string) error {
	return problem.Field(field, "%s must be 1 to 128 letters, digits, dots, underscores, colons or dashes", field)
}

// parseSince returns the time at which a charge was first attempted.
func parseSince(text string) (time.Time, error) {
	since, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return since, problem.Field("attemptedSince",
			"attemptedSince must be a time such as 2024-01-15T10:30:00Z").Because(err)
	}
	return since, nil
}

// parseAmount returns an amount to charge or refund. It returns a *problem.Error unless the amount is more than 0.
func parseAmount(decimal money.Decimal, code money.Currency) (money.Amount, error) {
	currency, err := money.ParseCurrency(string(code))
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
