package hostile

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// raw is the JSON of a value that encoding/json would not write, such as a number out of range.
type raw string

func (r raw) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// These rules stand only in the descriptions of the documents' schemas. TestAttacksCoverTheDocuments fails when no
// description matches any more.
var (
	noDuplicates        = regexp.MustCompile(`(?i)\b(twice|duplicates?|unique|(only|at most) once)\b`)
	noControlCharacters = regexp.MustCompile(`(?i)control characters`)
	inTheFuture         = regexp.MustCompile(`(?i)\bfuture\b`)
)

// wrong returns values that a schema does not allow, by a name for each. base is a valid value.
func (g *generator) wrong(schema object, base any, required bool) map[string]any {
	values := map[string]any{}
	kind := kindOf(schema)
	for name, value := range map[string]any{
		"string": "7", "integer": 7, "boolean": true, "array": []any{}, "object": object{}, "number": raw("7.5"),
	} {
		if name != kind && (kind != "number" || name != "integer") {
			values[name+" for "+kind] = value
		}
	}
	if required {
		values["null"] = nil
	}
	switch kind {
	case "string":
		g.wrongStrings(schema, values)
	case "integer", "number":
		wrongNumbers(schema, values)
	case "array":
		wrongArrays(schema, list(base), values)
	case "object":
		if fields, is := base.(object); is && schema["additionalProperties"] == false {
			more := maps.Clone(fields)
			more["unknown_"+g.junk(5)] = 1
			values["unknown field"] = more
		}
	}
	return values
}

func wrongNumbers(schema object, values map[string]any) {
	for name, literal := range map[string]string{
		"negative": "-1", "huge": "99999999999999999999999999", "huge exponent": "1e400", "too many decimals": "0.0000001",
		"negative huge": "-1e308",
	} {
		values[name] = raw(literal)
	}
	if least, is := number(schema["minimum"]); is && least > 0 {
		values["zero"] = 0
	}
	if _, is := number(schema["exclusiveMinimum"]); is {
		values["zero"] = 0
	}
	if most, is := number(schema["maximum"]); is {
		values["above the maximum"] = int64(most) + 1
	}
}

func wrongArrays(schema object, items []any, values map[string]any) {
	if least, is := number(schema["minItems"]); is && least > 0 {
		values["no entries"] = []any{}
	}
	if most, is := number(schema["maxItems"]); is && len(items) > 0 {
		values["too many entries"] = slices.Repeat(items[:1], int(most)+1)
	}
	if unique := describes(schema, noDuplicates) || schema["uniqueItems"] == true; unique && len(items) > 0 {
		values["duplicate entries"] = []any{items[0], items[0]}
	}
	values["null entry"] = []any{nil}
}

func (g *generator) wrongStrings(schema object, values map[string]any) {
	numbered := func(name string, wrong ...string) {
		for i, value := range wrong {
			values[fmt.Sprintf("%s %d", name, i)] = value
		}
	}
	if most, is := number(schema["maxLength"]); is {
		values["too long"] = strings.Repeat("a", int(most)+1)
		values["far too long"] = strings.Repeat("é", min(int(most)*20, 400_000))
	}
	if least, is := number(schema["minLength"]); is && least > 0 {
		values["empty"] = ""
	}
	if describes(schema, noControlCharacters) {
		values["control characters"] = "a\u0000b"
		values["line break"] = "a\r\nBcc: everybody@example.com"
	}
	switch {
	case schema["enum"] != nil:
		values["not in the enum"], values["lower case"] = "NOPE", strings.ToLower(fmt.Sprint(list(schema["enum"])[0]))
		values["empty"] = ""
	case schema["format"] == "uuid":
		numbered("invalid UUID", "1", "not-a-uuid", "", uuid.NewString()+"0", "{"+uuid.NewString()+"}", "\u0000", g.junk(36))
	case schema["format"] == "date-time":
		numbered("invalid time", "yesterday", "", "2030-13-45T00:00:00Z", "2030-01-01", "2030-01-01T00:00:00",
			"99999-01-01T00:00:00Z")
		if describes(schema, inTheFuture) {
			values["past"] = time.Now().UTC().AddDate(-1, 0, 0).Format(time.RFC3339)
			values["long past"] = "0001-01-01T00:00:00Z"
		}
	case schema["format"] == "email":
		numbered("invalid address", "nobody", "", "a@", "@b", "a@b@c", "a b@example.com",
			"a@example.com\r\nBcc: b@example.com", "<a@example.com>")
	case schema["pattern"] == "^[A-Z]{3}$":
		numbered("invalid currency", "usd", "XXQ", "", "DOLLARS", "US", "\u0000\u0000\u0000")
	case schema["pattern"] != nil:
		values["against the pattern"], values["text after the pattern"] = "\u0001", "a\nb"
	}
}

// describes reports whether the description of a schema has a rule.
func describes(schema object, rule *regexp.Regexp) bool {
	return rule.MatchString(text(schema["description"]))
}

// kindOf returns the type of a schema. A schema without a type is an enum of strings.
func kindOf(schema object) string {
	switch kind := schema["type"].(type) {
	case string:
		return kind
	case []any:
		return text(kind[0])
	}
	return "string"
}

// number returns a limit of a schema, and whether the schema has it.
func number(part any) (float64, bool) {
	switch n := part.(type) {
	case int:
		return float64(n), true
	case float64:
		return n, true
	}
	return math.NaN(), false
}

// base returns a valid body: the document's example with existing ids, or else a sample of the schema. It is valid as
// far as the document describes the rules.
func (g *generator) base(schema object, example any) any {
	if schema == nil {
		return nil
	}
	if example == nil {
		return g.sample("", schema)
	}
	return g.adopt("", example)
}

// adopt returns a copy of an example in which every id that generator.ids names is replaced. The part's own name is
// name.
func (g *generator) adopt(name string, part any) any {
	switch part := part.(type) {
	case object:
		adopted := object{}
		for field, value := range part {
			adopted[field] = g.adopt(field, value)
		}
		return adopted
	case []any:
		adopted := make([]any, len(part))
		for i, value := range part {
			adopted[i] = g.adopt(strings.TrimSuffix(name, "s"), value)
		}
		return adopted
	case float64:
		return raw(fmt.Sprintf("%.2f", part))
	}
	if id, known := g.ids[name]; known {
		return id
	}
	return part
}

// sample returns a value that a schema allows.
func (g *generator) sample(name string, schema object) any {
	if id, known := g.ids[name]; known {
		return id
	}
	if examples := list(schema["examples"]); len(examples) > 0 {
		return g.adopt(name, examples[0])
	}
	switch kindOf(schema) {
	case "object":
		value := object{}
		for _, field := range list(schema["required"]) {
			value[text(field)] = g.sample(text(field), g.d.at(g.d.at(schema["properties"])[text(field)]))
		}
		return value
	case "array":
		return []any{g.sample(strings.TrimSuffix(name, "s"), g.d.at(schema["items"]))}
	case "integer", "number":
		return 1
	case "boolean":
		return true
	}
	switch {
	case schema["enum"] != nil:
		return list(schema["enum"])[0]
	case schema["format"] == "uuid":
		return uuid.NewString()
	case schema["format"] == "date-time":
		return time.Now().UTC().AddDate(1, 0, 0).Format(time.RFC3339)
	}
	return "sample-text-of-a-test"
}
