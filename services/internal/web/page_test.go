package web_test

import (
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/paging"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

func TestParsePageWithoutParametersReturnsTheFirstPage(t *testing.T) {
	t.Parallel()
	p, err := web.ParsePage(httptest.NewRequest("GET", "/", nil))
	require.NoError(t, err)
	require.Equal(t, paging.Page{Limit: 20}, p)
}

func TestParsePageReadsLimitAndCursor(t *testing.T) {
	t.Parallel()
	at, id := time.Date(2024, 1, 15, 10, 30, 0, 123456000, time.UTC), uuid.New()
	query := url.Values{"limit": {"100"}, "cursor": {paging.Cursor(at, id)}}
	p, err := web.ParsePage(httptest.NewRequest("GET", "/?"+query.Encode(), nil))
	require.NoError(t, err)
	require.Equal(t, paging.Page{Limit: 100, After: &at, AfterID: id}, p)
}

func TestParsePageNamesTheInvalidParameter(t *testing.T) {
	t.Parallel()
	for field, values := range map[string][]string{
		"limit":  {"", "0", "-1", "101", "1.5", "99999999999999999999", "ten"},
		"cursor": {"", "not a cursor"},
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
