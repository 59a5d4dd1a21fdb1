package simulator

import (
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// params is a decoded form or query. Names are in Stripe's bracket notation.
type params struct{ url.Values }

// only returns an error for a parameter whose name before the first bracket is not listed.
func (p params) only(names ...string) *apiError {
	for full := range p.Values {
		base, _, _ := strings.Cut(full, "[")
		known := false
		for _, name := range names {
			known = known || name == base
		}
		if !known {
			return invalidRequest("parameter_unknown", full,
				"Received unknown parameter: %s (this simulator does not have it; Stripe may)", full)
		}
	}
	return nil
}

// integer reads an integer. It returns false for ok when the parameter is absent.
func (p params) integer(name string) (n int64, ok bool, apiErr *apiError) {
	if !p.Has(name) {
		return 0, false, nil
	}
	n, err := strconv.ParseInt(p.Get(name), 10, 64)
	if err != nil {
		return 0, false, invalidRequest("parameter_invalid_integer", name, "Invalid integer: %s", p.Get(name))
	}
	return n, true, nil
}

// boolean reads true or false. An absent parameter is false.
func (p params) boolean(name string) (bool, *apiError) {
	switch p.Get(name) {
	case "true":
		return true, nil
	case "", "false":
		return false, nil
	default:
		return false, invalidRequest("", name, "Invalid boolean: %s", p.Get(name))
	}
}

// list reads the values of name[], and of name[0], name[1] and so on.
func (p params) list(name string) []string {
	values := append([]string(nil), p.Values[name+"[]"]...)
	for i := 0; p.Has(name + "[" + strconv.Itoa(i) + "]"); i++ {
		values = append(values, p.Get(name+"["+strconv.Itoa(i)+"]"))
	}
	return values
}

// metadata reads the parameters metadata[key]=value. It returns an error beyond Stripe's limits.
func (p params) metadata() (map[string]string, *apiError) {
	found := map[string]string{}
	for full := range p.Values {
		key, isMetadata := strings.CutPrefix(full, "metadata[")
		if !isMetadata {
			continue
		}
		key = strings.TrimSuffix(key, "]")
		value := p.Get(full)
		switch {
		case len(key) > 40:
			return nil, invalidRequest("", full, "Metadata keys can have up to 40 characters, "+
				"but you passed in a key that is %d characters.", len(key))
		case utf8.RuneCountInString(value) > 500:
			return nil, invalidRequest("", full, "Metadata values can have up to 500 characters, "+
				"but you passed in a value that is %d characters.", utf8.RuneCountInString(value))
		case value != "":
			found[key] = value
		}
	}
	if len(found) > 50 {
		return nil, invalidRequest("", "metadata",
			"Metadata can have up to 50 keys, but you passed in %d.", len(found))
	}
	return found, nil
}

// optional returns the value of a parameter, or nil when it is absent or empty.
func (p params) optional(name string) *string {
	if value := p.Get(name); value != "" {
		return &value
	}
	return nil
}
