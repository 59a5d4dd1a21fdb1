package hostile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// attack is a request that has to be refused.
type attack struct {
	operation
	name   string
	url    string // path and query
	body   []byte
	header map[string]string
	anon   bool // without the credentials that the operation asks for
}

// generator makes attacks. It is given ids of things that exist, so that attacks get past "not found".
type generator struct {
	random *rand.Rand
	ids    map[string]string
	d      document
}

// raw is a value in a body that Go's JSON would not write.
type raw string

func (r raw) MarshalJSON() ([]byte, error) { return []byte(r), nil }

const megabyte = 1 << 20

// attacks gives all attacks on an operation.
func (g *generator) attacks(op operation) []attack {
	base := g.base(op.schema, op.example)
	address, header := g.address(op, "", ""), g.headers(op)
	make1 := func(name string, body []byte) attack {
		return attack{operation: op, name: name, url: address, body: body, header: maps.Clone(header)}
	}
	var all []attack
	if op.security != "" {
		if refused := make1("no credentials", encode(base)); !op.optional {
			refused.anon = true
			all = append(all, refused)
		}
		forged := make1("forged credentials", encode(base))
		forged.anon = true
		forged.header["Authorization"] = "Bearer " + g.junk(40)
		forged.header["X-Service-Token"], forged.header["X-Service-Name"] = g.junk(40), op.caller
		forged.header["dapr-api-token"] = g.junk(64)
		all = append(all, forged)
	}
	if op.security == "sidecar" && (op.schema == nil || strings.HasPrefix(op.path, "/bindings/")) {
		return all // a tick of a clock, or what nobody could read: there is nothing else to refuse
	}
	all = append(all, g.parameters(op, encode(base), header)...)
	if op.schema == nil {
		return all
	}
	if op.security == "sidecar" {
		return append(all, g.events(make1)...)
	}
	if op.schema["properties"] == nil { // somebody else's body: its signature is wrong whatever it says
		for i := range 10 {
			all = append(all, make1(fmt.Sprintf("unsigned %d", i), []byte(`{"id":"`+g.junk(20)+`"}`)))
		}
		return all
	}
	for _, body := range g.bodies(op, encode(base)) {
		all = append(all, make1(body.name, body.content))
	}
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json; charset=utf-16", "\""} {
		mistyped := make1("truncated as "+kind, encode(base)[:len(encode(base))-1])
		mistyped.header["Content-Type"] = kind
		all = append(all, mistyped)
	}
	g.sites(op.schema, base, nil, true, func(path []any, name string, value any) {
		all = append(all, make1(name, encode(with(base, path, value))))
	})
	return all
}

// parameters attacks what stands in the address and in the headers.
func (g *generator) parameters(op operation, body []byte, header map[string]string) []attack {
	var all []attack
	add := func(name, address string, header map[string]string) {
		all = append(all, attack{operation: op, name: name, url: address, body: body, header: header})
	}
	for _, parameter := range op.parameters {
		name, schema := text(parameter["name"]), g.d.at(parameter["schema"])
		switch parameter["in"] {
		case "path":
			if schema["format"] != "uuid" {
				continue
			}
			for _, value := range []string{
				"1", "not-a-uuid", "%00", "%ff%fe", "null", "-1", strings.Repeat("a", 5000), uuid.NewString() + "0",
				"%7B" + uuid.NewString() + "%7D", "urn:uuid:" + uuid.NewString(), strings.ReplaceAll(uuid.NewString(), "-", ""),
				"'%20OR%20'1'='1", g.junk(36),
			} {
				add("path "+name+" "+clip(value), g.address(op, name, value), header)
			}
		case "query":
			var values []string
			switch {
			case schema["type"] == "integer":
				values = []string{"0", "-1", "101", "abc", "1.5", "99999999999999999999", "1e2", "%00"}
			case schema["format"] == "date-time":
				values = []string{"yesterday", "2030-13-45T00:00:00Z", "2030-01-01", "-1", "%00", strings.Repeat("2", 5000)}
			case schema["enum"] != nil:
				values = []string{"NOPE", "music", "%00", strings.Repeat("A", 5000)}
			case schema["format"] == "uuid" || schema["pattern"] != nil:
				values = []string{"not%20one!", "%00", strings.Repeat("!", 5000)}
			case name == "cursor":
				values = []string{"junk!", "%00", "%ff%fe", g.junk(30), strings.Repeat("A", 5000), "bnVsbA", "e30"}
			default:
				values = []string{strings.Repeat("word%20", 3000), "%ff%fe"}
			}
			for _, value := range values {
				add("query "+name+" "+clip(value), g.address(op, "", "")+"?"+name+"="+value, header)
			}
			if parameter["required"] == true {
				add("query without "+name, strings.Split(g.address(op, "", ""), "?")[0], header)
			}
		case "header":
			if parameter["required"] != true {
				continue
			}
			for _, value := range []string{"", strings.Repeat("k", 5000), "naïve", "tab\there"} {
				changed := maps.Clone(header)
				changed[name] = value
				add("header "+name+" "+clip(value), g.address(op, "", ""), changed)
			}
		}
	}
	return all
}

