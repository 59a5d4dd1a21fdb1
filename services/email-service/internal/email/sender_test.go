package email_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/email-service/internal/claim"
	"github.com/eventbooking/eventbooking/services/email-service/internal/claim/claimtest"
	"github.com/eventbooking/eventbooking/services/email-service/internal/email"
)

// mailbox is an SMTP server that keeps what it takes, or answers as it is told.
type mailbox struct {
	sender *email.Sender
	states *claimtest.States
	port   int

	mu                  sync.Mutex
	received            []envelope
	mailErr, rcptErr    error
	dataErr             error
	cutAfter, cutDuring bool
}

type envelope struct {
	from string
	to   []string
	data []byte
}

func setup(t *testing.T) *mailbox {
	t.Helper()
	m := &mailbox{states: &claimtest.States{}}
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &session{mailbox: m, conn: c}, nil
	}))
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	m.port = listener.Addr().(*net.TCPAddr).Port
	m.sender, err = email.NewSender(email.Server{
		Host: "127.0.0.1", Port: m.port, From: "Event Booking <tickets@eventbooking.example>", TLS: "none",
	}, claimsIn(m.states))
	require.NoError(t, err)
	return m
}

func claimsIn(states claim.States) claim.Claims {
	return claim.Claims{States: states, Store: "statestore", Consumer: "email-service", Lease: email.Lease, Keep: 24 * time.Hour}
}

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
	// The client resets after each message: the moment to lose the connection after a delivery.
	if s.cutAfter && len(s.received) > 0 {
		_ = s.conn.Conn().Close()
	}
}

func (s *session) Logout() error { return nil }

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.current = envelope{from: from}
	return s.mailErr
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.current.to = append(s.current.to, to)
	return s.rcptErr
}

func (s *session) Data(r io.Reader) error {
	if s.cutDuring {
		return s.conn.Conn().Close()
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if s.dataErr != nil {
		return s.dataErr
	}
	s.current.data = data
	s.mu.Lock()
	defer s.mu.Unlock()
	s.received = append(s.received, s.current)
	return nil
}

// part is a leaf of a MIME tree.
type part struct {
	contentType, disposition, filename string
	content                            []byte
}

// leaves reads a MIME body back, depth first.
func leaves(t *testing.T, contentType, encoding string, header interface{ Get(string) string }, body io.Reader) []part {
	t.Helper()
	mediaType, parameters, err := mime.ParseMediaType(contentType)
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
			found = append(found, leaves(t, next.Header.Get("Content-Type"), next.Header.Get("Content-Transfer-Encoding"), next.Header, next)...)
		}
	}
	content, err := io.ReadAll(decoded(encoding, body))
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

func TestSend(t *testing.T) {
	t.Parallel()
	box := setup(t)
	m := message()

	require.NoError(t, box.sender.Send(t.Context(), m))
	require.NoError(t, box.sender.Send(t.Context(), m))
	require.Len(t, box.messages(), 1, "the same again is not sent again")
	box.states.Pass(25 * time.Hour)
	require.NoError(t, box.sender.Send(t.Context(), m))

	received := box.messages()
	require.Len(t, received, 2)
	require.Equal(t, "tickets@eventbooking.example", received[0].from)
	require.Equal(t, []string{"zoe@example.com"}, received[0].to)

	first, err := mail.ReadMessage(bytes.NewReader(received[0].data))
	require.NoError(t, err)
	second, err := mail.ReadMessage(bytes.NewReader(received[1].data))
	require.NoError(t, err)
	require.Equal(t, "<order-confirmation=cc0e8400-e29b-41d4-a716-446655440000@eventbooking.example>", first.Header.Get("Message-Id"))
	require.Equal(t, first.Header.Get("Message-Id"), second.Header.Get("Message-Id"), "a repeated message can be known again")

	to, err := first.Header.AddressList("To")
	require.NoError(t, err)
	require.Equal(t, []*mail.Address{{Name: "Zoë \"Z\" Müller", Address: "zoe@example.com"}}, to)
	from, err := first.Header.AddressList("From")
	require.NoError(t, err)
	require.Equal(t, "Event Booking", from[0].Name)
	subject, err := new(mime.WordDecoder).DecodeHeader(first.Header.Get("Subject"))
	require.NoError(t, err)
	require.Equal(t, m.Subject, subject)
	date, err := first.Header.Date()
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), date, time.Minute)
	require.Equal(t, "auto-generated", first.Header.Get("Auto-Submitted"))

	parts := leaves(t, first.Header.Get("Content-Type"), first.Header.Get("Content-Transfer-Encoding"), first.Header, first.Body)
	require.Equal(t, []part{
		{contentType: "multipart/mixed"},
		{contentType: "multipart/alternative"},
		{contentType: "text/plain", content: []byte("Hello Zoë,\r\n.\r\nyour tickets are attached.\r\n")},
		{contentType: "text/html", content: []byte(m.HTML)},
		{contentType: "application/pdf", disposition: "attachment", filename: "TKT-2026-000001.pdf", content: m.Attachments[0].Content},
		{contentType: "application/pdf", disposition: "attachment", filename: "Eintrittskarte für zwei.pdf", content: m.Attachments[1].Content},
	}, parts)
}

