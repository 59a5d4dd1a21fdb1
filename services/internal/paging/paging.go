// Package paging cuts lists into pages by cursor. A list is ordered by a time and then by an id.
package paging

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// DefaultLimit is the number of entries in a page if the request sets no limit. MaxLimit is the largest limit.
const (
	DefaultLimit = 20
	MaxLimit     = 100
)

// Page is the part of a list that a request selects, in ascending or descending order. A store queries one entry more
// than Limit, so that [Cut] can see whether there is a next page:
//
//	WHERE (created_at, id) < (coalesce($1::timestamptz, 'infinity'), $2) ORDER BY created_at DESC, id DESC LIMIT $3 + 1
type Page struct {
	Limit   int
	After   *time.Time // time of the previous page's last entry; nil for the first page
	AfterID uuid.UUID
}

// MaxBytes is the maximum size of a page's entries in bytes, in JSON. A page with an entry that is larger has only
// that.
const MaxBytes = 1 << 20

// Cut returns the page's entries as encode returns them, and the cursor of the next page, which is empty on the last
// page. It leaves out what a store found beyond p.Limit, and what exceeds MaxBytes.
func Cut[T, J any](
	p Page, found []T, key func(T) (time.Time, uuid.UUID), encode func(T) J,
) (entries []J, next string) {
	entries = make([]J, 0, min(len(found), p.Limit))
	size := 0
	for i, f := range found {
		entry := encode(f)
		if body, err := json.Marshal(entry); err == nil { // an error will be that of the response
			size += len(body)
		}
		if i == p.Limit || i > 0 && size > MaxBytes {
			return entries, Cursor(key(found[i-1]))
		}
		entries = append(entries, entry)
	}
	return entries, ""
}

// Cursor returns the cursor of the page that follows the entry with this time and id. It keeps microseconds, the
// precision of PostgreSQL.
func Cursor(at time.Time, id uuid.UUID) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(at.UnixMicro()))
	return base64.RawURLEncoding.EncodeToString(append(b, id[:]...))
}

// ParseCursor returns the time and the id that a cursor holds. It reports false for an invalid cursor.
func ParseCursor(text string) (at time.Time, id uuid.UUID, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) != 8+len(uuid.UUID{}) {
		return time.Time{}, uuid.Nil, false
	}
	at = time.UnixMicro(int64(binary.BigEndian.Uint64(b))).UTC() //nolint:gosec // two's complement there and back
	// Cursor never encodes a year outside this range, and PostgreSQL may refuse it.
	if at.Year() < 1 || at.Year() > 9999 {
		return time.Time{}, uuid.Nil, false
	}
	return at, uuid.UUID(b[8:]), true
}
