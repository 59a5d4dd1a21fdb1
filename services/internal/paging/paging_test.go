package paging_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/internal/paging"
)

type entry struct {
	at time.Time
	id uuid.UUID
}

func (e entry) key() (time.Time, uuid.UUID) { return e.at, e.id }

func itself(e entry) entry { return e }

var at = time.Date(2024, 1, 15, 10, 30, 0, 123456000, time.UTC)

func TestCutReturnsNoCursorForTheLastPage(t *testing.T) {
	t.Parallel()
	found := []entry{{at, uuid.New()}, {at, uuid.New()}, {at, uuid.New()}}
	entries, next := paging.Cut(paging.Page{Limit: 3}, found, entry.key, itself)
	require.Equal(t, found, entries)
	require.Empty(t, next)
}

func TestCutReturnsTheCursorOfTheNextPage(t *testing.T) {
	t.Parallel()
	found := []entry{{at, uuid.New()}, {at, uuid.New()}, {at, uuid.New()}}
	entries, next := paging.Cut(paging.Page{Limit: 2}, found, entry.key, itself)
	require.Equal(t, found[:2], entries)
	gotAt, gotID, ok := paging.ParseCursor(next)
	require.True(t, ok)
	require.Equal(t, found[1].at, gotAt)
	require.Equal(t, found[1].id, gotID)
}

func TestCutEndsALargePageEarly(t *testing.T) {
	t.Parallel()
	found := make([]entry, 20)
	for i := range found {
		found[i] = entry{at.Add(time.Duration(i) * time.Hour), uuid.New()}
	}
	text := func(bytes int) func(entry) string {
		return func(entry) string { return strings.Repeat("x", bytes-len(`""`)) }
	}
	for _, tt := range []struct {
		name           string
		bytes, entries int
	}{
		{"Small", 100, 10},
		{"Full", paging.MaxBytes / 10, 10},
		{"Large", paging.MaxBytes / 4, 4},
		{"LargerThanAPage", paging.MaxBytes + 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			entries, next := paging.Cut(paging.Page{Limit: 10}, found, entry.key, text(tt.bytes))
			require.Len(t, entries, tt.entries)
			require.Equal(t, paging.Cursor(found[tt.entries-1].key()), next)
		})
	}
	entries, next := paging.Cut(paging.Page{Limit: 10}, found[:4], entry.key, text(paging.MaxBytes/4))
	require.Len(t, entries, 4)
	require.Empty(t, next, "the last page")
	entries, _ = paging.Cut(paging.Page{Limit: 10}, nil, entry.key, text(100))
	require.NotNil(t, entries, "an empty list, not null, in JSON")
}

// invalidCursors are texts that Cursor never returns for a time in PostgreSQL's range.
var invalidCursors = map[string]string{
	"Empty":          "",
	"TooShort":       "x",
	"NotBase64":      "%",
	"OneCharMissing": strings.Repeat("A", 31),
	"TooLong":        strings.Repeat("A", 10_000),
	"YearOutOfRange": paging.Cursor(time.UnixMicro(math.MaxInt64), uuid.Max),
}

func TestParseCursorRejects(t *testing.T) {
	t.Parallel()
	for name, text := range invalidCursors {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, ok := paging.ParseCursor(text)
			require.False(t, ok)
		})
	}
}

// FuzzCursor checks that ParseCursor accepts only what Cursor can encode: whatever it accepts survives a round trip.
func FuzzCursor(f *testing.F) {
	for _, text := range invalidCursors {
		f.Add(text)
	}
	first, last := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
	for _, valid := range []time.Time{at, time.Unix(0, 0), first, last} {
		f.Add(paging.Cursor(valid, uuid.Nil))
		f.Add(paging.Cursor(valid, uuid.Max))
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, id, ok := paging.ParseCursor(text)
		if !ok {
			require.Zero(t, at)
			require.Zero(t, id)
			return
		}
		require.True(t, at.Year() >= 1 && at.Year() <= 9999, at)
		againAt, againID, ok := paging.ParseCursor(paging.Cursor(at, id))
		require.True(t, ok)
		require.Equal(t, at, againAt)
		require.Equal(t, id, againID)
	})
}
