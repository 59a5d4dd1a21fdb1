package httpapi_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/email-service/internal/claim"
	"github.com/eventbooking/eventbooking/services/email-service/internal/claim/claimtest"
	"github.com/eventbooking/eventbooking/services/email-service/internal/email"
	"github.com/eventbooking/eventbooking/services/email-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

var secret = []byte("service secret of this test")

const (
	appToken = "app-api-token"
	messages = "/api/email/internal/messages"
)

// taken counts the bytes of each message an SMTP server took; a mailbox named "nobody" it refuses.
type taken chan int

func (s taken) Reset()                               {}
func (s taken) Logout() error                        { return nil }
func (s taken) Mail(string, *smtp.MailOptions) error { return nil }

func (s taken) Rcpt(to string, _ *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "nobody@") {
		return &smtp.SMTPError{Code: 550, Message: "no such mailbox"}
	}
	return nil
}

func (s taken) Data(r io.Reader) error {
	n, err := io.Copy(io.Discard, r)
	s <- int(n)
	return err
}

// bundle is the service over HTTP, before a real SMTP server.
type bundle struct {
	t        *testing.T
	url      string
	taken    taken
	listener net.Listener // of the SMTP server
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{t: t, taken: make(taken, 16)}
	mailServer := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return b.taken, nil }))
	var err error
	b.listener, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = mailServer.Serve(b.listener) }()
	sender, err := email.NewSender(email.Server{
		Host: "127.0.0.1", Port: b.listener.Addr().(*net.TCPAddr).Port, From: "tickets@eventbooking.example", TLS: "none",
		// A large attachment takes longer than the default on a busy machine with the race detector.
		Timeout: email.Lease,
	}, claim.Claims{States: &claimtest.States{}, Lease: email.Lease, Keep: time.Hour})
	require.NoError(t, err)
	server := httptest.NewServer(httpapi.New(sender, identity.Guard{ServiceSecret: secret, AppAPIToken: appToken},
		web.Check{Name: "statestore", Probe: func(context.Context) error { return nil }}))
	t.Cleanup(func() {
		server.Close()
		_ = mailServer.Close()
	})
	b.url = server.URL
	return b
}

// as calls the service as the named one.
func (b *bundle) as(service, method, path, body string) (int, map[string]any) {
	b.t.Helper()
	token, err := identity.SignServiceToken(secret, service)
	require.NoError(b.t, err)
	request, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, strings.NewReader(body))
	require.NoError(b.t, err)
	request.Header.Set("X-Service-Token", token)
	request.Header.Set("X-Service-Name", service)
	request.Header.Set("dapr-api-token", appToken)
	response, err := http.DefaultClient.Do(request)
	require.NoError(b.t, err)
	defer func() { _ = response.Body.Close() }()
	var answer map[string]any
	require.NoError(b.t, json.NewDecoder(response.Body).Decode(&answer))
	return response.StatusCode, answer
}

// messageBody is a message to address with one attachment of base64 content.
func messageBody(address, content string) string {
	return `{"messageId":"m-1","to":{"name":"John Doe","address":"` + address + `"},"subject":"Your tickets","text":"Hello","html":"<p>Hello</p>",` +
		`"attachments":[{"filename":"TKT-2026-000001.pdf","contentType":"application/pdf","content":"` + content + `"}]}`
}

func TestSend(t *testing.T) {
	t.Parallel()
	b := setup(t)
	status, answer := b.as("notification-service", http.MethodPost, messages, messageBody("john@example.com", "JVBERi0xLjc="))
	require.Equal(t, http.StatusOK, status, answer)
	require.Equal(t, map[string]any{"messageId": "m-1", "accepted": true}, answer)
	require.Positive(t, <-b.taken)

	status, again := b.as("notification-service", http.MethodPost, messages, messageBody("john@example.com", "JVBERi0xLjc="))
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, answer, again)
	require.Empty(t, b.taken, "it is out")
}

func TestLargeAttachment(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const large = 4 << 20
	content := base64.StdEncoding.EncodeToString(make([]byte, large))
	status, answer := b.as("notification-service", http.MethodPost, messages, messageBody("john@example.com", content))
	require.Equal(t, http.StatusOK, status, answer)
	require.Greater(t, <-b.taken, large)

	over := base64.StdEncoding.EncodeToString(make([]byte, email.MaxAttachmentsBytes+1))
	status, answer = b.as("notification-service", http.MethodPost, messages, messageBody("john@example.com", over))
	require.Equal(t, http.StatusRequestEntityTooLarge, status)
	require.Equal(t, "MESSAGE_TOO_LARGE", answer["error"])
	require.Equal(t, "attachments", answer["field"])

	status, answer = b.as("notification-service", http.MethodPost, messages, messageBody("john@example.com", strings.Repeat("AAAA", 5<<20)))
	require.Equal(t, http.StatusRequestEntityTooLarge, status)
	require.Equal(t, "BODY_TOO_LARGE", answer["error"])
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, tt := range map[string]struct {
		body        string
		status      int
		code, field string
	}{
		"Malformed":       {body: `{`, status: 400, code: "MALFORMED_JSON"},
		"HeaderInjection": {body: messageBody(`a@example.com\r\nBcc: b@example.com`, "AAAA"), status: 400, code: "VALIDATION_ERROR", field: "to.address"},
		"NotBase64":       {body: messageBody("john@example.com", "%%%"), status: 400, code: "VALIDATION_ERROR", field: "attachments[0].content"},
		"NoSuchMailbox":   {body: messageBody("nobody@example.com", "AAAA"), status: 422, code: "EMAIL_REJECTED"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, answer := b.as("notification-service", http.MethodPost, messages, tt.body)
			require.Equal(t, tt.status, status, answer)
			require.Equal(t, tt.code, answer["error"])
			if tt.field != "" {
				require.Equal(t, tt.field, answer["field"])
			}
		})
	}
}

func TestServerAway(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.listener.Close())
	status, answer := b.as("notification-service", http.MethodPost, messages, messageBody("john@example.com", "AAAA"))
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Equal(t, "EMAIL_UNAVAILABLE", answer["error"])
	status, _ = b.as("notification-service", http.MethodGet, "/actuator/health", "")
	require.Equal(t, http.StatusOK, status, "the SMTP server's health is not ours")
}

func TestOnlyNotificationService(t *testing.T) {
	t.Parallel()
	b := setup(t)
	status, answer := b.as("payment-service", http.MethodPost, messages, messageBody("john@example.com", "AAAA"))
	require.Equal(t, http.StatusForbidden, status)
	require.Equal(t, "SERVICE_FORBIDDEN", answer["error"])

	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+messages, strings.NewReader(messageBody("john@example.com", "AAAA")))
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusUnauthorized, response.StatusCode)
}
