package hostile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

type namedBody struct {
	name    string
	content []byte
}

// bodies returns bodies that every operation rejects. Most of them are not a JSON object at all; base is a valid body.
func (g *generator) bodies(op operation, base []byte) []namedBody {
	nested := strings.Repeat(`{"x":`, 20_000) + "1" + strings.Repeat("}", 20_001)
	all := []namedBody{
		{"empty body", nil},
		{"body of blanks", []byte(" \n\t ")},
		{"truncated body", base[:len(base)-1]},
		{"half a body", base[:len(base)/2]},
		{"array for a body", []byte(`[]`)},
		{"string for a body", []byte(`"body"`)},
		{"number for a body", []byte(`7`)},
		{"true for a body", []byte(`true`)},
		{"two bodies", append(bytes.Clone(base), base...)},
		{"text after the body", append(bytes.Clone(base), " x"...)},
		{"XML", []byte(`<?xml version="1.0"?><a/>`)},
		{"form", []byte(`a=b&c=d`)},
		{"deep nesting", bytes.Repeat([]byte("["), 100_000)},
		{"deep nesting in a field", []byte(`{"x":` + nested)},
		{"invalid UTF-8", []byte("{\"\xff\xfe\xc0\":1}")},
		{"invalid UTF-8 in a value", bytes.Replace(base, []byte("{"), []byte("{\"x\":\"\xc3\x28\","), 1)},
		{"UTF-16", []byte("\xff\xfe{\x00}\x00")},
		{"NUL bytes", make([]byte, 100)},
		{"over a megabyte", append(append([]byte(`{"x":"`), bytes.Repeat([]byte("a"), megabyte)...), `"}`...)},
	}
	if len(list(op.schema["required"])) > 0 {
		all = append(all, namedBody{"null for a body", []byte(`null`)}, namedBody{"empty object", []byte(`{}`)})
	}
	// An optional field that is null counts as missing. The service must still reject the unknown field after it.
	nulls := object{"unknown_" + g.junk(5): 1}
	for name := range g.d.at(op.schema["properties"]) {
		if !slices.Contains(list(op.schema["required"]), any(name)) {
			nulls[name] = nil
		}
	}
	all = append(all, namedBody{"nulls and an unknown field", encode(nulls)})
	for i := 0; i < 8 && len(base) > 2; {
		broken := bytes.Clone(base)
		broken[g.random.IntN(len(broken))] = "\x00{}[]:,x\xff"[g.random.IntN(9)]
		if i++; !json.Valid(broken) {
			all = append(all, namedBody{fmt.Sprintf("a byte changed %d", i), broken})
		}
	}
	return all
}

// events returns attacks on a route that receives events, with bodies that are not an event.
func (g *generator) events(newAttack func(string, []byte) attack) []attack {
	var all []attack
	for name, body := range map[string]string{
		"empty": "", "truncated": `{"id":`, "array": `[]`, "no id": `{"type":"X","data":{}}`, "id is a number": `{"id":7}`,
		"deep nesting": strings.Repeat("[", 100_000), "over a megabyte": `{"id":"` + strings.Repeat("a", megabyte) + `"}`,
	} {
		all = append(all, newAttack("event "+name, []byte(body)))
	}
	slices.SortFunc(all, func(a, b attack) int { return strings.Compare(a.name, b.name) })
	return all
}

// fields calls try with every wrong value for every field of a body. The schema is the body's, and base is a valid
// body. A null is a wrong value only where a value is required: elsewhere it counts as missing.
func (g *generator) fields(
	schema object, base any, path []any, required bool, try func(path []any, name string, value any),
) {
	where := fmt.Sprint(path)
	for name, value := range g.wrong(schema, base, required && len(path) > 0) {
		if len(path) == 0 && name != "unknown field" {
			continue // bodies has the wrong values of the whole body
		}
		try(path, where+" "+name, value)
	}
	switch base := base.(type) {
	case object:
		needed := list(schema["required"])
		properties := g.d.at(schema["properties"])
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			need := slices.Contains(needed, any(name))
			if need {
				try(append(slices.Clone(path), name), where+" without "+name, missing{})
			}
			property := g.d.at(properties[name])
			value, present := base[name]
			if !present {
				value = g.sample(name, property)
			}
			g.fields(property, value, append(slices.Clone(path), name), need, try)
		}
	case []any:
		if len(base) > 0 {
			g.fields(g.d.at(schema["items"]), base[0], append(slices.Clone(path), 0), true, try)
		}
	}
}

// missing is the value of a field that is left out.
type missing struct{}

// with returns a copy of a body that has the value at the path. A path consists of field names and array indexes.
func with(body any, path []any, value any) any {
	if len(path) == 0 {
		return value
	}
	switch at := path[0].(type) {
	case string:
		fields, _ := body.(object)
		changed := maps.Clone(fields)
		if changed == nil {
			changed = object{}
		}
		if _, gone := value.(missing); gone && len(path) == 1 {
			delete(changed, at)
		} else {
			changed[at] = with(changed[at], path[1:], value)
		}
		return changed
	case int:
		items, _ := body.([]any)
		changed := slices.Clone(items)
		if len(changed) == 0 {
			changed = []any{nil}
		}
		changed[at] = with(changed[at], path[1:], value)
		return changed
	}
	panic(fmt.Sprintf("path %v has an element that is neither a field name nor an index", path))
}
