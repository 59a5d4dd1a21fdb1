package simulator

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Endpoint is where Stripe is to send events, and the secret that it signs them with.
type Endpoint struct{ URL, Secret string }

// apiVersion is the version that events are rendered in.
const apiVersion = "2026-03-25.dahlia"

// How often an event is sent to an endpoint that does not take it, after 1 s, 2 s,
// 4 s and so on: for two minutes, where Stripe takes three days.
const (
	webhookAttempts = 8
	webhookPause    = time.Second
	webhookTimeout  = 10 * time.Second
)

// event is an Event as Stripe renders it.
type event struct {
	ID              string         `json:"id"`
	Object          string         `json:"object"`
	APIVersion      string         `json:"api_version"`
	Created         int64          `json:"created"`
	Data            map[string]any `json:"data"`
	Livemode        bool           `json:"livemode"`
	PendingWebhooks int            `json:"pending_webhooks"`
	Request         eventRequest   `json:"request"`
	Type            string         `json:"type"`
}

type eventRequest struct {
	ID             *string `json:"id"`
	IdempotencyKey *string `json:"idempotency_key"`
}

// refundedCharge is as much of a Charge as charge.refunded needs.
type refundedCharge struct {
	ID             string            `json:"id"`
	Object         string            `json:"object"`
	Amount         int64             `json:"amount"`
	AmountRefunded int64             `json:"amount_refunded"`
	Currency       string            `json:"currency"`
	Metadata       map[string]string `json:"metadata"`
	PaymentIntent  string            `json:"payment_intent"`
	Refunded       bool              `json:"refunded"`
	Status         string            `json:"status"`
}

// Webhooks registers the endpoint. What happens from then on is sent by run, which
// returns when ctx has ended; what it has not got rid of by then is lost.
func (s *Server) Webhooks(to Endpoint) (run func(ctx context.Context)) {
	// An endpoint that is away must hold up nobody: what does not fit any more is lost.
	events := make(chan event, 10_000)
	s.mu.Lock()
	s.events = events
	s.mu.Unlock()
	return func(ctx context.Context) {
		var deliveries sync.WaitGroup
		defer deliveries.Wait()
		for {
			select {
			case e := <-events:
				lost, repeated, delay := s.switches.webhook()
				if lost {
					s.count("webhooksLost")
					continue
				}
				times := 1
				if repeated {
					times = 2
				}
				for range times { // side by side: like Stripe, we promise no order
					deliveries.Go(func() { s.deliver(ctx, to, e, delay) })
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// announce tells the endpoint, if there is one, of a committed entry. The caller
// holds the lock.
func (s *Server) announce(e entry, requestID string) {
	if s.events == nil {
		return
	}
	send := func(eventType string, object any) {
		ev := event{
			ID: newID("evt"), Object: "event", APIVersion: apiVersion, Created: s.now().Unix(),
			Data: map[string]any{"object": object}, PendingWebhooks: 1, Request: eventRequest{ID: &requestID}, Type: eventType,
		}
		if e.Key != "" {
			ev.Request.IdempotencyKey = &e.Key
		}
		select {
		case s.events <- ev:
		default:
			s.counters["webhooksLost"]++
		}
	}
	switch pi := e.Intent.Intent; {
	case e.Refund != nil:
		send("refund.created", *e.Refund)
		send("charge.refunded", refundedCharge{
			ID: *pi.LatestCharge, Object: "charge", Amount: pi.Amount, AmountRefunded: e.Intent.Refunded, Currency: pi.Currency,
			Metadata: pi.Metadata, PaymentIntent: pi.ID, Refunded: e.Intent.Refunded == pi.AmountReceived, Status: statusSucceeded,
		})
	case pi.Status == statusSucceeded:
		send("payment_intent.succeeded", pi)
	case pi.Status == statusRequiresMethod && pi.LastPaymentError != nil:
		send("payment_intent.payment_failed", pi)
	case pi.Status == statusRequiresAction:
		send("payment_intent.requires_action", pi)
	case pi.Status == statusCanceled:
		send("payment_intent.canceled", pi)
	default:
		send("payment_intent.created", pi)
	}
}

// deliver sends an event until it is taken.
func (s *Server) deliver(ctx context.Context, to Endpoint, e event, delay time.Duration) {
	body := marshal(e)
	pause := webhookPause
	for range webhookAttempts {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return
		}
		status, err := s.send(ctx, to, body)
		if err == nil && status/100 == 2 {
			s.count("webhooksSent")
			return
		}
		s.log.Warn("webhook not taken", "event", e.ID, "type", e.Type, "status", status, "error", err)
		delay, pause = pause, 2*pause
	}
	s.count("webhooksLost")
}

func (s *Server) send(ctx context.Context, to Endpoint, body json.RawMessage) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, webhookTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, to.URL, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	request.Header.Set("Stripe-Signature", signature(to.Secret, s.now(), body))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// signature is the header Stripe-Signature (Stripe's documentation, "Verify webhook
// signatures manually").
func signature(secret string, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
