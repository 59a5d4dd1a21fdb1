package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/mail"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// mailbox is a mail server that stores only the time of the first mail to each address.
type mailbox struct {
	port   int
	server *smtp.Server

	mu      sync.Mutex
	arrived map[string]time.Time // by address
}

// newMailbox starts a mail server on a free port of loopback. It runs until close.
func newMailbox() (*mailbox, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // listening on loopback does not block
	if err != nil {
		return nil, fmt.Errorf("start the mail server: %w", err)
	}
	m := &mailbox{port: l.Addr().(*net.TCPAddr).Port, arrived: map[string]time.Time{}}
	m.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &mailSession{m}, nil }))
	m.server.Domain = "localhost"
	go func() { _ = m.server.Serve(l) }() // until close
	return m, nil
}

func (m *mailbox) close() { _ = m.server.Close() }

// firstArrival returns when the first mail to an address arrived, and false if there was none.
func (m *mailbox) firstArrival(address string) (time.Time, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.arrived[address]
	return t, ok
}

// mailSession is the connection of a client.
type mailSession struct{ box *mailbox }

// Reset, Logout, Mail and Rcpt accept everything. Data reads the addresses from the mail itself.
func (*mailSession) Reset() {}

func (*mailSession) Logout() error { return nil }

func (*mailSession) Mail(string, *smtp.MailOptions) error { return nil }

func (*mailSession) Rcpt(string, *smtp.RcptOptions) error { return nil }

// Data receives a mail. It counts as arrived once all of it is read.
func (s *mailSession) Data(r io.Reader) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	now := time.Now()
	m, err := mail.ReadMessage(bytes.NewReader(content))
	if err != nil {
		return err
	}
	to, err := m.Header.AddressList("To")
	if err != nil {
		return err
	}
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	for _, a := range to {
		if _, known := s.box.arrived[a.Address]; !known {
			s.box.arrived[a.Address] = now
		}
	}
	return nil
}
