// Package environments_test compares the three environments of the system: one machine (dapr.yaml), your own cluster
// (overlays/local) and AWS (overlays/aws). Every difference between them must be in a list of intended differences.
package environments_test

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

const root = "../../.."

// object is a decoded manifest.
type object map[string]any

func (o object) kind() string { return o["kind"].(string) }
func (o object) name() string { return at[string](o, "metadata", "name") }

// at returns the value at a path of keys, or the zero value of T if there is none of that type.
func at[T any](o object, keys ...string) T {
	var here any = map[string]any(o)
	for _, k := range keys {
		next, _ := here.(map[string]any)
		here = next[k]
	}
	found, _ := here.(T)
	return found
}

// parse decodes the documents of a YAML stream, without empty ones.
func parse(text []byte) ([]object, error) {
	var all []object
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var o map[string]any
		switch err := decoder.Decode(&o); {
		case err != nil && err.Error() == "EOF":
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("read a manifest: %w", err)
		}
		if o != nil {
			all = append(all, o)
		}
	}
}

// run runs a pinned tool with `go run` and returns its standard output.
func run(t *testing.T, stdin []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"run"}, args...)...)
	cmd.Dir, cmd.Stdin = root, bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "go run %s: %s", strings.Join(args, " "), &stderr)
	return out
}

// Overlays of deploy/kubernetes.
const (
	local = "overlays/local"
	aws   = "overlays/aws"
)

var rendered sync.Map // overlay to func() []object

// render returns the manifests of an overlay. Each overlay is rendered once.
func render(t *testing.T, overlay string) []object {
	t.Helper()
	once, _ := rendered.LoadOrStore(overlay, sync.OnceValue(func() []object {
		all, err := parse(run(t, nil, "-C", "tools/kubernetes", ".", "render", overlay))
		require.NoError(t, err)
		return all
	}))
	return once.(func() []object)()
}

// localStack returns the resources that the sidecars of dapr.yaml load.
func localStack(t *testing.T) []object {
	t.Helper()
	var all []object
	for _, pattern := range []string{"components/local/*.yaml", "resiliency/*.yaml", "deploy/local/config/*.yaml"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		require.NotEmpty(t, files, pattern)
		for _, file := range files {
			all = append(all, readFile(t, file)...)
		}
	}
	return all
}

// only returns the objects of a kind by name. It requires that there is at least one and that names are unique.
func only(t *testing.T, all []object, kind string) map[string]object {
	t.Helper()
	found := map[string]object{}
	for _, o := range all {
		if o.kind() == kind {
			require.NotContains(t, found, o.name(), "%s twice", kind)
			found[o.name()] = o
		}
	}
	require.NotEmpty(t, found, kind)
	return found
}
