package faults_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
)

const (
	// operatorInterval is the time between two actions of operators while the system settles.
	operatorInterval = 10 * time.Second
	// tokenAge is the age at which an access token is replaced. It is valid for 15 minutes.
	tokenAge = 8 * time.Minute
)

// session is an access token of a user.
type session struct {
	token demo.Token
	since time.Time
}

// operate does what the system does not do by itself, and what takes too long for a test. Operators retry the stuck
// sagas, so that refunds which the bank sent back are made again. The buyers who do not answer their bank run out of
// time. Stripe sends the webhooks again that report failed refunds; it would do that for three days.
func (h *harness) operate(ctx context.Context) error {
	if err := h.passAuthenticationWindow(ctx); err != nil {
		return err
	}
	if err := h.stripe(ctx, http.MethodPost, "/_webhooks", nil, nil); err != nil {
		return fmt.Errorf("send the webhooks again: %w", err)
	}
	token, err := h.adminToken(ctx)
	if err != nil {
		return err
	}
	var answer struct{ Retried int }
	if err := h.client().Do(ctx, demo.Request{
		Method: http.MethodPost, App: "payment-service", Path: "/api/payments/admin/sagas/retry", Token: token,
	}, &answer); err != nil {
		return fmt.Errorf("retry the stuck sagas: %w", err)
	}
	h.count(retried, answer.Retried)
	return nil
}

// retried is the key of a tally that counts the orders whose stuck sagas operators retried.
const retried = "retried by operators"

// client returns a client that calls the apps through a sidecar.
func (h *harness) client() demo.Client {
	return demo.Client{Sidecar: h.system.App("auth-service").SidecarURL()}
}

// adminToken returns an access token of the administrator.
func (h *harness) adminToken(ctx context.Context) (demo.Token, error) {
	if time.Since(h.admin.since) < tokenAge {
		return h.admin.token, nil
	}
	secrets, err := h.secrets()
	if err != nil {
		return "", err
	}
	token, err := login(ctx, h.client(), "admin@eventbooking.example", secrets["auth-service-admin-password"])
	if err != nil {
		return "", fmt.Errorf("log in the administrator: %w", err)
	}
	h.admin = session{token, time.Now()}
	return token, nil
}

// secrets returns the secrets of the stack, by name.
func (h *harness) secrets() (map[string]string, error) {
	content, err := os.ReadFile(filepath.Join(h.system.DataDir(), "secrets.json"))
	if err != nil {
		return nil, fmt.Errorf("read the secrets: %w", err)
	}
	var secrets map[string]string
	if err := json.Unmarshal(content, &secrets); err != nil {
		return nil, fmt.Errorf("read the secrets: %w", err)
	}
	return secrets, nil
}

// login returns a new access token of a user.
func login(ctx context.Context, c demo.Client, email, password string) (demo.Token, error) {
	var answer struct {
		AccessToken demo.Token `json:"accessToken"`
	}
	err := c.Do(ctx, demo.Request{
		Method: http.MethodPost, App: "auth-service", Path: "/api/auth/login",
		Body: map[string]string{"email": email, "password": password},
	}, &answer)
	return answer.AccessToken, err
}
