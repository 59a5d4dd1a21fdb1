package email

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/textproto"
	"regexp"
	"strings"
	"time"

	"github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

// Waits are how long a client waits in the phases of a conversation with a mail server. A server may check a message
// for minutes before it answers the final dot. A client that gives up earlier sends the message again and again.
type Waits struct {
	Connect time.Duration // for the connection, including TLS unless it is started later
	Command time.Duration // for the greeting, for EHLO with STARTTLS and AUTH, and for the answers to MAIL and RCPT
	Data    time.Duration // for the answer to DATA
	Upload  time.Duration // for the upload of the message, plus 1 s for each 16 KiB
	Dot     time.Duration // for the answer to the final dot
}

// RFC 5321, section 4.5.3.2. It has no time for connecting; 10 s cover three retransmissions.
var defaultWaits = Waits{
	Connect: 10 * time.Second,
	Command: 5 * time.Minute,
	Data:    2 * time.Minute,
	Upload:  3 * time.Minute,
	Dot:     10 * time.Minute,
}

const (
	// minUploadRate is the rate in bytes per second below which an upload is too slow.
	minUploadRate = 16 << 10
	// quitWait bounds QUIT, whose outcome does not matter.
	quitWait = 5 * time.Second
)

// orDefaults returns w with the default of each field that is zero.
func (w Waits) orDefaults() Waits {
	return Waits{
		Connect: cmp.Or(w.Connect, defaultWaits.Connect),
		Command: cmp.Or(w.Command, defaultWaits.Command),
		Data:    cmp.Or(w.Data, defaultWaits.Data),
		Upload:  cmp.Or(w.Upload, defaultWaits.Upload),
		Dot:     cmp.Or(w.Dot, defaultWaits.Dot),
	}
}

// upload returns how long the upload of a message of this size in bytes may take.
func (w Waits) upload(size int) time.Duration {
	return w.Upload + time.Duration(size)*time.Second/minUploadRate
}

// errNoAnswer is the cause of an error after which the server may or may not have accepted the message.
var errNoAnswer = errors.New("the server did not answer the final dot")

// phase is a step of a conversation.
type phase struct {
	name string
	wait time.Duration
	run  func() error
}

// converse sends m to the server. It returns nil as soon as the server has accepted m, and otherwise ErrRejected,
// ErrDeferred or ErrUnavailable. If ctx is done, it does not begin another phase, but it never interrupts the wait for
// the answer to the final dot.
func (s *Sender) converse(ctx context.Context, m *mail.Msg) error {
	var content bytes.Buffer
	if _, err := m.WriteTo(&content); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	from, err := m.GetSender(false)
	if err != nil {
		return fmt.Errorf("sender: %w", err)
	}
	to, err := m.GetRecipients()
	if err != nil {
		return fmt.Errorf("recipient: %w", err)
	}
	connecting, cancel := context.WithTimeout(ctx, s.waits.Connect)
	client, err := s.client.DialToSMTPClientWithContext(connecting)
	cancel()
	if err != nil {
		return ErrUnavailable.Because(fmt.Errorf("connect: %w", err))
	}
	var body io.WriteCloser
	for _, p := range []phase{
		{"MAIL", s.waits.Command, func() error { return client.Mail(from) }},
		{recipient, s.waits.Command, func() error { return client.Rcpt(to[0]) }},
		{"DATA", s.waits.Data, func() (err error) { body, err = client.Data(); return err }},
		{"content", s.waits.upload(content.Len()), func() error { _, err := content.WriteTo(body); return err }},
		{finalDot, s.waits.Dot, func() error { return body.Close() }},
	} {
		err := context.Cause(ctx)
		if err == nil {
			err = client.UpdateDeadline(p.wait)
		}
		if err != nil {
			// Without QUIT, which would end the content and so send an incomplete message.
			_ = client.Close()
			return ErrUnavailable.Because(fmt.Errorf("before %s: %w", p.name, err))
		}
		err = p.run()
		if answer, answered := errors.AsType[*textproto.Error](err); answered {
			go quit(client)
			return p.refusal(answer)
		}
		if err != nil {
			_ = client.Close()
			return interruption(p.name, err)
		}
	}
	go quit(client)
	return nil
}

// The names of the phases in which the server accepts the recipient, and the message.
const (
	recipient = "RCPT"
	finalDot  = "the final dot"
)

// quit ends the conversation. A failure does not matter: the server has answered everything before.
func quit(client *smtp.Client) {
	err := client.UpdateDeadline(quitWait)
	if err == nil {
		err = client.Quit()
	}
	if err != nil {
		_ = client.Close()
		slog.Debug("close connection to mail server failed", "error", err.Error())
	}
}

// enhancedCode matches the code of RFC 3463 at the beginning of an answer.
var enhancedCode = regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}`)

// defers reports whether a temporary refusal is about the message, and not about the server: its answer to the
// recipient or to the content, unless it closes the connection (421) or reports the state of its system (X.3.X, and 452
// without another reason).
func (p phase) defers(code int, enhanced string) bool {
	if p.name != recipient && p.name != finalDot || code/100 != 4 || code == 421 {
		return false
	}
	if enhanced == "" {
		return code != 452
	}
	return !strings.HasPrefix(enhanced, "4.3.")
}

// refusal returns ErrRejected, ErrDeferred or ErrUnavailable for an unexpected answer of the server in a phase. The
// text of the answer may contain the address of the recipient, which must not be logged, so the cause has only the
// codes.
func (p phase) refusal(answer *textproto.Error) error {
	phase, enhanced := p.name, enhancedCode.FindString(answer.Msg)
	cause := fmt.Errorf("%s: the server answered %d %s", phase, answer.Code, enhanced)
	switch code := answer.Code; {
	case phase == finalDot && code/100 == 2: // accepted, with a code other than 250
		return nil
	case phase == finalDot && code < 400: // no answer to a message has such a code
		return ErrUnavailable.Because(fmt.Errorf("%w: %w", errNoAnswer, cause))
	case p.defers(code, enhanced):
		return ErrDeferred.Because(cause)
	case code < 500, code == 530, code == 535:
		// 530 and 535 mean that the login is wrong, which is a fault of the configuration and not of the message.
		return ErrUnavailable.Because(cause)
	default:
		return ErrRejected.Because(cause)
	}
}

// interruption returns ErrUnavailable for a phase that ended without an answer. After the final dot, its cause is
// errNoAnswer.
func interruption(phase string, err error) error {
	_, network := errors.AsType[net.Error](err)
	if !network && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("malformed answer") // which may contain the address of the recipient
	}
	if phase == finalDot {
		return ErrUnavailable.Because(fmt.Errorf("%w: %w", errNoAnswer, err))
	}
	return ErrUnavailable.Because(fmt.Errorf("%s: %w", phase, err))
}
