package email

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	stdmail "net/mail"
	"strings"
	"time"

	"github.com/wneessen/go-mail"
	"go.opentelemetry.io/otel/trace"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/email-service/internal/claim"
	"github.com/eventbooking/eventbooking/services/internal/telemetry"
)

// Errors of Send.
var (
	// ErrRejected reports that the server refused the message permanently. It would refuse the same message again.
	ErrRejected = problem.New(problem.Unprocessable, "EMAIL_REJECTED", "The mail server refuses this message")
	// ErrUnavailable reports that the server could not be reached, refused the message temporarily or did not answer,
	// or that the claim on the message could not be taken.
	ErrUnavailable = problem.New(
		problem.Unavailable, "EMAIL_UNAVAILABLE", "The mail server does not accept messages at the moment",
	)
)

const (
	// defaultTimeout is the default of Server.Timeout. Twice this is less than the sidecar's timeout of a call to this
	// service. If the sidecar timed out first, it would repeat the call and find the message claimed.
	defaultTimeout = 2 * time.Second
	// Lease is the lease that the claims of a Sender must have. It covers sending the message and recording that it is
	// sent.
	Lease = 15 * time.Second
	// sendTimeout bounds Send, with taking the claim. A worker therefore stops at least 1 s before its lease expires.
	sendTimeout = Lease - time.Second
)

// Server is the SMTP server, and how to connect to it.
type Server struct {
	Host     string
	Port     int
	Username string // empty: no authentication
	Password string
	From     string // RFC 5322 address of the sender
	TLS      string // none, starttls or tls
	// Timeout bounds connecting, and sending too. 0 means 2 s.
	Timeout time.Duration
}

// Sender sends messages. Its methods may be called concurrently.
type Sender struct {
	client *mail.Client
	from   *stdmail.Address
	claims claim.Claims
}

// NewSender returns a Sender. It does not connect. Its errors name the invalid environment variable.
func NewSender(s Server, claims claim.Claims) (*Sender, error) {
	from, err := stdmail.ParseAddress(s.From)
	if err != nil {
		return nil, fmt.Errorf("SMTP_FROM: %w", err)
	}
	if s.Port < 1 || s.Port > 65535 {
		return nil, fmt.Errorf("SMTP_PORT: %d is not a port", s.Port)
	}
	options := []mail.Option{mail.WithPort(s.Port), mail.WithTimeout(cmp.Or(s.Timeout, defaultTimeout))}
	switch s.TLS {
	case "none":
		ip := net.ParseIP(s.Host)
		if s.Username != "" && s.Host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return nil, errors.New("SMTP_TLS: none would send the password of SMTP_USERNAME in the clear")
		}
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	case "starttls":
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	case "tls":
		options = append(options, mail.WithSSL())
	default:
		return nil, fmt.Errorf("SMTP_TLS: %q is none of none, starttls, tls", s.TLS)
	}
	if s.Username != "" {
		options = append(options,
			mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(s.Username), mail.WithPassword(s.Password))
	}
	client, err := mail.NewClient(s.Host, options...)
	if err != nil {
		return nil, fmt.Errorf("SMTP_HOST: %w", err)
	}
	return &Sender{client: client, from: from, claims: claims}, nil
}

// Send sends m, unless a message with its id was sent within a day. It returns the error of m.Validate, ErrRejected or
// ErrUnavailable.
func (s *Sender) Send(ctx context.Context, m Message) error {
	if err := m.Validate(); err != nil {
		return err
	}
	// Send continues if the caller disconnects: after an interruption it would be unknown whether the mail was sent.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTimeout)
	defer cancel()
	held, err := s.claims.Take(ctx, m.ID)
	if errors.Is(err, claim.ErrDone) {
		slog.InfoContext(ctx, "message already sent", "messageId", m.ID)
		messages.WithLabelValues(repeated).Inc()
		return nil
	}
	if err != nil {
		return ErrUnavailable.Because(err)
	}
	if err := s.handOver(ctx, m); err != nil {
		return errors.Join(err, held.Release(ctx))
	}
	if err := held.Done(ctx); err != nil { // not an error of Send: the message was sent
		slog.ErrorContext(ctx, "record sent message failed", "messageId", m.ID, "error", err.Error())
	}
	return nil
}

// handOver passes m to the server. It returns ErrRejected or ErrUnavailable.
func (s *Sender) handOver(ctx context.Context, m Message) (err error) {
	ctx, span := telemetry.Start(ctx, "SMTP send", trace.WithSpanKind(trace.SpanKindClient))
	defer func(began time.Time) {
		observe(err, began)
		telemetry.End(span, err)
	}(time.Now())
	composed, err := s.compose(m)
	if err != nil {
		return err
	}
	err = s.client.DialAndSendWithContext(ctx, composed)
	switch {
	case composed.IsDelivered():
		if err != nil { // only QUIT failed; a retry would send the message twice
			slog.DebugContext(ctx, "close connection to mail server failed", "error", err.Error())
		}
		return nil
	case err == nil:
		return ErrUnavailable.Because(errors.New("the SMTP client reported neither delivery nor an error"))
	}
	refused, ok := errors.AsType[*mail.SendError](err)
	if !ok {
		return ErrUnavailable.Because(err)
	}
	// The text of the error contains the address of the recipient, which must not be logged.
	cause := fmt.Errorf("%s: the server answered %d %s", refused.Reason, refused.ErrorCode(), refused.EnhancedStatusCode())
	if code := refused.ErrorCode(); code < 500 || code == 530 || code == 535 {
		// 530 and 535 mean that the login is wrong, which is a fault of the configuration and not of the message.
		return ErrUnavailable.Because(cause)
	}
	return ErrRejected.Because(cause)
}

// compose returns m in MIME: the text and the HTML as alternatives, and the attachments.
func (s *Sender) compose(m Message) (*mail.Msg, error) {
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	msg.FromMailAddress(s.from)
	msg.ToMailAddress(&m.To)
	msg.Subject(m.Subject)
	msg.SetDate()
	_, domain, _ := strings.Cut(s.from.Address, "@")
	msg.SetMessageIDWithValue(strings.ReplaceAll(m.ID, ":", "=") + "@" + domain)
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: prevents out-of-office replies
	msg.SetBodyString(mail.TypeTextPlain, m.Text)
	if m.HTML != "" {
		msg.AddAlternativeString(mail.TypeTextHTML, m.HTML)
	}
	for _, attachment := range m.Attachments {
		err := msg.AttachReader(attachment.Filename, bytes.NewReader(attachment.Content),
			mail.WithFileContentType(mail.ContentType(attachment.ContentType)))
		if err != nil {
			return nil, fmt.Errorf("attach: %w", err)
		}
	}
	return msg, nil
}