func TestSendAtOnce(t *testing.T) {
	t.Parallel()
	box := setup(t)
	var senders sync.WaitGroup
	errs := make([]error, 16)
	for i := range errs {
		senders.Go(func() {
			m := message()
			m.ID, m.To.Address = "m-"+strconv.Itoa(i), "reader"+strconv.Itoa(i)+"@example.com"
			errs[i] = box.sender.Send(t.Context(), m)
		})
	}
	senders.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.Len(t, box.messages(), len(errs))
	for _, got := range box.messages() {
		parsed, err := mail.ReadMessage(bytes.NewReader(got.data))
		require.NoError(t, err)
		to, err := parsed.Header.AddressList("To")
		require.NoError(t, err)
		require.Equal(t, []string{to[0].Address}, got.to, "nobody gets another's message")
	}
}

func TestSendErrors(t *testing.T) {
	t.Parallel()
	permanent := &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such mailbox"}
	passing := &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "greylisted"}
	for name, tt := range map[string]struct {
		box  func(*mailbox)
		want error
	}{
		"NoSuchMailbox":   {box: func(m *mailbox) { m.rcptErr = permanent }, want: email.ErrRejected},
		"SpamInData":      {box: func(m *mailbox) { m.dataErr = &smtp.SMTPError{Code: 554, Message: "spam"} }, want: email.ErrRejected},
		"Greylisted":      {box: func(m *mailbox) { m.rcptErr = passing }, want: email.ErrUnavailable},
		"BusyInData":      {box: func(m *mailbox) { m.dataErr = passing }, want: email.ErrUnavailable},
		"LoginWanted":     {box: func(m *mailbox) { m.mailErr = &smtp.SMTPError{Code: 530, Message: "authenticate"} }, want: email.ErrUnavailable},
		"CutDuringData":   {box: func(m *mailbox) { m.cutDuring = true }, want: email.ErrUnavailable},
		"CutAfterItsDone": {box: func(m *mailbox) { m.cutAfter = true }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			box := setup(t)
			tt.box(box)

			err := box.sender.Send(t.Context(), message())

			require.ErrorIs(t, err, tt.want)
			if tt.want == nil {
				require.Len(t, box.messages(), 1)
			} else {
				require.Empty(t, box.messages())
				require.NotContains(t, err.Error(), "zoe@example.com", "addresses stay out of logs")
			}
		})
	}

	t.Run("NobodyThere", func(t *testing.T) {
		t.Parallel()
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		port := listener.Addr().(*net.TCPAddr).Port
		require.NoError(t, listener.Close())
		sender, err := email.NewSender(email.Server{Host: "127.0.0.1", Port: port, From: "a@example.com", TLS: "none"}, claimsIn(&claimtest.States{}))
		require.NoError(t, err)
		require.ErrorIs(t, sender.Send(t.Context(), message()), email.ErrUnavailable)
	})

	t.Run("TLSWantedAndNotOffered", func(t *testing.T) {
		t.Parallel()
		sender, err := email.NewSender(email.Server{Host: "127.0.0.1", Port: setup(t).port, From: "a@example.com", TLS: "starttls"}, claimsIn(&claimtest.States{}))
		require.NoError(t, err)
		require.ErrorIs(t, sender.Send(t.Context(), message()), email.ErrUnavailable)
	})
}

