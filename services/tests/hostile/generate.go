package hostile

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"strings"

	"github.com/google/uuid"
)

// attack is a request that a service must reject.
type attack struct {
	operation
	name   string
	url    string // path and query
	body   []byte
	header map[string]string
	anon   bool // without the credentials that the operation requires
}

// generator creates attacks from one document. Its ids are those of rows that exist, by the names that the document has
// for them. Without them, most attacks would be rejected as not found before the service reads the rest of the request.
type generator struct {
	random *rand.Rand
	ids    map[string]string
	d      document
}

const megabyte = 1 << 20

// attacks returns all attacks on an operation.
func (g *generator) attacks(op operation) []attack {
	base := g.base(op.schema, op.example)
	address, header := g.address(op, "", ""), g.headers(op)
	newAttack := func(name string, body []byte) attack {
		return attack{operation: op, name: name, url: address, body: body, header: maps.Clone(header)}
	}
	var all []attack
	if op.security != "" {
		all = append(all, g.credentials(op, newAttack, encode(base))...)
	}
	if op.security == "sidecar" && (op.schema == nil || strings.HasPrefix(op.path, "/bindings/")) {
		return all // a timer's route reads no body, and a dead-letter queue's route accepts any
	}
	all = append(all, g.parameters(op, encode(base), header)...)
	if op.schema == nil {
		return all
	}
	if op.security == "sidecar" {
		return append(all, g.events(newAttack)...)
	}
	if op.schema["properties"] == nil { // a webhook of Stripe: the signature of any body is wrong
		for i := range 10 {
			all = append(all, newAttack(fmt.Sprintf("unsigned %d", i), []byte(`{"id":"`+g.junk(20)+`"}`)))
		}
		return all
	}
	for _, body := range g.bodies(op, encode(base)) {
		all = append(all, newAttack(body.name, body.content))
	}
	for _, kind := range []string{
		"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json; charset=utf-16",
		"\"",
	} {
		mistyped := newAttack("truncated as "+kind, encode(base)[:len(encode(base))-1])
		mistyped.header["Content-Type"] = kind
		all = append(all, mistyped)
	}
	g.fields(op.schema, base, nil, true, func(path []any, name string, value any) {
		all = append(all, newAttack(name, encode(with(base, path, value))))
	})
	return all
}

// credentials returns attacks without valid credentials. An operation whose credentials are optional accepts a request
// without any.
func (g *generator) credentials(op operation, newAttack func(string, []byte) attack, body []byte) []attack {
	var all []attack
	if without := newAttack("no credentials", body); !op.optional {
		without.anon = true
		all = append(all, without)
	}
	forged := newAttack("forged credentials", body)
	forged.anon = true
	forged.header["Authorization"] = "Bearer " + g.junk(40)
	forged.header["X-Service-Token"], forged.header["X-Service-Name"] = g.junk(40), op.caller
	forged.header["dapr-api-token"] = g.junk(64)
	return append(all, forged)
}

// address returns the path and query of an operation. The path variable of the given name gets the value, which is
// already encoded for a URL. Every other path variable gets an existing id if one is known.
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

// headers returns the content type, and every header that an operation requires.
func (g *generator) headers(op operation) map[string]string {
	header := map[string]string{"Content-Type": "application/json"}
	for _, parameter := range op.parameters {
		if parameter["in"] == "header" && parameter["required"] == true {
			header[text(parameter["name"])] = "hostile-" + uuid.NewString()
		}
	}
	return header
}

// junk returns n random letters.
func (g *generator) junk(n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[g.random.IntN(len(letters))]
	}
	return string(b)
}

// encode returns a body as JSON, and nothing for a nil body.
func encode(body any) []byte {
	if body == nil {
		return nil
	}
	content, err := json.Marshal(body)
	if err != nil {
		panic(err) // only a raw value can fail, and those of this package are valid
	}
	return content
}

// clip returns the quoted beginning of a value, for the name of an attack.
func clip(value string) string { return fmt.Sprintf("%.20q", value) }
