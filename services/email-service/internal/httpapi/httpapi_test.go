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

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
	"github.com/eventbooking/eventbooking/services/email-service/internal/claim"
	"github.com/eventbooking/eventbooking/services/email-service/internal/claim/claimtest"
	"github.com/eventbooking/eventbooking/services/email-service/internal/email"
	"github.com/eventbooking/eventbooking/services/email-service/internal/httpapi"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

const (
	serviceSecret = "service secret of this test"
	appAPIToken   = "app API token of this test"
	caller        = "notification-service"
)

// smtpServer accepts messages and sends their sizes in bytes to the channel. It refuses the mailbox "unknown".
type smtpServer chan int

func (s smtpServer) Reset()                               {}
func (s smtpServer) Logout() error                        { return nil }
func (s smtpServer) Mail(string, *smtp.MailOptions) error { return nil }

func (s smtpServer) Rcpt(to string, _ *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "unknown@") {
		return &smtp.SMTPError{Code: 550, Message: "no such mailbox"}
	}
	return nil
}

func (s smtpServer) Data(r io.Reader) error {
	n, err := io.Copy(io.Discard, r)
	s <- int(n)
	return err
}

// bundle is the service over HTTP with a real SMTP server.
type bundle struct {
	url      string
	accepted smtpServer
	listener net.Listener // of the SMTP server
}

func setup(t *testing.T) *bundle {
	t.Helper()
	t.Parallel()
	b := &bundle{accepted: make(smtpServer, 16)}
	mailServer := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return b.accepted, nil }))
	var err error
	b.listener, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = mailServer.Serve(b.listener) }()
	sender, err := email.NewSender(email.Server{
		Host: "127.0.0.1", Port: b.listener.Addr().(*net.TCPAddr).Port,
		From: "tickets@eventbooking.example", TLS: "none",
		// A large attachment takes longer than the default on a busy machine with the race detector.
		AnswerWithin: email.Lease,
	}, claim.Claims{States: &claimtest.States{}, Lease: email.Lease, Keep: time.Hour})
	require.NoError(t, err)
	server := httptest.NewServer(httpapi.New(sender,
		identity.Guard{ServiceSecret: []byte(serviceSecret), AppAPIToken: appAPIToken},
		web.Check{Name: "statestore", Probe: func(context.Context) error { return nil }}))
	t.Cleanup(func() {
		server.Close()
		_ = mailServer.Close()
	})
	b.url = server.URL
	return b
}

// answer is a response.
type answer struct {
	status int
	body   string
}

// requireFailure asserts that the response is an error in the contract's form.
func (a answer) requireFailure(t *testing.T, status int, code, field string) {
	t.Helper()
	require.Equal(t, status, a.status, a.body)
	var f struct{ Error, Field string }
	require.NoError(t, json.Unmarshal([]byte(a.body), &f), a.body)
	require.Equal(t, code, f.Error)
	require.Equal(t, field, f.Field)
}

// as sends a request of the service.
func (b *bundle) as(t *testing.T, service, method, path, body string) answer {
	t.Helper()
	token, err := identity.SignServiceToken([]byte(serviceSecret), service)
	require.NoError(t, err)
	return b.do(t, method, path, body, http.Header{
		"X-Service-Token": {token}, "X-Service-Name": {service}, "Dapr-Api-Token": {appAPIToken},
	})
}

// send sends a message to the service as notification-service does.
func (b *bundle) send(t *testing.T, message string) answer {
	t.Helper()
	return b.as(t, caller, calls.SendMail.Method, calls.SendMail.Path, message)
}

func (b *bundle) do(t *testing.T, method, path, body string, header http.Header) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.url+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header = header
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return answer{res.StatusCode, string(content)}
}

// message returns the body of a request to send a message. The content of its attachment is in base64.
func message(address, content string) string {
	return `{"messageId": "m-1", "to": {"name": "John Doe", "address": "` + address + `"},
		"subject": "Your tickets", "text": "Hello", "html": "<p>Hello</p>", "attachments": [
		{"filename": "TKT-2026-000001.pdf", "contentType": "application/pdf", "content": "` + content + `"}]}`
}

