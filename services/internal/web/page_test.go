package web_test

import (
	"math"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

type entry struct {
	at time.Time
	id uuid.UUID
}

func (e entry) key() (time.Time, uuid.UUID) { return e.at, e.id }

func TestPage(t *testing.T) {
	t.Parallel()
	p, err := web.ParsePage(httptest.NewRequest("GET", "/", nil))
	require.NoError(t, err)
	require.Equal(t, web.Page{Limit: 20}, p)

	at := time.Date(2024, 1, 15, 10, 30, 0, 123456000, time.UTC)
	found := []entry{{at, uuid.New()}, {at, uuid.New()}, {at, uuid.New()}}
	entries, next := web.CutPage(web.Page{Limit: 3}, found, entry.key)
	require.Equal(t, found, entries)
	require.Empty(t, next, "the last page")

	entries, next = web.CutPage(web.Page{Limit: 2}, found, entry.key)
	require.Equal(t, found[:2], entries)
	p, err = web.ParsePage(httptest.NewRequest("GET", "/?limit=100&cursor="+url.QueryEscape(next), nil))
	require.NoError(t, err)
	require.Equal(t, web.Page{Limit: 100, After: &at, AfterID: found[1].id}, p)
}

func TestPageThatIsNone(t *testing.T) {
	t.Parallel()
	_, far := web.CutPage(web.Page{Limit: 1}, make([]entry, 2), func(entry) (time.Time, uuid.UUID) {
		return time.UnixMicro(math.MaxInt64), uuid.New()
	})
	for field, values := range map[string][]string{
		"limit":  {"", "0", "-1", "101", "1.5", "99999999999999999999", "ten"},
		"cursor": {"", "x", "%", strings.Repeat("A", 31), strings.Repeat("A", 10_000), far},
	} {
		for _, value := range values {
			_, err := web.ParsePage(httptest.NewRequest("GET", "/?"+url.Values{field: {value}}.Encode(), nil))
			var p *problem.Error
			require.ErrorAs(t, err, &p, "%s=%s", field, value)
			require.Equal(t, problem.Invalid, p.Kind)
			require.Equal(t, field, p.Field)
		}
	}
}
