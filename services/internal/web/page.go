package web

import (
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// How many entries a page of a list has.
const (
	defaultLimit = 20
	maxLimit     = 100
)

// Page is the part of a list that a request asks for. Lists are in the order of a time, then an id,
// whichever way. A store asks for one entry more than Limit, for CutPage to know whether there is a
// next page:
//
//	WHERE (created_at, id) < (coalesce($1::timestamptz, 'infinity'), $2) ORDER BY created_at DESC, id DESC LIMIT $3 + 1
type Page struct {
	Limit   int
	After   *time.Time // of the last entry of the page before; nil for the first page
	AfterID uuid.UUID
}

// ParsePage reads ?limit= (1 to 100, otherwise 20) and ?cursor=. It returns a *problem.Error that names
// the parameter.
func ParsePage(r *http.Request) (Page, error) {
	p := Page{Limit: defaultLimit}
	query := r.URL.Query()
	if query.Has("limit") {
		n, err := strconv.Atoi(query.Get("limit"))
		if err != nil || n < 1 || n > maxLimit {
			return Page{}, problem.Field("limit", "limit must be a number from 1 to %d", maxLimit)
		}
		p.Limit = n
	}
	if query.Has("cursor") {
		at, id, ok := parseCursor(query.Get("cursor"))
		if !ok {
			return Page{}, problem.Field("cursor", "cursor must be the nextCursor of the page before")
		}
		p.After, p.AfterID = &at, id
	}
	return p, nil
}

// CutPage makes p of the entries that a store found for it, which may be one too many. It gives the cursor
// of the next page with them, empty on the last.
func CutPage[T any](p Page, found []T, key func(T) (time.Time, uuid.UUID)) (entries []T, next string) {
	if len(found) <= p.Limit {
		return found, ""
	}
	at, id := key(found[p.Limit-1])
	return found[:p.Limit], cursor(at, id)
}

// A cursor is the microseconds of the time, which is all that PostgreSQL keeps, and the id.
func cursor(at time.Time, id uuid.UUID) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(at.UnixMicro())) //nolint:gosec // two's complement there and back
	return base64.RawURLEncoding.EncodeToString(append(b, id[:]...))
}

func parseCursor(text string) (time.Time, uuid.UUID, bool) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) != 8+len(uuid.UUID{}) {
		return time.Time{}, uuid.Nil, false
	}
	at := time.UnixMicro(int64(binary.BigEndian.Uint64(b))).UTC() //nolint:gosec // two's complement there and back
	// Outside of these years it is none of ours, and PostgreSQL may refuse it.
	return at, uuid.UUID(b[8:]), at.Year() >= 1 && at.Year() <= 9999
}