func TestRoutesAreThoseOfTheDocument(t *testing.T) {
	t.Parallel()
	contracttest.Routes(t, httpapi.New(nil, identity.Guard{}, web.Check{}), "email-service")
}

func TestRepeatedRequestSendsOnce(t *testing.T) {
	b := setup(t)
	first := b.send(t, message("john@example.com", "JVBERi0xLjc="))
	require.Equal(t, http.StatusOK, first.status, first.body)
	require.JSONEq(t, `{"messageId": "m-1", "accepted": true}`, first.body)
	require.Positive(t, <-b.accepted)

	repeated := b.send(t, message("john@example.com", "JVBERi0xLjc="))
	require.Equal(t, first, repeated)
	require.Empty(t, b.accepted, "a repeated message is not sent again")
}

func TestAttachmentsAreLimitedInSize(t *testing.T) {
	b := setup(t)
	tooLarge := base64.StdEncoding.EncodeToString(make([]byte, email.MaxAttachmentsBytes+1))
	b.send(t, message("john@example.com", tooLarge)).
		requireFailure(t, http.StatusRequestEntityTooLarge, "MESSAGE_TOO_LARGE", "attachments")
	b.send(t, message("john@example.com", strings.Repeat("AAAA", calls.MaxBody/4))).
		requireFailure(t, http.StatusRequestEntityTooLarge, "BODY_TOO_LARGE", "")
}

// The largest message, whose texts become as large as possible in JSON, is accepted by the sidecar.
func TestLargestMessageIsSent(t *testing.T) {
	b := setup(t)
	body, err := json.Marshal(calls.SendMailRequest{
		MessageID: "m-1", To: calls.MailRecipient{Name: strings.Repeat("ä", 201), Address: "john@example.com"},
		Subject: strings.Repeat("ä", 250),
		Text:    strings.Repeat("<", email.MaxText), HTML: strings.Repeat("<", email.MaxText),
		Attachments: []calls.MailAttachment{{
			Filename: "ORD-2026-000001.pdf", ContentType: "application/pdf",
			Content: base64.StdEncoding.EncodeToString(make([]byte, email.MaxAttachmentsBytes)),
		}},
	})
	require.NoError(t, err)
	require.Less(t, len(body), calls.MaxBody)
	a := b.send(t, string(body))
	require.Equal(t, http.StatusOK, a.status, a.body)
	require.Greater(t, <-b.accepted, email.MaxAttachmentsBytes)
}

func TestInvalidMessagesAreRejected(t *testing.T) {
	b := setup(t)
	for _, tt := range []struct {
		name, body  string
		status      int
		code, field string
	}{
		{"Malformed", `{`, http.StatusBadRequest, "MALFORMED_JSON", ""},
		{
			"AddressWithHeader", message(`a@example.com\r\nBcc: b@example.com`, "AAAA"),
			http.StatusBadRequest, "VALIDATION_ERROR", "to.address",
		},
		{
			"NotBase64", message("john@example.com", "%%%"),
			http.StatusBadRequest, "VALIDATION_ERROR", "attachments[0].content",
		},
		{
			"NoSuchMailbox", message("unknown@example.com", "AAAA"),
			http.StatusUnprocessableEntity, "EMAIL_REJECTED", "",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b.send(t, tt.body).requireFailure(t, tt.status, tt.code, tt.field)
		})
	}
}

func TestUnreachableServerDoesNotAffectHealth(t *testing.T) {
	b := setup(t)
	require.NoError(t, b.listener.Close())
	b.send(t, message("john@example.com", "AAAA")).
		requireFailure(t, http.StatusServiceUnavailable, "EMAIL_UNAVAILABLE", "")
	health := b.as(t, caller, http.MethodGet, "/actuator/health", "")
	require.Equal(t, http.StatusOK, health.status, health.body)
}

func TestOnlyNotificationServiceSends(t *testing.T) {
	b := setup(t)
	body := message("john@example.com", "AAAA")
	b.as(t, "payment-service", calls.SendMail.Method, calls.SendMail.Path, body).
		requireFailure(t, http.StatusForbidden, "SERVICE_FORBIDDEN", "")
	anonymous := b.do(t, calls.SendMail.Method, calls.SendMail.Path, body, http.Header{})
	require.Equal(t, http.StatusUnauthorized, anonymous.status)
}
