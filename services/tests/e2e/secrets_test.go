package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// secrets is what people and services showed each other in these tests.
var secrets = confidences{known: map[string]string{}}

// confidences are values that nobody else may learn, each with what it is.
type confidences struct {
	mu    sync.Mutex
	known map[string]string
}

// confided are the names in requests and answers of what is secret. What shapes knows is not kept one by one.
var confided = map[string]bool{
	"password": true, "newPassword": true, "currentPassword": true, "token": true, "refreshToken": true,
}

// shapes are how secrets look that are secret whoever's they are: addresses, tokens (access, service and ticket codes
// alike), and cards.
var shapes = map[string]*regexp.Regexp{
	"an e-mail address": regexp.MustCompile(`[\w.+-]+@[\w-]+\.[\w.-]+`),
	"a token":           regexp.MustCompile(`eyJ[\w-]{10,}\.eyJ[\w-]*`),
	"a card":            regexp.MustCompile(`\bpm_\w+`),
}

// overheard passes requests on, and keeps the secrets in them and in their answers.
type overheard struct{ next http.RoundTripper }

func (o overheard) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		sent, err := io.ReadAll(body)
		if err != nil {
			return nil, err
		}
		secrets.keep(sent)
	}
	res, err := o.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return nil, err
	}
	secrets.keep(got)
	res.Body = io.NopCloser(bytes.NewReader(got))
	return res, nil
}

// keep keeps the secrets of a request or an answer, which may have none.
func (c *confidences) keep(body []byte) {
	var fields map[string]any
	if json.Unmarshal(body, &fields) != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, value := range fields {
		if text, ok := value.(string); ok && confided[name] && len(text) >= 8 && !shapes["a token"].MatchString(text) {
			c.known[text] = "a " + name
		}
	}
}

// keepOwn keeps the stack's own secrets: keys, seeds, and the passwords of databases.
func (c *confidences) keepOwn() error {
	content, err := os.ReadFile(filepath.Join(system.DataDir(), "secrets.json"))
	if err != nil {
		return fmt.Errorf("read the stack's secrets: %w", err)
	}
	own := map[string]string{}
	if err := json.Unmarshal(content, &own); err != nil {
		return fmt.Errorf("read the stack's secrets: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, value := range own {
		c.known[value] = name
		if u, err := url.Parse(value); err == nil && u.User != nil {
			password, _ := u.User.Password()
			c.known[password] = "the password of " + name
		}
	}
	return nil
}

// leaked names the secrets in a text, and where each is first.
func (c *confidences) leaked(text string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var leaks []error
	report := func(what string, at int) {
		begin, end := strings.LastIndexByte(text[:at], '\n')+1, len(text)
		if n := strings.IndexByte(text[at:], '\n'); n >= 0 {
			end = at + n
		}
		leaks = append(leaks, fmt.Errorf("%s in: %s", what, text[begin:min(end, begin+500)]))
	}
	for _, what := range slices.Sorted(maps.Keys(shapes)) {
		if at := shapes[what].FindStringIndex(text); at != nil {
			report(what, at[0])
		}
	}
	for secret, what := range c.known {
		if at := strings.Index(text, secret); at >= 0 {
			report(what, at)
		}
	}
	return errors.Join(leaks...)
}

func TestLeaksAreFound(t *testing.T) {
	t.Parallel()
	c := confidences{known: map[string]string{}}
	c.keep([]byte(`{"refreshToken": "fjord-and-fell", "tokenType": "Bearer", "n": 1}`))
	c.keep([]byte(`["no object"]`))
	require.NoError(t, c.leaked("a Bearer of nothing, at 12:30\n"))
	for _, leak := range []string{"fjord-and-fell", "ann.lee@example.com", "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2ln", "pm_card_visa"} {
		err := c.leaked("before\n{\"msg\":\"" + leak + "\"}\nafter\n")
		require.ErrorContains(t, err, `{"msg":"`+leak+`"}`)
		require.NotContains(t, err.Error(), "before")
		require.NotContains(t, err.Error(), "after")
	}
}

// checkLogs holds the logs of apps and sidecars to telling no secrets, and each line of an app's to its form.
func checkLogs() error {
	if err := secrets.keepOwn(); err != nil {
		return err
	}
	var wrong []error
	for _, app := range system.Apps() {
		for _, process := range []string{app.Process.Log, app.Sidecar.Log} {
			log, err := os.ReadFile(process)
			if err != nil {
				return fmt.Errorf("read a log: %w", err)
			}
			if err := secrets.leaked(string(log)); err != nil {
				wrong = append(wrong, fmt.Errorf("the log %s has %w", filepath.Base(process), err))
			}
		}
		log, err := os.ReadFile(app.Process.Log)
		if err != nil {
			return fmt.Errorf("read a log: %w", err)
		}
		for line := range strings.Lines(string(log)) {
			if err := checkLine(app.ID, line); err != nil {
				wrong = append(wrong, fmt.Errorf("the log %s has a line that %w: %s", filepath.Base(app.Process.Log), err, line))
				break
			}
		}
	}
	return errors.Join(wrong...)
}

func checkLine(service, line string) error {
	var l struct{ Time, Level, Msg, Service, CorrelationID, TraceID, SpanID string }
	if err := json.Unmarshal([]byte(line), &l); err != nil {
		return fmt.Errorf("is no JSON: %w", err)
	}
	if l.Time == "" || l.Level == "" || l.Msg == "" || l.Service != service {
		return errors.New("lacks its time, level, message or service")
	}
	if l.Msg == "request" && (l.CorrelationID == "" || l.TraceID == "" || l.SpanID == "") {
		return errors.New("lacks an id of its request")
	}
	return nil
}

// checkSpans holds the spans to telling no secrets.
func checkSpans() error {
	var wrong []error
	for _, s := range spans.all() {
		if err := secrets.leaked(s.told); err != nil {
			wrong = append(wrong, fmt.Errorf("the span %q of %s tells %w", s.name, s.by, err))
		}
	}
	return errors.Join(wrong...)
}
