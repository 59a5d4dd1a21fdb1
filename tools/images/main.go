// Command images builds this system's container images without a container engine: for each program an OCI archive of static
// binaries for amd64 and arm64, from nothing but the binary, root certificates and a user who is not root. The same sources
// and the same Go give the same bytes.
//
//	go run -C tools/images . [-o DIR] [-platforms linux/amd64,linux/arm64] [NAME...]
//
// Each image lists what it is made of as CycloneDX in /sbom.cdx.json; a copy lies beside the archive. An archive of the same
// packages is not made again.
//
// With -daprd comes the sidecar, since the released one has a defect (tools/daprd/patch), and with -controlplane and the flags
// that go with it, in DIR/cluster, all else that a cluster needs that can fetch nothing.
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

// root is the checkout, seen from here.
const root = "../.."

// maxSize is what an image may weigh on its way to a node.
const maxSize = 30 << 20

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	out := flag.String("o", filepath.Join(root, ".local", "images"), "where the archives go")
	wanted := flag.String("platforms", "linux/amd64,linux/arm64", "what they are for")
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
		return fmt.Errorf("make a place for the archives: %w", err)
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
