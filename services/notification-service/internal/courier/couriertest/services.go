package couriertest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
)

// Services is a stand-in for the other services. It answers each path with a fixed answer and records the mails that
// email-service accepts.
type Services struct {
	mu       sync.Mutex
	answers  map[string]string // by path and query
	failures map[string]error  // by path and query; a failure has priority over an answer
	onLookup func(ctx context.Context, path string) error
	onSend   func(context.Context) error
	mails    []Mail
}

// Mail is a mail that was passed to email-service.
type Mail struct{ calls.SendMailRequest }

// Content returns the content of the attachment with this index.
func (m Mail) Content(t *testing.T, i int) string {
	t.Helper()
	content, err := base64.StdEncoding.DecodeString(m.Attachments[i].Content)
	require.NoError(t, err)
	return string(content)
}

// Send answers a call of the courier.
func (s *Services) Send(ctx context.Context, r calls.Request) ([]byte, error) {
	if r.Route.Path == calls.SendMail.Path {
		return s.sendMail(ctx, r.Body)
	}
	path := r.URL()
	s.mu.Lock()
	onLookup := s.onLookup
	s.mu.Unlock()
	if onLookup != nil {
		if err := onLookup(ctx, path); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failures[path]; err != nil {
		return nil, err
	}
	answer, ok := s.answers[path]
	if !ok {
		return nil, sidecar.ErrUnavailable.Because(fmt.Errorf("no answer for %s", path))
	}
	return []byte(answer), nil
}

func (s *Services) sendMail(ctx context.Context, body []byte) ([]byte, error) {
	if len(body) > calls.MaxBody {
		return nil, problem.New(problem.TooLarge, "BODY_TOO_LARGE", "The body exceeds %d bytes", calls.MaxBody)
	}
	var m Mail
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, err
	}
	s.mu.Lock()
	onSend, err := s.onSend, s.failures[EmailPath]
	s.mu.Unlock()
	if onSend != nil {
		err = onSend(ctx)
	}
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails = append(s.mails, m)
	return json.Marshal(calls.SendMailAnswer{MessageID: m.MessageID, Accepted: true})
}

// Fail makes calls of path fail with err, or succeed again if err is nil.
func (s *Services) Fail(path string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures[path] = err
}

// Answer changes the answer to calls of path.
func (s *Services) Answer(path, answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[path] = answer
}

// OnLookup runs f before each answer of a service other than email-service. An error of f is the answer.
func (s *Services) OnLookup(f func(ctx context.Context, path string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onLookup = f
}

// OnSend runs f before email-service accepts a mail. An error of f is the answer. Nil removes f.
func (s *Services) OnSend(f func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onSend = f
}

// Sent returns the mails that email-service accepted.
func (s *Services) Sent() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mails
}
