package web

import (
	"net/http"
	"strconv"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/paging"
)

// ParsePage reads the query parameters limit (1 to [paging.MaxLimit]; [paging.DefaultLimit] if absent) and cursor. It
// returns a *problem.Error that names the invalid parameter.
func ParsePage(r *http.Request) (paging.Page, error) {
	p := paging.Page{Limit: paging.DefaultLimit}
	query := r.URL.Query()
	if query.Has("limit") {
		n, err := strconv.Atoi(query.Get("limit"))
		if err != nil || n < 1 || n > paging.MaxLimit {
			return paging.Page{}, problem.Field("limit", "limit must be a number from 1 to %d", paging.MaxLimit)
		}
		p.Limit = n
	}
	if query.Has("cursor") {
		at, id, ok := paging.ParseCursor(query.Get("cursor"))
		if !ok {
			return paging.Page{}, problem.Field("cursor", "cursor must be the nextCursor of the previous page")
		}
		p.After, p.AfterID = &at, id
	}
	return p, nil
}
