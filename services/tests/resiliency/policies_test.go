package resiliency_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// document is a file of resiliency/. Unknown keys are an error here, because a sidecar ignores them silently.
type document struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   struct {
		Name string `yaml:"name"`
	} `yaml:"metadata"`
	Spec struct {
		Policies struct {
			Timeouts map[string]string  `yaml:"timeouts,omitempty"`
			Retries  map[string]retry   `yaml:"retries,omitempty"`
			Breakers map[string]breaker `yaml:"circuitBreakers,omitempty"`
		} `yaml:"policies"`
		Targets struct {
			Apps       map[string]policies `yaml:"apps,omitempty"`
			Components map[string]struct {
				Inbound  policies `yaml:"inbound,omitempty"`
				Outbound policies `yaml:"outbound,omitempty"`
			} `yaml:"components,omitempty"`
		} `yaml:"targets"`
	} `yaml:"spec"`
	Scopes []string `yaml:"scopes"`
}

// policies has the names of the policies of a target.
type policies struct {
	Timeout string `yaml:"timeout,omitempty"`
	Retry   string `yaml:"retry,omitempty"`
	Breaker string `yaml:"circuitBreaker,omitempty"`
}

type retry struct {
	Policy      string `yaml:"policy"`
	Duration    string `yaml:"duration,omitempty"`
	MaxInterval string `yaml:"maxInterval,omitempty"`
	MaxRetries  *int   `yaml:"maxRetries"`
	Matching    struct {
		Statuses string `yaml:"httpStatusCodes,omitempty"`
	} `yaml:"matching,omitempty"`
}

type breaker struct {
	MaxRequests int    `yaml:"maxRequests"`
	Interval    string `yaml:"interval"`
	Timeout     string `yaml:"timeout"`
	Trip        string `yaml:"trip"`
}

// shipped returns the files of resiliency/ by their names.
func shipped(root string) (map[string]document, error) {
	files, err := filepath.Glob(filepath.Join(root, "resiliency", "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("find the policies: %w", err)
	}
	documents := map[string]document{}
	for _, path := range files {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read a policy: %w", err)
		}
		var d document
		decoder := yaml.NewDecoder(bytes.NewReader(content))
		decoder.KnownFields(true)
		if err := decoder.Decode(&d); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if err := decoder.Decode(new(any)); !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s has a second document, which sidecars ignore", path)
		}
		documents[filepath.Base(path)] = d
	}
	return documents, nil
}

// shorten divides the waits of the document by 20, so that tests are fast. No wait gets shorter than the second that a
// busy machine may take to answer. A breaker's interval is divided by 4, because all calls of a test must fall into
// one.
func (d document) shorten() error {
	var failures []error
	short := func(s *string, by time.Duration) {
		if *s == "" {
			return
		}
		long, err := time.ParseDuration(*s)
		failures = append(failures, err)
		*s = max(long/by, min(long, time.Second)).String()
	}
	p := d.Spec.Policies
	for name, t := range p.Timeouts {
		short(&t, 20)
		p.Timeouts[name] = t
	}
	for name, r := range p.Retries {
		short(&r.Duration, 20)
		short(&r.MaxInterval, 20)
		p.Retries[name] = r
	}
	for name, b := range p.Breakers {
		short(&b.Interval, 4)
		short(&b.Timeout, 20)
		p.Breakers[name] = b
	}
	return errors.Join(failures...)
}

// outbound returns the policies of requests to a component's server.
func outbound(component string) (policies, bool) {
	for _, d := range short {
		if names := d.Spec.Targets.Components[component].Outbound; names != (policies{}) {
			return names, true
		}
	}
	return policies{}, false
}

// hop is the way of a call from one service to another through their sidecars, with the policies of the calling
// sidecar.
type hop struct {
	caller, callee string
	timeout        string
	retry          retry
	breaker        breaker
	trip           trip
}

// hops returns one hop for each callee, with one of its callers.
func hops(documents map[string]document) ([]hop, error) {
	var all []hop
	for _, d := range documents {
		for app, names := range d.Spec.Targets.Apps {
			p := d.Spec.Policies
			b := p.Breakers[names.Breaker]
			trip, err := parseTrip(b.Trip)
			if err != nil {
				return nil, fmt.Errorf("breaker of %s: %w", app, err)
			}
			all = append(all, hop{
				caller: d.Scopes[0], callee: app,
				timeout: p.Timeouts[names.Timeout], retry: p.Retries[names.Retry], breaker: b, trip: trip,
			})
		}
	}
	slices.SortFunc(all, func(a, b hop) int { return cmp.Compare(a.callee, b.callee) })
	return all, nil
}

// retries reports whether the policy retries a call that is answered with this status.
func (r retry) retries(status int) bool {
	for part := range strings.SplitSeq(r.Matching.Statuses, ",") {
		first, last, found := strings.Cut(part, "-")
		if !found {
			last = first
		}
		from, _ := strconv.Atoi(first)
		to, _ := strconv.Atoi(last)
		if from <= status && status <= to {
			return true
		}
	}
	return false
}

// attempts returns the number of attempts of a call that fails each time, on a path that was not called before. The
// attempts end when the retries are used up or the breaker opens.
func (h hop) attempts() int { return min(1+*h.retry.MaxRetries, h.trip.after(0)) }

// trip is the condition of a breaker. All our breakers have conditions of this form.
type trip struct{ requests, rate, run int }

var tripForm = regexp.MustCompile(
	`^requests >= (\d+) && \(totalFailures \* 100 >= requests \* (\d+) \|\| consecutiveFailures >= (\d+)\)$`)

func parseTrip(s string) (trip, error) {
	m := tripForm.FindStringSubmatch(s)
	if m == nil {
		return trip{}, fmt.Errorf("%q is not of the form %s", s, tripForm)
	}
	var t trip
	for i, n := range []*int{&t.requests, &t.rate, &t.run} {
		var err error
		if *n, err = strconv.Atoi(m[i+1]); err != nil {
			return trip{}, fmt.Errorf("%q: %w", s, err)
		}
	}
	return t, nil
}

// after returns the number of consecutive failures that open the breaker after a number of successes.
func (t trip) after(successes int) int {
	failures := 1
	for successes+failures < t.requests || (failures*100 < (successes+failures)*t.rate && failures < t.run) {
		failures++
	}
	return failures
}
