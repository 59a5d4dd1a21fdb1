package email_test

import (
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/email-service/internal/claim"
	"github.com/eventbooking/eventbooking/services/email-service/internal/claim/claimtest"
	"github.com/eventbooking/eventbooking/services/email-service/internal/email"
)

// mailbox is an SMTP server that keeps the messages it accepts, and a sender that uses it.
type mailbox struct {
	sender *email.Sender
	states *claimtest.States
	port   int

	mu       sync.Mutex // guards what follows
	received []envelope
	answers
}

// answers are what the server does. A test changes them with set once the server has answered.
type answers struct {
	// The answers to MAIL, RCPT and DATA.
	mailErr, rcptErr, dataErr error
	// The connection is closed after a delivery, during DATA, or after a message without an answer.
	cutAfter, cutDuring, cutUnanswered bool
	// The answers to MAIL and to the final dot wait until the channel is closed, or not if it is nil.
	mailHeld, dotHeld chan struct{}
}

// envelope is an accepted message.
type envelope struct {
	from string
	to   []string
	data []byte
}

func setup(t *testing.T) *mailbox {
	t.Helper()
	return setupWith(t, email.Server{}, email.Lease)
}

// setupWith returns a mailbox whose sender has the times of server and this lease.
func setupWith(t *testing.T, server email.Server, lease time.Duration) *mailbox {
	t.Helper()
	m := &mailbox{states: &claimtest.States{}}
	mailServer := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &session{mailbox: m, conn: c}, nil
	}))
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = mailServer.Serve(listener) }()
	t.Cleanup(func() { _ = mailServer.Close() })
	m.port = listener.Addr().(*net.TCPAddr).Port
	server.Host, server.Port, server.TLS = "127.0.0.1", m.port, "none"
	server.From = "Event Booking <tickets@eventbooking.example>"
	claims := claimsIn(m.states)
	claims.Lease = lease
	m.sender, err = email.NewSender(server, claims)
	require.NoError(t, err)
	return m
}

func claimsIn(states claim.States) claim.Claims {
	return claim.Claims{
		States: states, Store: "statestore", Consumer: "email-service", Lease: email.Lease, Keep: 24 * time.Hour,
	}
}

// set changes the answers from the next command on.
func (m *mailbox) set(change func(a *answers)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(&m.answers)
}

// now returns the present answers.
func (m *mailbox) now() answers {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.answers
}

// messages returns the accepted messages.
func (m *mailbox) messages() []envelope {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.received
}

type session struct {
	*mailbox
	conn    *smtp.Conn
	current envelope
}

func (s *session) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	// The client resets the session after each message.
	if s.cutAfter && len(s.received) > 0 {
		_ = s.conn.Conn().Close()
	}
}

func (s *session) Logout() error { return nil }

// wait waits until the channel is closed, unless it is nil.
func wait(held chan struct{}) {
	if held != nil {
		<-held
	}
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	a := s.now()
	wait(a.mailHeld)
	s.current = envelope{from: from}
	return a.mailErr
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.current.to = append(s.current.to, to)
	return s.now().rcptErr
}

func (s *session) Data(r io.Reader) error {
	a := s.now()
	if a.cutDuring {
		return s.conn.Conn().Close()
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if a.dataErr != nil {
		return a.dataErr
	}
	s.current.data = data
	s.mu.Lock()
	s.received = append(s.received, s.current)
	s.mu.Unlock()
	if a.cutUnanswered {
		return s.conn.Conn().Close()
	}
	wait(a.dotHeld)
	return nil
}

// part is a node of a MIME tree. A multipart node has only its content type.
type part struct {
	contentType, disposition, filename string
	content                            []byte
}

// parts returns the nodes of a MIME tree, depth first.
func parts(t *testing.T, header interface{ Get(string) string }, body io.Reader) []part {
	t.Helper()
	mediaType, parameters, err := mime.ParseMediaType(header.Get("Content-Type"))
	require.NoError(t, err)
	if boundary := parameters["boundary"]; boundary != "" {
		found := []part{{contentType: mediaType}}
		reader := multipart.NewReader(body, boundary)
		for {
			next, err := reader.NextRawPart()
			if err == io.EOF {
				return found
			}
			require.NoError(t, err)
			found = append(found, parts(t, next.Header, next)...)
		}
	}
	content, err := io.ReadAll(decoded(header.Get("Content-Transfer-Encoding"), body))
	require.NoError(t, err)
	leaf := part{contentType: mediaType, content: content}
	if disposition := header.Get("Content-Disposition"); disposition != "" {
		name, attributes, err := mime.ParseMediaType(disposition)
		require.NoError(t, err)
		leaf.disposition = name
		leaf.filename, err = new(mime.WordDecoder).DecodeHeader(attributes["filename"])
		require.NoError(t, err)
	}
	return []part{leaf}
}

// decoded returns a body without its Content-Transfer-Encoding.
func decoded(encoding string, r io.Reader) io.Reader {
	switch encoding {
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, r)
	case "quoted-printable":
		return quotedprintable.NewReader(r)
	default:
		return r
	}
}
