// Package conformance has the contract's examples as test cases: each request and answer as the contract shows it. A
// test replaces the ids of the example with those of a running system and sends the request. The answer must have the
// same status, the same fields with the same types, and the same codes and decisions.
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
	From     string            `json:"from"` // the calling service
	To       string            `json:"to"`   // the called service
	Method   string            `json:"method"`
	Path     string            `json:"path"`
	Body     json.RawMessage   `json:"body"`
	Status   int               `json:"status"`
	Answer   json.RawMessage   `json:"answer"`
	StandIns map[string]string `json:"standIns"` // values of the example to the names of their replacements
	Beyond   []string          `json:"beyond"`   // paths of fields that the contract does not have: tickets.name
}

// Cases returns all cases, each after those that it depends on: a release comes after its reserve.
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

// With returns the case with its values replaced by those in actual, which has them by name. It returns an error if one
// is missing.
func (c Case) With(actual map[string]string) (Case, error) {
	var pairs []string
	for example, name := range c.StandIns {
		value := actual[name]
		if value == "" {
			return Case{}, fmt.Errorf("%s: no value for %s", c.Name, name)
		}
		pairs = append(pairs, example, value)
	}
	replace := strings.NewReplacer(pairs...).Replace
	c.Path = replace(c.Path)
	c.Body, c.Answer = []byte(replace(string(c.Body))), []byte(replace(string(c.Answer)))
	return c, nil
}

// Check compares an answer with a case that With returned. It returns an error that describes the first difference.
func (c Case) Check(status int, body []byte, actual map[string]string) error {
	if status != c.Status {
		return fmt.Errorf("%s: status %d, want %d: %s", c.Name, status, c.Status, body)
	}
	var want, got any
	if err := json.Unmarshal(c.Answer, &want); err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	if err := json.Unmarshal(body, &got); err != nil {
		return fmt.Errorf("%s: the answer is not JSON: %w", c.Name, err)
	}
	for _, path := range c.Beyond {
		remove(got, strings.Split(path, "."))
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

// remove removes a field from a value, in a list from each element.
func remove(from any, path []string) {
	switch from := from.(type) {
	case []any:
		for _, element := range from {
			remove(element, path)
		}
	case map[string]any:
		if len(path) == 1 {
			delete(from, path[0])
		} else {
			remove(from[path[0]], path[1:])
		}
	}
}

// The fields whose values, besides known ids, must be equal.
var (
	decisions = []string{"valid", "isOrganizer", "available", "reserved", "confirmed", "released"}
	codes     = []string{"error", "status", "paymentStatus", "paymentMethod", "roles", "category", "currency"}
)

// same compares the types and fields of two values. It compares the values themselves if they are decisions, codes or
// known ids.
func same(path, key string, want, got any, known map[string]bool) error {
	if reflect.TypeOf(want) != reflect.TypeOf(got) {
		return fmt.Errorf("%s is a %T, want a %T", path, got, want)
	}
	switch want := want.(type) {
	case map[string]any:
		got := got.(map[string]any)
		if wantKeys, gotKeys := keys(want), keys(got); !slices.Equal(wantKeys, gotKeys) {
			return fmt.Errorf("%s has the fields %v, want %v", path, gotKeys, wantKeys)
		}
		for name, value := range want {
			if err := same(path+"."+name, name, value, got[name], known); err != nil {
				return err
			}
		}
	case []any:
		got := got.([]any)
		if len(want) != len(got) {
			return fmt.Errorf("%s has %d entries, want %d", path, len(got), len(want))
		}
		for i := range want {
			if err := same(fmt.Sprintf("%s[%d]", path, i), key, want[i], got[i], known); err != nil {
				return err
			}
		}
	case bool:
		if slices.Contains(decisions, key) && want != got {
			return fmt.Errorf("%s is %v, want %v", path, got, want)
		}
	case string:
		if (slices.Contains(codes, key) || known[want]) && want != got {
			return fmt.Errorf("%s is %q, want %q", path, got, want)
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