// A sidecar that gives up asks again while the first one is at it.
func TestTheSameAtOnce(t *testing.T) {
	t.Parallel()
	box := setup(t)
	errs := make(chan error, 16)
	for range cap(errs) {
		go func() { errs <- box.sender.Send(t.Context(), message()) }()
	}
	for range cap(errs) {
		if err := <-errs; err != nil { // another one holds it
			require.ErrorIs(t, err, email.ErrUnavailable)
		}
	}
	require.Len(t, box.messages(), 1)
}

func TestWhatIsRefusedMayBeSentLater(t *testing.T) {
	t.Parallel()
	box := setup(t)
	box.rcptErr = &smtp.SMTPError{Code: 451, Message: "greylisted"}
	require.ErrorIs(t, box.sender.Send(t.Context(), message()), email.ErrUnavailable)
	box.rcptErr = nil
	require.NoError(t, box.sender.Send(t.Context(), message()))
	require.Len(t, box.messages(), 1)
}

func TestWhoeverAskedIsGone(t *testing.T) {
	t.Parallel()
	box := setup(t)
	ctx, giveUp := context.WithCancel(t.Context())
	giveUp()
	require.NoError(t, box.sender.Send(ctx, message()), "what has begun is brought to its end")
	require.Len(t, box.messages(), 1)
}

func TestStateStoreDown(t *testing.T) {
	t.Parallel()
	box := setup(t)
	box.states.Break(claimtest.Down)
	require.ErrorIs(t, box.sender.Send(t.Context(), message()), email.ErrUnavailable)
	require.Empty(t, box.messages(), "nobody could know of it")
}

// The process dies with the claim taken.
func TestDiedWhileSending(t *testing.T) {
	t.Parallel()
	box := setup(t)
	_, err := claimsIn(box.states).Take(t.Context(), message().ID)
	require.NoError(t, err)
	require.ErrorIs(t, box.sender.Send(t.Context(), message()), email.ErrUnavailable)
	box.states.Pass(email.Lease)
	require.NoError(t, box.sender.Send(t.Context(), message()))
	require.Len(t, box.messages(), 1)
}

func TestNewSender(t *testing.T) {
	t.Parallel()
	valid := email.Server{Host: "smtp.example.com", Port: 587, From: "Event Booking <tickets@example.com>", TLS: "starttls"}
	for name, tt := range map[string]struct {
		change func(*email.Server)
		wrong  string
	}{
		"Valid":          {change: func(*email.Server) {}},
		"WithLogin":      {change: func(s *email.Server) { s.Username, s.Password = "u", "p" }},
		"From":           {change: func(s *email.Server) { s.From = "nobody" }, wrong: "SMTP_FROM"},
		"Port":           {change: func(s *email.Server) { s.Port = 0 }, wrong: "SMTP_PORT"},
		"Host":           {change: func(s *email.Server) { s.Host = "" }, wrong: "SMTP_HOST"},
		"TLS":            {change: func(s *email.Server) { s.TLS = "yes" }, wrong: "SMTP_TLS"},
		"LoginInTheOpen": {change: func(s *email.Server) { s.TLS, s.Username = "none", "u" }, wrong: "SMTP_TLS"},
		"LoginOnHost":    {change: func(s *email.Server) { s.TLS, s.Username, s.Host = "none", "u", "127.0.0.1" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := valid
			tt.change(&s)
			_, err := email.NewSender(s, claim.Claims{})
			if tt.wrong == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.wrong, "an operator must see which variable it is")
		})
	}
}

// decoded undoes a Content-Transfer-Encoding.
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
