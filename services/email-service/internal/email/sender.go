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
	// ErrRejected: the server refused this message for good; the same again will be refused again.
	ErrRejected = problem.New(problem.Unprocessable, "EMAIL_REJECTED", "The mail server refuses this message")
	// ErrUnavailable: the server could not be reached, refused for now, or did not say.
	ErrUnavailable = problem.New(problem.Unavailable, "EMAIL_UNAVAILABLE", "The mail server does not take messages right now")
)

const (
	// defaultTimeout is the default of Server.Timeout. Twice this is less than the sidecar's timeout of a call to this
	// service. If the sidecar timed out first, it would repeat the call and find the message claimed.
	defaultTimeout = 2 * time.Second
	// Lease is how long the claims given to a Sender must last: all that is done under one, with time to write
	// down that it is done.
	Lease = 15 * time.Second
	// doneBy leaves the others a moment after whoever holds the claim has stopped.
	doneBy = Lease - time.Second
)

// Server is the SMTP server to use and how.
type Server struct {
	Host     string
	Port     int
	Username string // empty: no authentication
	Password string
	From     string // RFC 5322 address of the sender
	TLS      string // none, starttls or tls
	// Timeout limits connecting, and again sending. 0 means 2 s.
	Timeout time.Duration
}

// Sender sends messages. It is safe for concurrent use.
type Sender struct {
	client *mail.Client
	from   *stdmail.Address
	claims claim.Claims
}

// NewSender makes a Sender without connecting. Its errors name the variable at fault.
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
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(s.Username), mail.WithPassword(s.Password))
	}
	client, err := mail.NewClient(s.Host, options...)
	if err != nil {
		return nil, fmt.Errorf("SMTP_HOST: %w", err)
	}
	return &Sender{client: client, from: from, claims: claims}, nil
}

// Send hands m to the server, unless that took it before. It returns a *problem.Error for an invalid message,
// ErrRejected and ErrUnavailable.
func (s *Sender) Send(ctx context.Context, m Message) error {
	if err := m.Validate(); err != nil {
		return err
	}
	// What has begun is brought to its end: a mail cut off in the middle may be out, and nobody would know.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), doneBy)
	defer cancel()
	held, err := s.claims.Take(ctx, m.ID)
	if errors.Is(err, claim.ErrDone) {
		slog.InfoContext(ctx, "message was sent before", "messageId", m.ID)
		messages.WithLabelValues(repeated).Inc()
		return nil
	}
	if err != nil {
		return ErrUnavailable.Because(err)
	}
	if err := s.handOver(ctx, m); err != nil {
		return errors.Join(err, held.Release(ctx))
	}
	if err := held.Done(ctx); err != nil { // the mail is out all the same
		slog.ErrorContext(ctx, "message sent, but not recorded as such", "messageId", m.ID, "error", err.Error())
	}
	return nil
}

// handOver gives m to the server. Its errors are Send's.
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
		if err != nil { // the goodbye failed, not the message: repeating it would send it twice
			slog.DebugContext(ctx, "connection to the mail server", "error", err.Error())
		}
		return nil
	case err == nil:
		return ErrUnavailable.Because(errors.New("the client reports neither delivery nor error"))
	}
	refused, ok := errors.AsType[*mail.SendError](err)
	if !ok {
		return ErrUnavailable.Because(err)
	}
	// The error's own text has the recipient's address in it, which belongs into no log.
	cause := fmt.Errorf("%s: the server answered %d %s", refused.Reason, refused.ErrorCode(), refused.EnhancedStatusCode())
	if code := refused.ErrorCode(); code < 500 || code == 530 || code == 535 {
		// 530 and 535 want another login: our configuration, not the message.
		return ErrUnavailable.Because(cause)
	}
	return ErrRejected.Because(cause)
}

// compose writes m as MIME: the text and its HTML as alternatives, the attachments beside them.
func (s *Sender) compose(m Message) (*mail.Msg, error) {
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	msg.FromMailAddress(s.from)
	msg.ToMailAddress(&m.To)
	msg.Subject(m.Subject)
	msg.SetDate()
	_, domain, _ := strings.Cut(s.from.Address, "@")
	msg.SetMessageIDWithValue(strings.ReplaceAll(m.ID, ":", "=") + "@" + domain)
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no out-of-office replies, please
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
