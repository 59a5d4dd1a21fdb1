package email_test

import (
	"bytes"
	"context"
	"mime"
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

func TestSendDeliversAMessageOnce(t *testing.T) {
	t.Parallel()
	box := setup(t)
	m := message()

	require.NoError(t, box.sender.Send(t.Context(), m))
	require.NoError(t, box.sender.Send(t.Context(), m))
	require.Len(t, box.messages(), 1, "a repeated message is not sent again")
	box.states.Advance(25 * time.Hour)
	require.NoError(t, box.sender.Send(t.Context(), m))

	received := box.messages()
	require.Len(t, received, 2)
	require.Equal(t, "tickets@eventbooking.example", received[0].from)
	require.Equal(t, []string{"zoe@example.com"}, received[0].to)

	first, err := mail.ReadMessage(bytes.NewReader(received[0].data))
	require.NoError(t, err)
	second, err := mail.ReadMessage(bytes.NewReader(received[1].data))
	require.NoError(t, err)
	require.Equal(t, "<order-confirmation=cc0e8400-e29b-41d4-a716-446655440000@eventbooking.example>",
		first.Header.Get("Message-Id"))
	require.Equal(t, first.Header.Get("Message-Id"), second.Header.Get("Message-Id"))

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

	pdf := func(a email.Attachment) part {
		return part{
			contentType: "application/pdf", disposition: "attachment", filename: a.Filename, content: a.Content,
		}
	}
	require.Equal(t, []part{
		{contentType: "multipart/mixed"},
		{contentType: "multipart/alternative"},
		{contentType: "text/plain", content: []byte("Hello Zoë,\r\n.\r\nyour tickets are attached.\r\n")},
		{contentType: "text/html", content: []byte(m.HTML)},
		pdf(m.Attachments[0]),
		pdf(m.Attachments[1]),
	}, parts(t, first.Header, first.Body))
}

func TestConcurrentSendsDeliverEachMessage(t *testing.T) {
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
		require.Equal(t, []string{to[0].Address}, got.to, "no recipient gets another's message")
	}
}

func TestSendReportsWhetherTheFailureIsPermanent(t *testing.T) {
	t.Parallel()
	permanent := &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such mailbox"}
	temporary := &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "greylisted"}
	spam := &smtp.SMTPError{Code: 554, Message: "spam"}
	full := &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 2, 2}, Message: "mailbox full"}
	storage := &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 3, 1}, Message: "out of storage"}
	closing := &smtp.SMTPError{Code: 421, EnhancedCode: smtp.EnhancedCode{4, 7, 0}, Message: "too many connections"}
	loginRequired := &smtp.SMTPError{Code: 530, Message: "authenticate"}
	for _, tt := range []struct {
		name string
		box  func(*mailbox)
		want error
	}{
		{"NoSuchMailbox", func(m *mailbox) { m.rcptErr = permanent }, email.ErrRejected},
		{"ContentRejected", func(m *mailbox) { m.dataErr = spam }, email.ErrRejected},
		{"RecipientGreylisted", func(m *mailbox) { m.rcptErr = temporary }, email.ErrDeferred},
		{"MailboxFull", func(m *mailbox) { m.rcptErr = full }, email.ErrDeferred},
		{"ContentTemporarilyRefused", func(m *mailbox) { m.dataErr = temporary }, email.ErrDeferred},
		{"SenderTemporarilyRefused", func(m *mailbox) { m.mailErr = temporary }, email.ErrUnavailable},
		{"ServerOutOfStorage", func(m *mailbox) { m.dataErr = storage }, email.ErrUnavailable},
		{"ServerClosesConnection", func(m *mailbox) { m.rcptErr = closing }, email.ErrUnavailable},
		{"LoginRequired", func(m *mailbox) { m.mailErr = loginRequired }, email.ErrUnavailable},
		{"ConnectionLostDuringContent", func(m *mailbox) { m.cutDuring = true }, email.ErrUnavailable},
		{"ConnectionLostAfterDelivery", func(m *mailbox) { m.cutAfter = true }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			box := setup(t)
			tt.box(box)

			err := box.sender.Send(t.Context(), message())

			require.ErrorIs(t, err, tt.want)
			if tt.want == nil {
				require.Len(t, box.messages(), 1)
			} else {
				require.Empty(t, box.messages())
				require.NotContains(t, err.Error(), "zoe@example.com", "an address must not be logged")
			}
		})
	}
}

