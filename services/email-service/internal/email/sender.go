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
	"sync"
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
	// ErrUnconfirmed reports that the server received the whole message MaxUnconfirmed times and never answered. It is not
	// sent again, because the recipient may have that many copies.
	ErrUnconfirmed = problem.New(problem.Unprocessable, "EMAIL_UNCONFIRMED",
		"The mail server received this message %d times without an answer", MaxUnconfirmed)
	// ErrInProgress reports that an attempt to send the message is in progress. A later Send reports its outcome.
	ErrInProgress = problem.New(problem.Conflict, "EMAIL_IN_PROGRESS", "The mail server has not answered yet")
	// ErrDeferred reports that the server refused the message temporarily for its own sake: the mailbox is full or the
	// sender not known yet, for example. The server accepts other messages, so no circuit breaker must count this.
	ErrDeferred = problem.New(problem.Conflict, "EMAIL_DEFERRED", "The mail server refuses this message for now")
	// ErrUnavailable reports that the server could not be reached, accepts no messages at the moment or did not answer,
	// that the claim on the message could not be taken, or that too many messages are in progress.
	ErrUnavailable = problem.New(
		problem.Unavailable, "EMAIL_UNAVAILABLE", "The mail server does not accept messages at the moment",
	)
)

const (
	// MaxUnconfirmed is how many copies of a message are sent if the server never answers whether it accepted one.
	MaxUnconfirmed = 3
	// Lease is the lease that the claims of a Sender must have. An attempt renews it after each quarter of it.
	Lease = 15 * time.Second
	// conversations is the maximum number of concurrent attempts: as many as concurrent requests (dapr.yaml).
	conversations = 100
	// bulkConversations is the part of them that bulk messages may take.
	bulkConversations = conversations / 2

	// defaultAnswerWithin is the default of Server.AnswerWithin. It is shorter than the sidecar's timeout of a call to
	// this service, which would count as a failure of this service.
	defaultAnswerWithin = 4 * time.Second
	// takeTimeout bounds taking the claim on a message.
	takeTimeout = 4 * time.Second
	// recordTimeout bounds recording the outcome of an attempt. Most outages of the store are shorter.
	recordTimeout = time.Minute
	// drainTimeout is how long a stopping process waits for the answers to messages that are sent completely.
	drainTimeout = 20 * time.Second
)

// Server is the SMTP server, and how to connect to it.
type Server struct {
	Host     string
	Port     int
	Username string // empty: no authentication
	Password string
	From     string // RFC 5322 address of the sender
	TLS      string // none, starttls or tls
	// Waits bound the phases of a conversation. A zero field means the time of RFC 5321.
	Waits Waits
	// AnswerWithin is how long Send waits for the outcome of an attempt. 0 means 4 s.
	AnswerWithin time.Duration
}

// Sender sends messages. Its methods may be called concurrently.
type Sender struct {
	client       *mail.Client
	from         *stdmail.Address
	claims       claim.Claims
	waits        Waits
	answerWithin time.Duration

	slots     chan struct{}  // holds one entry for each attempt in progress
	bulkSlots chan struct{}  // holds one entry for each attempt with a bulk message
	running   sync.WaitGroup // the attempts in progress
	stopping  chan struct{}  // closed when the process stops
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
	waits := s.Waits.orDefaults()
	options := []mail.Option{mail.WithPort(s.Port), mail.WithTimeout(waits.Command)}
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
	return &Sender{
		client: client, from: from, claims: claims, waits: waits,
		answerWithin: cmp.Or(s.AnswerWithin, defaultAnswerWithin),
		slots:        make(chan struct{}, conversations), bulkSlots: make(chan struct{}, bulkConversations),
		stopping: make(chan struct{}),
	}, nil
}

// Run waits until ctx is done. Then it ends the attempts whose message is not sent completely, and waits for the others
// for at most 20 s. An attempt that is interrupted after that is repeated when its lease expires. Run must be called
// once.
func (s *Sender) Run(ctx context.Context) error {
	<-ctx.Done()
	close(s.stopping)
	finished := make(chan struct{})
	go func() {
		s.running.Wait()
		close(finished)
	}()
	select {
	case <-finished:
	case <-time.After(drainTimeout):
		slog.WarnContext(ctx, "stopped before the mail server answered", "messages", len(s.slots))
	}
	return ctx.Err()
}

