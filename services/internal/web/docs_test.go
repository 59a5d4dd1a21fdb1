package web_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/openapi"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// Callers of a sidecar see the prefix before the path, the service does not.
func TestDocsPageLoadsOnlyItsOwnFiles(t *testing.T) {
	t.Parallel()
	router := web.NewRouter()
	web.Docs(router, "auth-service")
	for _, prefix := range []string{"", "/v1.0/invoke/auth-service/method"} {
		t.Run("Under"+strings.ReplaceAll(prefix, "/", "-"), func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.StripPrefix(prefix, router))
			t.Cleanup(server.Close)
			get := func(address string) (*http.Response, string) {
				res, err := server.Client().Get(address)
				require.NoError(t, err)
				defer res.Body.Close()
				body, err := io.ReadAll(res.Body)
				require.NoError(t, err)
				require.Equal(t, http.StatusOK, res.StatusCode, address)
				return res, string(body)
			}

			page, html := get(server.URL + prefix + "/docs")
			require.Contains(t, page.Header.Get("Content-Type"), "text/html")
			policy := page.Header.Get("Content-Security-Policy")
			require.Contains(t, policy, "default-src 'self'")
			require.NotRegexp(t, `https?:|\*`, policy, "the policy permits no other origin")

			base, err := url.Parse(server.URL + prefix + "/docs")
			require.NoError(t, err)
			loads := regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(html, -1)
			require.NotEmpty(t, loads)
			for _, load := range loads {
				address, err := base.Parse(load[1])
				require.NoError(t, err)
				require.Equal(t, base.Host, address.Host, "%s is loaded from another origin", load[1])
				_, content := get(address.String())
				require.NotEmpty(t, content)
				if strings.HasSuffix(load[1], ".css") {
					require.NotRegexp(t, `@import|url\(\s*["']?(?:https?:)?//`, content)
				}
			}

			// The page loads the document from this URL, relative to its own.
			require.Contains(t, html, `"swaggerJsonUrl":"./openapi.yaml"`)
			_, document := get(server.URL + prefix + "/docs/openapi.yaml")
			want, err := openapi.Document("auth-service")
			require.NoError(t, err)
			require.Equal(t, string(want), document)
		})
	}
}

func TestDocsPanicsWithoutADocument(t *testing.T) {
	t.Parallel()
	require.Panics(t, func() { web.Docs(web.NewRouter(), "no-service") })
}
