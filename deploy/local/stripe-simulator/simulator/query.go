package simulator

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// list is a page of Stripe's list API. Only a search result has NextPage.
type list struct {
	Object   string  `json:"object"`
	URL      string  `json:"url"`
	HasMore  bool    `json:"has_more"`
	Data     any     `json:"data"`
	NextPage *string `json:"next_page,omitempty"`
}

// retrieveIntent answers GET /v1/payment_intents/{id}.
func (s *Server) retrieveIntent(p params, id string) (any, *apiError) {
	if apiErr := p.only("client_secret"); apiErr != nil {
		return nil, apiErr
	}
	pi, ok := s.intents[id]
	if !ok {
		return nil, noSuch(http.StatusNotFound, "payment_intent", "intent", id)
	}
	return pi.Intent, nil
}

// retrieveRefund answers GET /v1/refunds/{id}.
func (s *Server) retrieveRefund(p params, id string) (any, *apiError) {
	if apiErr := p.only(); apiErr != nil {
		return nil, apiErr
	}
	re, ok := s.refunds[id]
	if !ok {
		return nil, noSuch(http.StatusNotFound, "refund", "id", id)
	}
	return re.refund, nil
}

// listIntents answers GET /v1/payment_intents.
func (s *Server) listIntents(p params, _ string) (any, *apiError) {
	if apiErr := p.only("limit", "starting_after", "ending_before", "created"); apiErr != nil {
		return nil, apiErr
	}
	var intents []intent
	for _, id := range slices.Backward(s.intentOrder) {
		pi := s.intents[id].Intent
		within, apiErr := createdWithin(p, pi.Created)
		if apiErr != nil {
			return nil, apiErr
		}
		if within {
			intents = append(intents, pi)
		}
	}
	return page(p, "/v1/payment_intents", intents, func(pi intent) string { return pi.ID })
}

// listRefunds answers GET /v1/refunds.
func (s *Server) listRefunds(p params, _ string) (any, *apiError) {
	apiErr := p.only("limit", "starting_after", "ending_before", "created", "payment_intent", "charge")
	if apiErr != nil {
		return nil, apiErr
	}
	var refunds []refund
	for _, id := range slices.Backward(s.refundOrder) {
		re := s.refunds[id].refund
		within, apiErr := createdWithin(p, re.Created)
		if apiErr != nil {
			return nil, apiErr
		}
		if within && (!p.Has("payment_intent") || p.Get("payment_intent") == re.PaymentIntent) &&
			(!p.Has("charge") || p.Get("charge") == re.Charge) {
			refunds = append(refunds, re)
		}
	}
	return page(p, "/v1/refunds", refunds, func(re refund) string { return re.ID })
}

// listDisputes answers GET /v1/disputes.
func (s *Server) listDisputes(p params, _ string) (any, *apiError) {
	apiErr := p.only("limit", "starting_after", "ending_before", "created", "payment_intent", "charge")
	if apiErr != nil {
		return nil, apiErr
	}
	var disputes []dispute
	for _, id := range slices.Backward(s.disputeOrder) {
		d := *s.disputes[id]
		within, apiErr := createdWithin(p, d.Created)
		if apiErr != nil {
			return nil, apiErr
		}
		if within && (!p.Has("payment_intent") || p.Get("payment_intent") == d.PaymentIntent) &&
			(!p.Has("charge") || p.Get("charge") == d.Charge) {
			disputes = append(disputes, d)
		}
	}
	return page(p, "/v1/disputes", disputes, func(d dispute) string { return d.ID })
}

// createdWithin reports whether a time satisfies the parameters created and created[gt|gte|lt|lte].
func createdWithin(p params, created int64) (bool, *apiError) {
	for name, holds := range map[string]func(int64) bool{
		"created":      func(n int64) bool { return created == n },
		"created[gt]":  func(n int64) bool { return created > n },
		"created[gte]": func(n int64) bool { return created >= n },
		"created[lt]":  func(n int64) bool { return created < n },
		"created[lte]": func(n int64) bool { return created <= n },
	} {
		n, given, apiErr := p.integer(name)
		if apiErr != nil {
			return false, apiErr
		}
		if given && !holds(n) {
			return false, nil
		}
	}
	return true, nil
}

