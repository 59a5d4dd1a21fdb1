// Command images builds the container images of this system without a container engine. For each program it writes an
// OCI archive with images for amd64 and arm64. An image contains only the static binary, root certificates and a user
// that is not root. Builds are reproducible: the same sources and the same version of Go result in the same bytes.
//
//	go run -C tools/images . [-o DIR] [-platforms linux/amd64,linux/arm64] [NAME...]
//
// Each image contains its bill of materials, in the format CycloneDX, as /sbom.cdx.json. A copy is beside the archive.
// An archive is written again only when its packages have changed.
//
// With -daprd it also builds the image of the sidecar, because the released one has a defect (see tools/daprd/patch).
// With -controlplane, -node and -packages it also builds, in DIR/cluster, all other images of a cluster without a
// registry.
package main

import (
	"compress/gzip"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// root is the checkout, relative to this module.
const root = "../.."

// maxSize is the largest compressed size of a program's image, in bytes.
const maxSize = 30 << 20

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	out := flag.String("o", filepath.Join(root, ".local", "images"), "`directory` of the archives")
	wanted := flag.String("platforms", "linux/amd64,linux/arm64", "comma-separated `platforms` of the images")
	var others cluster
	others.flags()
	flag.Parse()
	var platforms []v1.Platform
	for _, name := range strings.Split(*wanted, ",") {
		p, err := v1.ParsePlatform(name)
		if err != nil {
			return fmt.Errorf("-platforms: %w", err)
		}
		platforms = append(platforms, *p)
	}
	for _, name := range flag.Args() {
		if !slices.ContainsFunc(programs, func(p program) bool { return p.name == name }) {
			return fmt.Errorf("there is no program %q", name)
		}
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return fmt.Errorf("create the directory of the archives: %w", err)
	}
	for _, p := range programs {
		if flag.NArg() > 0 && !slices.Contains(flag.Args(), p.name) {
			continue
		}
		made, err := p.archive(*out, platforms)
		if err != nil {
			return fmt.Errorf("image of %s: %w", p.name, err)
		}
		for _, b := range made {
			if b.Size > maxSize {
				return fmt.Errorf("the image of %s for %s is larger than %d MB", p.name, b.Platform, maxSize>>20)
			}
		}
	}
	if others.daprd != "" {
		if err := others.daprArchive(*out, "daprd", others.daprd, "daprd", nil, gzip.BestSpeed); err != nil {
			return fmt.Errorf("image of daprd: %w", err)
		}
	}
	if others.controlPlane != "" {
		if err := others.archives(filepath.Join(*out, "cluster")); err != nil {
			return fmt.Errorf("images of a cluster: %w", err)
		}
	}
	return nil
}