func TestSendWithoutServerIsUnavailable(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := listener.Addr().(*net.TCPAddr).Port
	require.NoError(t, listener.Close())
	server := email.Server{Host: "127.0.0.1", Port: port, From: "a@example.com", TLS: "none"}
	sender, err := email.NewSender(server, claimsIn(&claimtest.States{}))
	require.NoError(t, err)
	require.ErrorIs(t, sender.Send(t.Context(), message()), email.ErrUnavailable)
}

func TestSendRequiresConfiguredTLS(t *testing.T) {
	t.Parallel()
	server := email.Server{Host: "127.0.0.1", Port: setup(t).port, From: "a@example.com", TLS: "starttls"}
	sender, err := email.NewSender(server, claimsIn(&claimtest.States{}))
	require.NoError(t, err)
	require.ErrorIs(t, sender.Send(t.Context(), message()), email.ErrUnavailable)
}

// A sidecar whose call timed out retries while the first call is running.
func TestConcurrentDuplicatesAreSentOnce(t *testing.T) {
	t.Parallel()
	box := setup(t)
	errs := make(chan error, 16)
	for range cap(errs) {
		go func() { errs <- box.sender.Send(t.Context(), message()) }()
	}
	for range cap(errs) {
		if err := <-errs; err != nil { // another call holds the claim
			require.ErrorIs(t, err, email.ErrInProgress)
		}
	}
	require.Len(t, box.messages(), 1)
}

func TestRefusedMessageCanBeSentLater(t *testing.T) {
	t.Parallel()
	box := setup(t)
	box.rcptErr = &smtp.SMTPError{Code: 451, Message: "greylisted"}
	require.ErrorIs(t, box.sender.Send(t.Context(), message()), email.ErrDeferred)
	box.set(func(a *answers) { a.rcptErr = nil })
	require.NoError(t, box.sender.Send(t.Context(), message()))
	require.Len(t, box.messages(), 1)
}

func TestSendContinuesWhenCallerDisconnects(t *testing.T) {
	t.Parallel()
	box := setup(t)
	ctx, disconnect := context.WithCancel(t.Context())
	disconnect()
	require.NoError(t, box.sender.Send(ctx, message()))
	require.Len(t, box.messages(), 1)
}

// Without the state store, a second call could not know that the message was sent.
func TestNothingIsSentWithoutStateStore(t *testing.T) {
	t.Parallel()
	box := setup(t)
	box.states.Break(claimtest.Down)
	require.ErrorIs(t, box.sender.Send(t.Context(), message()), email.ErrUnavailable)
	require.Empty(t, box.messages())
}

func TestMessageIsSentAfterLeaseOfDeadProcessExpired(t *testing.T) {
	t.Parallel()
	box := setup(t)
	_, err := claimsIn(box.states).Take(t.Context(), message().ID)
	require.NoError(t, err)
	require.ErrorIs(t, box.sender.Send(t.Context(), message()), email.ErrInProgress)
	box.states.Advance(email.Lease)
	require.NoError(t, box.sender.Send(t.Context(), message()))
	require.Len(t, box.messages(), 1)
}

func TestNewSenderNamesInvalidVariable(t *testing.T) {
	t.Parallel()
	valid := email.Server{
		Host: "smtp.example.com", Port: 587, From: "Event Booking <tickets@example.com>", TLS: "starttls",
	}
	for _, tt := range []struct {
		name    string
		change  func(*email.Server)
		invalid string
	}{
		{"Valid", func(*email.Server) {}, ""},
		{"Login", func(s *email.Server) { s.Username, s.Password = "u", "p" }, ""},
		{"From", func(s *email.Server) { s.From = "nobody" }, "SMTP_FROM"},
		{"Port", func(s *email.Server) { s.Port = 0 }, "SMTP_PORT"},
		{"Host", func(s *email.Server) { s.Host = "" }, "SMTP_HOST"},
		{"TLS", func(s *email.Server) { s.TLS = "yes" }, "SMTP_TLS"},
		{"LoginWithoutTLS", func(s *email.Server) { s.TLS, s.Username = "none", "u" }, "SMTP_TLS"},
		{"LoginWithoutTLSOnLoopback", func(s *email.Server) { s.TLS, s.Username, s.Host = "none", "u", "127.0.0.1" }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := valid
			tt.change(&s)
			_, err := email.NewSender(s, claim.Claims{})
			if tt.invalid == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.invalid)
		})
	}
}
