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

// Endpoint is the URL of a webhook endpoint, and the secret that events to it are signed with.
type Endpoint struct{ URL, Secret string }

// apiVersion is the version of Stripe's API that events are rendered in.
const apiVersion = "2026-03-25.dahlia"

// An event that the endpoint does not accept is sent again after 1 s, 2 s, 4 s and so on, for two minutes. Stripe sends
// it for three days.
const (
	webhookAttempts = 8
	webhookPause    = time.Second
	webhookTimeout  = 10 * time.Second
	webhookBuffer   = 10_000 // events
)

// event is an Event as Stripe renders it.
type event struct {
	ID              string       `json:"id"`
	Object          string       `json:"object"`
	APIVersion      string       `json:"api_version"`
	Created         int64        `json:"created"`
	Data            eventData    `json:"data"`
	Livemode        bool         `json:"livemode"`
	PendingWebhooks int          `json:"pending_webhooks"`
	Request         eventRequest `json:"request"`
	Type            string       `json:"type"`
}

type eventData struct {
	Object any `json:"object"`
}

type eventRequest struct {
	ID             *string `json:"id"`
	IdempotencyKey *string `json:"idempotency_key"`
}

// refundedCharge has those fields of a Charge that its events need.
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

// Webhooks registers the endpoint. Run sends the events that occur from then on until ctx is done; events that it has
// not delivered by then are lost.
func (s *Server) Webhooks(to Endpoint) (run func(ctx context.Context)) {
	// An endpoint that does not answer must not block requests: events beyond this buffer are lost.
	events := make(chan event, webhookBuffer)
	s.mu.Lock()
	s.events = events
	s.mu.Unlock()
	return func(ctx context.Context) {
		var deliveries sync.WaitGroup
		defer deliveries.Wait()
		due := time.NewTicker(settleInterval)
		defer due.Stop()
		for {
			select {
			case <-due.C:
				s.mu.Lock()
				s.settle()
				s.mu.Unlock()
			case e := <-events:
				lost, repeated, delay := s.faults.webhook()
				if lost {
					s.count("webhooksLost")
					continue
				}
				times := 1
				if repeated {
					times = 2
				}
				for range times { // concurrently, because Stripe guarantees no order either
					deliveries.Go(func() { s.deliver(ctx, to, e, delay) })
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// announce queues the webhook events of a committed entry, if there is an endpoint. The caller holds the lock.
func (s *Server) announce(e entry, requestID string) {
	if s.events == nil {
		return
	}
	for _, news := range e.news {
		ev := event{
			ID: newID("evt"), Object: "event", APIVersion: apiVersion, Created: s.now().Unix(),
			Data: eventData{news.object}, PendingWebhooks: 1, Type: news.eventType,
		}
		if requestID != "" {
			ev.Request.ID = &requestID
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
}

// deliver sends an event after a delay, and again until the endpoint accepts it or the attempts are used up.
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
		s.log.Warn("send webhook failed", "event", e.ID, "type", e.Type, "status", status, "error", err)
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

// signature returns the header Stripe-Signature. The scheme is described in
// https://docs.stripe.com/webhooks#verify-manually.
func signature(secret string, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