// Send sends m, unless a message with its id was sent within a day. It returns the error of m.Validate, or one of the
// errors above. The attempt continues after ErrInProgress, and if the caller disconnects: after an interruption it
// would be unknown whether the message was sent.
func (s *Sender) Send(ctx context.Context, m Message) error {
	answerBy := time.After(s.answerWithin)
	if err := m.Validate(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	release, err := s.acquire(m.Bulk)
	if err != nil {
		return err
	}
	held, err := s.take(ctx, m.ID)
	if err != nil {
		release()
		if errors.Is(err, claim.ErrDone) {
			slog.InfoContext(ctx, "message already sent", "messageId", m.ID)
			messages.WithLabelValues(repeated).Inc()
			return nil
		}
		return err
	}
	outcome := make(chan error, 1)
	s.running.Go(func() {
		defer release()
		outcome <- s.attempt(ctx, held, m)
	})
	select {
	case err := <-outcome:
		return err
	case <-answerBy:
		return ErrInProgress
	}
}

// acquire reserves a conversation until release is called. It returns ErrUnavailable if too many are in progress.
func (s *Sender) acquire(bulk bool) (release func(), err error) {
	slots := []chan struct{}{s.slots}
	if bulk {
		slots = append(slots, s.bulkSlots)
	}
	release = func() {}
	for _, slot := range slots {
		select {
		case slot <- struct{}{}:
			before := release
			release = func() {
				<-slot
				before()
			}
		default:
			release()
			return nil, ErrUnavailable.Because(errors.New("too many messages are in progress"))
		}
	}
	return release, nil
}

// take takes the claim on the message with this id. It returns claim.ErrDone or an error of Send.
func (s *Sender) take(ctx context.Context, id string) (*claim.Claim, error) {
	ctx, cancel := context.WithTimeout(ctx, takeTimeout)
	defer cancel()
	held, err := s.claims.Take(ctx, id)
	refused, wasRefused := errors.AsType[*claim.RefusedError](err)
	switch {
	case err == nil, errors.Is(err, claim.ErrDone):
		return held, err
	case errors.Is(err, claim.ErrHeld):
		return nil, ErrInProgress.Because(err)
	case wasRefused && refused.Code == ErrUnconfirmed.Code:
		return nil, ErrUnconfirmed.Because(err)
	case wasRefused:
		return nil, ErrRejected.Because(err)
	default:
		return nil, ErrUnavailable.Because(err)
	}
}

// attempt hands m over to the server under the claim, and records the outcome in the claim.
func (s *Sender) attempt(ctx context.Context, held *claim.Claim, m Message) error {
	work, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var watchers sync.WaitGroup
	watching, stopWatching := context.WithCancel(ctx)
	watchers.Go(func() { s.renew(watching, held, cancel) })
	watchers.Go(func() {
		select {
		case <-s.stopping:
			cancel(errors.New("the process stops"))
		case <-watching.Done():
		}
	})
	err := s.handOver(work, m)
	stopWatching()
	watchers.Wait()

	ctx, cancelRecord := context.WithTimeout(ctx, recordTimeout)
	defer cancelRecord()
	var recordErr error
	switch {
	case err == nil:
		recordErr = held.Done(ctx)
	case errors.Is(err, ErrRejected):
		recordErr = held.Refuse(ctx, ErrRejected.Code)
	case errors.Is(err, errNoAnswer) && held.Attempts()+1 >= MaxUnconfirmed:
		err = ErrUnconfirmed.Because(err)
		recordErr = held.Refuse(ctx, ErrUnconfirmed.Code)
	case errors.Is(err, errNoAnswer):
		recordErr = held.Unconfirmed(ctx)
	default:
		recordErr = held.Release(ctx)
	}
	if recordErr != nil { // not an error of Send
		slog.ErrorContext(ctx, "record the outcome of a message failed", "messageId", m.ID, "error", recordErr.Error())
	}
	return err
}

// renew renews the lease of held until ctx is done. If the lease is lost, it calls lost and returns.
func (s *Sender) renew(ctx context.Context, held *claim.Claim, lost context.CancelCauseFunc) {
	interval := s.claims.Lease / 4
	renewed := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(interval):
		}
		began := time.Now()
		renewal, cancel := context.WithTimeout(ctx, interval)
		err := held.Renew(renewal)
		cancel()
		switch {
		case err == nil:
			renewed = began
		case ctx.Err() != nil:
			return
		case errors.Is(err, claim.ErrLost) || time.Since(renewed) >= s.claims.Lease-interval:
			lost(err)
			return
		}
	}
}

// handOver passes m to the server. It returns nil if the server accepted it, ErrRejected, ErrDeferred, or
// ErrUnavailable. The cause of the latter is errNoAnswer if the server may have accepted the message.
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
	return s.converse(ctx, composed)
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
