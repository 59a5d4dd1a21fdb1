// Package conformance holds the contract's examples as cases: each request and answer as the contract
// shows it. A live system is asked with what stands in for the examples' ids, and has to answer with
// the same status, the same fields of the same types, the same codes and verdicts.
package conformance

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"
)

//go:embed cases/*.json
var cases embed.FS

// Case is one example.
type Case struct {
	Name     string            `json:"name"`
	From     string            `json:"from"` // the service that asks
	To       string            `json:"to"`   // the service that answers
	Method   string            `json:"method"`
	Path     string            `json:"path"`
	Body     json.RawMessage   `json:"body"`
	Status   int               `json:"status"`
	Answer   json.RawMessage   `json:"answer"`
	StandIns map[string]string `json:"standIns"` // a value of the example to the name of what stands in for it
	Beyond   []string          `json:"beyond"`   // fields of the answer's top that we added to the contract's
}

// Cases gives all cases, in an order in which each finds what it needs: a release comes after its
// reserve.
func Cases() ([]Case, error) {
	files, err := fs.Glob(cases, "cases/*.json")
	if err != nil {
		return nil, err
	}
	all := make([]Case, len(files))
	for i, file := range files {
		content, err := cases.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(content, &all[i]); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return all, nil
}

// With gives the case with real values in place of the example's. It fails when one has no stand-in.
func (c Case) With(actual map[string]string) (Case, error) {
	var pairs []string
	for example, name := range c.StandIns {
		value := actual[name]
		if value == "" {
			return Case{}, fmt.Errorf("%s: nothing stands in for %s", c.Name, name)
		}
		pairs = append(pairs, example, value)
	}
	replace := strings.NewReplacer(pairs...).Replace
	c.Path = replace(c.Path)
	c.Body, c.Answer = []byte(replace(string(c.Body))), []byte(replace(string(c.Answer)))
	return c, nil
}

// Check compares what was answered to a case made by With, and says where they differ first.
func (c Case) Check(status int, body []byte, actual map[string]string) error {
	if status != c.Status {
		return fmt.Errorf("%s: status %d and not %d: %s", c.Name, status, c.Status, body)
	}
	var want, got any
	if err := json.Unmarshal(c.Answer, &want); err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	if err := json.Unmarshal(body, &got); err != nil {
		return fmt.Errorf("%s: the answer is no JSON: %w", c.Name, err)
	}
	if fields, is := got.(map[string]any); is {
		for _, ours := range c.Beyond {
			delete(fields, ours)
		}
	}
	known := map[string]bool{}
	for _, name := range c.StandIns {
		known[actual[name]] = true
	}
	if err := same("", "", want, got, known); err != nil {
		return fmt.Errorf("%s: %w\nanswer: %s", c.Name, err, body)
	}
	return nil
}

// Fields whose values are part of the contract, beside known ids: what was decided, and in which words.
var (
	verdicts = []string{"valid", "isOrganizer", "available", "reserved", "confirmed", "released"}
	codes    = []string{"error", "status", "paymentStatus", "paymentMethod", "roles", "category", "currency"}
)

// same compares the shapes of two values, and the values themselves where they are verdicts, codes, or
// known.
func same(path, key string, want, got any, known map[string]bool) error {
	if reflect.TypeOf(want) != reflect.TypeOf(got) {
		return fmt.Errorf("%s is a %T and not a %T", path, got, want)
	}
	switch want := want.(type) {
	case map[string]any:
		got := got.(map[string]any)
		if wantKeys, gotKeys := keys(want), keys(got); !slices.Equal(wantKeys, gotKeys) {
			return fmt.Errorf("%s has the fields %v and not %v", path, gotKeys, wantKeys)
		}
		for name, value := range want {
			if err := same(path+"."+name, name, value, got[name], known); err != nil {
				return err
			}
		}
	case []any:
		got := got.([]any)
		if len(want) != len(got) {
			return fmt.Errorf("%s has %d entries and not %d", path, len(got), len(want))
		}
		for i := range want {
			if err := same(fmt.Sprintf("%s[%d]", path, i), key, want[i], got[i], known); err != nil {
				return err
			}
		}
	case bool:
		if slices.Contains(verdicts, key) && want != got {
			return fmt.Errorf("%s is %v", path, got)
		}
	case string:
		if (slices.Contains(codes, key) || known[want]) && want != got {
			return fmt.Errorf("%s is %q and not %q", path, got, want)
		}
	}
	return nil
}

func keys(fields map[string]any) []string {
	var names []string
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
