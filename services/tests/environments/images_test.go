package environments_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// untar returns the contents and headers of the files in an archive, by name.
func untar(t *testing.T, r io.Reader) (files map[string][]byte, headers map[string]*tar.Header) {
	t.Helper()
	files, headers = map[string][]byte{}, map[string]*tar.Header{}
	reader := tar.NewReader(r)
	for {
		header, err := reader.Next()
		if err == io.EOF { //nolint:errorlint // Next documents that it returns io.EOF itself
			return files, headers
		}
		require.NoError(t, err)
		content, err := io.ReadAll(reader)
		require.NoError(t, err)
		files[header.Name], headers[header.Name] = content, header
	}
}

// Two builds of an image are identical, and the image contains only the files that a program needs.
func TestImageIsReproducibleAndMinimal(t *testing.T) {
	t.Parallel()
	const program = "stripe-simulator" // the smallest
	build := func() []byte {
		dir := t.TempDir()
		run(t, nil, "-C", "tools/images", ".", "-o", dir, "-platforms", "linux/"+runtime.GOARCH, program)
		archive, err := os.ReadFile(filepath.Join(dir, program+".tar"))
		require.NoError(t, err)
		return archive
	}
	archive := build()
	require.True(t, bytes.Equal(archive, build()), "two builds differ")

	blobs, _ := untar(t, bytes.NewReader(archive))
	type descriptor struct {
		Digest      string
		Annotations map[string]string
		Platform    struct{ Architecture string }
	}
	blob := func(d descriptor, into any) []byte {
		content := blobs["blobs/"+strings.ReplaceAll(d.Digest, ":", "/")]
		require.NotEmpty(t, content, d.Digest)
		if into != nil {
			require.NoError(t, json.Unmarshal(content, into))
		}
		return content
	}
	var index struct{ Manifests []descriptor }
	require.NoError(t, json.Unmarshal(blobs["index.json"], &index))
	require.Len(t, index.Manifests, 1)
	images := at[[]any](only(t, render(t, local), "Deployment")[program], "spec", "template", "spec", "containers")
	name := index.Manifests[0].Annotations["io.containerd.image.name"]
	require.Equal(t, at[string](images[0].(map[string]any), "image"), name, "the image's name is not the overlay's")
	blob(index.Manifests[0], &index)
	require.Len(t, index.Manifests, 1)
	require.Equal(t, runtime.GOARCH, index.Manifests[0].Platform.Architecture)

	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	blob(index.Manifests[0], &manifest)
	var config struct {
		Config struct {
			User       string
			Entrypoint []string
		}
	}
	blob(manifest.Config, &config)
	require.Equal(t, "65532:65532", config.Config.User)
	require.Equal(t, []string{"/" + program}, config.Config.Entrypoint)
	var names []string
	for _, l := range manifest.Layers {
		unzipped, err := gzip.NewReader(bytes.NewReader(blob(l, nil)))
		require.NoError(t, err)
		files, headers := untar(t, unzipped)
		for name, content := range files {
			names = append(names, name)
			switch name {
			case program:
				require.EqualValues(t, 0o755, headers[name].Mode)
			case "sbom.cdx.json":
				require.Contains(t, string(content), "pkg:golang/stdlib@"+strings.TrimPrefix(runtime.Version(), "go"))
			case "etc/ssl/certs/ca-certificates.crt":
				require.Greater(t, bytes.Count(content, []byte("BEGIN CERTIFICATE")), 100)
			}
		}
	}
	slices.Sort(names)
	require.Equal(t, []string{
		"etc/group", "etc/passwd", "etc/ssl/certs/ca-certificates.crt", "sbom.cdx.json", program,
	}, names)
}