type namedBody struct {
	name    string
	content []byte
}

// bodies gives whole bodies that no operation takes.
func (g *generator) bodies(op operation, base []byte) []namedBody {
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
		{"body and more", append(bytes.Clone(base), " x"...)},
		{"XML", []byte(`<?xml version="1.0"?><a/>`)},
		{"form", []byte(`a=b&c=d`)},
		{"deep nesting", bytes.Repeat([]byte("["), 100_000)},
		{"deep nesting in a field", []byte(`{"x":` + strings.Repeat(`{"x":`, 20_000) + "1" + strings.Repeat("}", 20_001))},
		{"broken UTF-8", []byte("{\"\xff\xfe\xc0\":1}")},
		{"broken UTF-8 in a value", bytes.Replace(base, []byte("{"), []byte("{\"x\":\"\xc3\x28\","), 1)},
		{"UTF-16", []byte("\xff\xfe{\x00}\x00")},
		{"NUL bytes", make([]byte, 100)},
		{"over a megabyte", append(append([]byte(`{"x":"`), bytes.Repeat([]byte("a"), megabyte)...), `"}`...)},
	}
	if len(list(op.schema["required"])) > 0 {
		all = append(all, namedBody{"null for a body", []byte(`null`)}, namedBody{"empty object", []byte(`{}`)})
	}
	// A null says the same as nothing where nothing is required; it must not break what comes after it.
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

// events attacks the routes that deliver events with what is none.
func (g *generator) events(make1 func(string, []byte) attack) []attack {
	var all []attack
	for name, body := range map[string]string{
		"empty": "", "truncated": `{"id":`, "array": `[]`, "no id": `{"type":"X","data":{}}`, "id is a number": `{"id":7}`,
		"deep nesting": strings.Repeat("[", 100_000), "over a megabyte": `{"id":"` + strings.Repeat("a", megabyte) + `"}`,
	} {
		all = append(all, make1("event "+name, []byte(body)))
	}
	slices.SortFunc(all, func(a, b attack) int { return strings.Compare(a.name, b.name) })
	return all
}

// sites calls try with every wrong value for every part of a body that has this schema, base being a
// right one. A null is tried only where something is required: elsewhere it says the same as nothing.
func (g *generator) sites(schema object, base any, path []any, required bool, try func(path []any, name string, value any)) {
	where := fmt.Sprint(path)
	for name, value := range g.wrong(schema, base, required && len(path) > 0) {
		if len(path) == 0 && name != "unknown field" {
			continue // bodies does these
		}
		try(path, where+" "+name, value)
	}
	switch base := base.(type) {
	case object:
		needed := list(schema["required"])
		properties := g.d.at(schema["properties"])
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			is := slices.Contains(needed, any(name))
			if is {
				try(append(slices.Clone(path), name), where+" without "+name, missing{})
			}
			property := g.d.at(properties[name])
			value, present := base[name]
			if !present {
				value = g.sample(name, property)
			}
			g.sites(property, value, append(slices.Clone(path), name), is, try)
		}
	case []any:
		if len(base) > 0 {
			g.sites(g.d.at(schema["items"]), base[0], append(slices.Clone(path), 0), true, try)
		}
	}
}

// missing stands for a field that is left out.
type missing struct{}

// wrong gives values that a schema does not allow.
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
		for name, number := range map[string]string{
			"negative": "-1", "huge": "99999999999999999999999999", "huge exponent": "1e400", "fine": "0.0000001", "negative huge": "-1e308",
		} {
			values[name] = raw(number)
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
	case "array":
		items := list(base)
		if least, is := number(schema["minItems"]); is && least > 0 {
			values["no entries"] = []any{}
		}
		if most, is := number(schema["maxItems"]); is && len(items) > 0 {
			values["too many entries"] = slices.Repeat(items[:1], int(most)+1)
		}
		if twice := strings.Contains(text(schema["description"]), "twice") || schema["uniqueItems"] == true; twice && len(items) > 0 {
			values["duplicate entries"] = []any{items[0], items[0]}
		}
		values["null entry"] = []any{nil}
	case "object":
		if fields, is := base.(object); is && schema["additionalProperties"] == false {
			more := maps.Clone(fields)
			more["unknown_"+g.junk(5)] = 1
			values["unknown field"] = more
		}
	}
	return values
}

