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

// secrets has the secrets that these tests sent and received.
var secrets = secretSet{known: map[string]string{}}

// secretSet is a set of values that must not appear in logs or spans.
type secretSet struct {
	mu    sync.Mutex
	known map[string]string // by value: its description
}

// secretFields has the names of secret fields in requests and answers. Values that match secretPatterns need no record.
var secretFields = map[string]bool{
	"password": true, "newPassword": true, "currentPassword": true, "token": true, "refreshToken": true,
	"clientSecret": true,
}

// secretPatterns match values that are always secret: e-mail addresses, tokens (access tokens, service tokens and
// check-in codes), and cards.
var secretPatterns = map[string]*regexp.Regexp{
	"an e-mail address": regexp.MustCompile(`[\w.+-]+@[\w-]+\.[\w.-]+`),
	"a token":           regexp.MustCompile(`eyJ[\w-]{10,}\.eyJ[\w-]*`),
	"a card":            regexp.MustCompile(`\bpm_\w+`),
}

// secretRecorder is a transport that records the secrets in requests and answers.
type secretRecorder struct{ next http.RoundTripper }

func (r secretRecorder) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		sent, err := io.ReadAll(body)
		if err != nil {
			return nil, err
		}
		secrets.add(sent)
	}
	res, err := r.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return nil, err
	}
	secrets.add(got)
	res.Body = io.NopCloser(bytes.NewReader(got))
	return res, nil
}

// add adds the secrets in the body of a request or answer, if it has any.
func (c *secretSet) add(body []byte) {
	var fields map[string]any
	if json.Unmarshal(body, &fields) != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, value := range fields {
		text, ok := value.(string)
		if ok && secretFields[name] && len(text) >= 8 && !secretPatterns["a token"].MatchString(text) {
			c.known[text] = "a " + name
		}
	}
}

// addStackSecrets adds the secrets of the stack itself: keys, seeds, and the passwords of databases.
func (c *secretSet) addStackSecrets() error {
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

// leaked returns an error for each secret in a text, with the line of its first occurrence.
func (c *secretSet) leaked(text string) error {
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
	for _, what := range slices.Sorted(maps.Keys(secretPatterns)) {
		if at := secretPatterns[what].FindStringIndex(text); at != nil {
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
	c := secretSet{known: map[string]string{}}
	c.add([]byte(`{"refreshToken": "fjord-and-fell", "tokenType": "Bearer", "n": 1}`))
	c.add([]byte(`["no object"]`))
	require.NoError(t, c.leaked("a Bearer of nothing, at 12:30\n"))
	for _, leak := range []string{
		"fjord-and-fell", "ann.lee@example.com", "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2ln", "pm_card_visa",
	} {
		err := c.leaked("before\n{\"msg\":\"" + leak + "\"}\nafter\n")
		require.ErrorContains(t, err, `{"msg":"`+leak+`"}`)
		require.NotContains(t, err.Error(), "before")
		require.NotContains(t, err.Error(), "after")
	}
}

// checkLogs checks that the logs of apps and sidecars have no secrets, and that each log line of an app is well-formed.
func checkLogs() error {
	if err := secrets.addStackSecrets(); err != nil {
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
				name := filepath.Base(app.Process.Log)
				wrong = append(wrong, fmt.Errorf("the log %s has a line that %w: %s", name, err, line))
				break
			}
		}
	}
	return errors.Join(wrong...)
}

func checkLine(service, line string) error {
	var l struct{ Time, Level, Msg, Service, CorrelationID, TraceID, SpanID string }
	if err := json.Unmarshal([]byte(line), &l); err != nil {
		return fmt.Errorf("is not JSON: %w", err)
	}
	if l.Time == "" || l.Level == "" || l.Msg == "" || l.Service != service {
		return errors.New("lacks the time, level, message or service")
	}
	if l.Msg == "request answered" && (l.CorrelationID == "" || l.TraceID == "" || l.SpanID == "") {
		return errors.New("lacks the correlation, trace or span id")
	}
	return nil
}

// checkSpans checks that the spans have no secrets.
func checkSpans() error {
	var wrong []error
	for _, s := range spans.all() {
		if err := secrets.leaked(s.text); err != nil {
			wrong = append(wrong, fmt.Errorf("the span %q of %s has %w", s.name, s.process, err))
		}
	}
	return errors.Join(wrong...)
}