// page returns one page of everything, which is sorted newest first.
func page[T any](p params, url string, everything []T, id func(T) string) (any, *apiError) {
	limit, apiErr := pageSize(p)
	if apiErr != nil {
		return nil, apiErr
	}
	at := func(name string) (int, *apiError) {
		i := slices.IndexFunc(everything, func(item T) bool { return id(item) == p.Get(name) })
		if i < 0 {
			return 0, invalidRequest("resource_missing", name, "No such object: '%s'", p.Get(name))
		}
		return i, nil
	}
	var from, to int
	var hasMore bool
	switch {
	case p.Has("ending_before"):
		i, apiErr := at("ending_before")
		if apiErr != nil {
			return nil, apiErr
		}
		to = i
		from = max(0, to-limit)
		hasMore = from > 0
	case p.Has("starting_after"):
		i, apiErr := at("starting_after")
		if apiErr != nil {
			return nil, apiErr
		}
		from = i + 1
		fallthrough
	default:
		to = min(len(everything), from+limit)
		hasMore = to < len(everything)
	}
	return list{Object: "list", URL: url, HasMore: hasMore, Data: append([]T{}, everything[from:to]...)}, nil
}

// pageSize reads the parameter limit, which is 1 to 100 and 10 by default.
func pageSize(p params) (int, *apiError) {
	limit, given, apiErr := p.integer("limit")
	switch {
	case apiErr != nil:
		return 0, apiErr
	case !given:
		return 10, nil
	case limit < 1 || limit > 100:
		return 0, invalidRequest("parameter_invalid_integer", "limit", "limit must be between 1 and 100")
	}
	return int(limit), nil
}

// quoted matches a string in single or double quotes, in which a backslash escapes a quote, and captures its content.
const quoted = `(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")`

// clause is one term of Stripe's search language: metadata['k']:'v' or status:'v'.
var clause = regexp.MustCompile(`^(?:metadata\[` + quoted + `\]|(status)):` + quoted)

// unescape replaces the escape sequences of a quoted string.
var unescape = strings.NewReplacer(`\\`, `\`, `\'`, `'`, `\"`, `"`)

// searchIntents answers GET /v1/payment_intents/search.
func (s *Server) searchIntents(p params, _ string) (any, *apiError) {
	if apiErr := p.only("query", "limit", "page"); apiErr != nil {
		return nil, apiErr
	}
	matches, apiErr := parseQuery(p.Get("query"))
	if apiErr != nil {
		return nil, apiErr
	}
	limit, apiErr := pageSize(p)
	if apiErr != nil {
		return nil, apiErr
	}
	visible := s.now().Add(-s.faults.searchLag()).UnixMilli()
	found := []intent{}
	for _, id := range slices.Backward(s.intentOrder) {
		if pi := s.intents[id]; pi.CreatedMs <= visible && matches(pi.Intent) {
			found = append(found, pi.Intent)
		}
	}
	from := 0
	if p.Has("page") {
		n, err := strconv.Atoi(p.Get("page"))
		if err != nil || n < 0 || n > len(found) {
			return nil, invalidRequest("", "page", "Invalid page: %s", p.Get("page"))
		}
		from = n
	}
	to := min(len(found), from+limit)
	result := list{
		Object: "search_result", URL: "/v1/payment_intents/search", HasMore: to < len(found), Data: found[from:to],
	}
	if result.HasMore {
		next := strconv.Itoa(to)
		result.NextPage = &next
	}
	return result, nil
}

// parseQuery returns the predicate of a search query: clauses joined by AND.
func parseQuery(query string) (func(intent) bool, *apiError) {
	rest := strings.TrimSpace(query)
	if rest == "" {
		return nil, invalidRequest("parameter_missing", "query", "Missing required param: query.")
	}
	var terms []func(intent) bool
	for {
		m := clause.FindStringSubmatch(rest)
		if m == nil {
			return nil, invalidRequest("", "query", "We were unable to parse your search query at %q; "+
				"this simulator has metadata['key']:'value' and status:'value' joined by AND.", rest)
		}
		value := unescape.Replace(m[4] + m[5])
		if m[3] == "status" {
			terms = append(terms, func(pi intent) bool { return pi.Status == value })
		} else {
			key := unescape.Replace(m[1] + m[2])
			terms = append(terms, func(pi intent) bool { return pi.Metadata[key] == value })
		}
		rest = strings.TrimSpace(rest[len(m[0]):])
		if rest == "" {
			break
		}
		joined, ok := strings.CutPrefix(rest, "AND ")
		if !ok {
			return nil, invalidRequest("", "query",
				"We were unable to parse your search query at %q: AND expected.", rest)
		}
		rest = strings.TrimSpace(joined)
	}
	return func(pi intent) bool {
		for _, term := range terms {
			if !term(pi) {
				return false
			}
		}
		return true
	}, nil
}