func (g *generator) wrongStrings(schema object, values map[string]any) {
	if most, is := number(schema["maxLength"]); is {
		values["too long"] = strings.Repeat("a", int(most)+1)
		values["far too long"] = strings.Repeat("é", min(int(most)*20, 400_000))
	}
	if least, is := number(schema["minLength"]); is && least > 0 {
		values["empty"] = ""
	}
	if strings.Contains(text(schema["description"]), "control characters") {
		values["control characters"] = "a\u0000b"
		values["line break"] = "a\r\nBcc: everybody@example.com"
	}
	switch {
	case schema["enum"] != nil:
		values["no such value"], values["lower case"] = "NOPE", strings.ToLower(fmt.Sprint(list(schema["enum"])[0]))
		values["empty"] = ""
	case schema["format"] == "uuid":
		for i, id := range []string{"1", "not-a-uuid", "", uuid.NewString() + "0", "{" + uuid.NewString() + "}", "\u0000", g.junk(36)} {
			values[fmt.Sprintf("no UUID %d", i)] = id
		}
	case schema["format"] == "date-time":
		for i, at := range []string{"yesterday", "", "2030-13-45T00:00:00Z", "2030-01-01", "2030-01-01T00:00:00", "99999-01-01T00:00:00Z"} {
			values[fmt.Sprintf("no time %d", i)] = at
		}
		if strings.Contains(text(schema["description"]), "future") {
			values["past"] = time.Now().UTC().AddDate(-1, 0, 0).Format(time.RFC3339)
			values["long past"] = "0001-01-01T00:00:00Z"
		}
	case schema["format"] == "email":
		for i, address := range []string{"nobody", "", "a@", "@b", "a@b@c", "a b@example.com", "a@example.com\r\nBcc: b@example.com", "<a@example.com>"} {
			values[fmt.Sprintf("no address %d", i)] = address
		}
	case schema["pattern"] == "^[A-Z]{3}$":
		for i, code := range []string{"usd", "XXQ", "", "DOLLARS", "US", "\u0000\u0000\u0000"} {
			values[fmt.Sprintf("no currency %d", i)] = code
		}
	case schema["pattern"] != nil:
		values["against the pattern"], values["pattern and more"] = "\u0001", "a\nb"
	}
}

func kindOf(schema object) string {
	switch kind := schema["type"].(type) {
	case string:
		return kind
	case []any:
		return text(kind[0])
	}
	return "string" // of an enum
}

func number(part any) (float64, bool) {
	switch n := part.(type) {
	case int:
		return float64(n), true
	case float64:
		return n, true
	}
	return math.NaN(), false
}

// base gives a body that is right, as far as the document can say: its example, about things that
// exist.
func (g *generator) base(schema object, example any) any {
	if schema == nil {
		return nil
	}
	if example == nil {
		return g.sample("", schema)
	}
	return g.adopt("", example)
}

// adopt puts ids of things that exist into an example.
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

// sample makes a value that a schema allows.
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

// address gives the operation's address, with value (as it stands in a URL) for the variable name, and
// an id that exists for every other.
func (g *generator) address(op operation, name, value string) string {
	path := op.path
	query := url.Values{}
	for _, parameter := range op.parameters {
		variable := text(parameter["name"])
		switch {
		case parameter["in"] == "path" && variable == name:
			path = strings.ReplaceAll(path, "{"+variable+"}", value)
		case parameter["in"] == "path":
			id, known := g.ids[variable]
			if !known {
				id = uuid.NewString()
			}
			path = strings.ReplaceAll(path, "{"+variable+"}", id)
		case parameter["in"] == "query" && parameter["required"] == true:
			query.Set(variable, "attempt-"+uuid.NewString())
		}
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return path
}

// headers gives what an operation cannot do without.
func (g *generator) headers(op operation) map[string]string {
	header := map[string]string{"Content-Type": "application/json"}
	for _, parameter := range op.parameters {
		if parameter["in"] == "header" && parameter["required"] == true {
			header[text(parameter["name"])] = "hostile-" + uuid.NewString()
		}
	}
	return header
}

// junk gives n characters that mean nothing.
func (g *generator) junk(n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[g.random.IntN(len(letters))]
	}
	return string(b)
}

// with gives body with value at path.
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
	panic("a path has names and numbers")
}

func encode(body any) []byte {
	if body == nil {
		return nil
	}
	content, err := json.Marshal(body)
	if err != nil {
		panic(err) // raw values are the only ones that could fail, and they are ours
	}
	return content
}

// clip keeps names short.
func clip(value string) string { return fmt.Sprintf("%.20q", value) }
