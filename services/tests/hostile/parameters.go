package hostile

import (
	"maps"
	"strings"

	"github.com/google/uuid"
)

// parameters returns attacks with invalid path variables, query parameters and headers.
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
			for _, value := range g.wrongQuery(name, schema) {
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

// wrongQuery returns invalid values of a query parameter, encoded for a URL.
func (g *generator) wrongQuery(name string, schema object) []string {
	switch {
	case schema["type"] == "integer":
		return []string{"0", "-1", "101", "abc", "1.5", "99999999999999999999", "1e2", "%00"}
	case schema["format"] == "date-time":
		return []string{"yesterday", "2030-13-45T00:00:00Z", "2030-01-01", "-1", "%00", strings.Repeat("2", 5000)}
	case schema["enum"] != nil:
		return []string{"NOPE", "music", "%00", strings.Repeat("A", 5000)}
	case schema["format"] == "uuid" || schema["pattern"] != nil:
		return []string{"not%20one!", "%00", strings.Repeat("!", 5000)}
	case name == "cursor":
		return []string{"junk!", "%00", "%ff%fe", g.junk(30), strings.Repeat("A", 5000), "bnVsbA", "e30"}
	default:
		return []string{strings.Repeat("word%20", 3000), "%ff%fe"}
	}
}
