package discovery_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/stack"
)

// address matches what a service would need to call another service without a sidecar: a host name of this machine, or
// a port of dapr.yaml.
var address = regexp.MustCompile(`localhost|127\.0\.0\.1|:(80[89][0-9]|3[567][0-9]{2})\b`)

// A service knows only its own sidecar, its own listen address, and the public URL of the system for links.
func TestServicesKnowOnlyAppIDs(t *testing.T) {
	t.Parallel()
	root, err := stack.FindRoot()
	require.NoError(t, err)
	found := map[string][]string{}
	services := filepath.Join(root, "services")
	require.NoError(t, filepath.WalkDir(services, func(path string, d fs.DirEntry, err error) error {
		// Packages whose names end with "test" have stand-ins for tests.
		if err != nil || d.IsDir() && (d.Name() == "contracts" || d.Name() == "tests" ||
			strings.HasSuffix(d.Name(), "test")) {
			if err == nil {
				err = fs.SkipDir
			}
			return err
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		ast.Inspect(file, func(n ast.Node) bool {
			if literal, is := n.(*ast.BasicLit); is && literal.Kind == token.STRING && address.MatchString(literal.Value) {
				found[name] = append(found[name], literal.Value)
			}
			return true
		})
		return err
	}))
	public := []string{"`envconfig:\"PUBLIC_URL\" default:\"http://127.0.0.1:8082\"`"}
	require.Equal(t, map[string][]string{
		"services/internal/sidecar/sidecar.go":            {`"127.0.0.1:"`, `"http://127.0.0.1:"`},
		"services/internal/app/main.go":                   {"`envconfig:\"LISTEN_HOST\" default:\"127.0.0.1\"`"},
		"services/internal/app/profiles.go":               {`"127.0.0.1"`},
		"services/ticket-service/main.go":                 public,
		"services/notification-service/main.go":           public,
		"services/email-service/internal/email/sender.go": {`"localhost"`}, // whether the mail server is on this machine
	}, found)
}
