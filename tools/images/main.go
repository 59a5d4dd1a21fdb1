// Command images builds this system's container images without a container engine: for each program an OCI archive of static
// binaries for amd64 and arm64, from nothing but the binary, root certificates and a user who is not root. The same sources
// and the same Go give the same bytes.
//
//	go run -C tools/images . [-o DIR] [-platforms linux/amd64,linux/arm64] [NAME...]
//
// Each image lists what it is made of as CycloneDX in /sbom.cdx.json; a copy lies beside the archive.
package main

import (
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// root is the checkout, seen from here.
const root = "../.."

// maxSize is what an image may weigh on its way to a node.
const maxSize = 30 << 20

// program is what an image runs, and its package.
type program struct{ name, path string }

var programs = []program{
	{"auth-service", "./services/auth-service"},
	{"event-service", "./services/event-service"},
	{"ticket-service", "./services/ticket-service"},
	{"payment-service", "./services/payment-service"},
	{"notification-service", "./services/notification-service"},
	{"analytics-service", "./services/analytics-service"},
	{"payment-gateway", "./services/payment-gateway"},
	{"email-service", "./services/email-service"},
	{"stripe-simulator", "./deploy/local/stripe-simulator"},
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	out := flag.String("o", filepath.Join(root, ".local", "images"), "where the archives go")
	wanted := flag.String("platforms", "linux/amd64,linux/arm64", "what they are for")
	flag.Parse()
	var platforms []*v1.Platform
	for _, name := range strings.Split(*wanted, ",") {
		p, err := v1.ParsePlatform(name)
		if err != nil {
			return fmt.Errorf("-platforms: %w", err)
		}
		platforms = append(platforms, p)
	}
	for _, name := range flag.Args() {
		if !slices.ContainsFunc(programs, func(p program) bool { return p.name == name }) {
			return fmt.Errorf("there is no program %q", name)
		}
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return fmt.Errorf("make a place for the archives: %w", err)
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "IMAGE\tPLATFORM\tMB\tDIGEST")
	var wrong []error
	for _, p := range programs {
		if flag.NArg() > 0 && !slices.Contains(flag.Args(), p.name) {
			continue
		}
		built, err := p.archive(*out, platforms)
		if err != nil {
			return fmt.Errorf("image of %s: %w", p.name, err)
		}
		for _, b := range built {
			fmt.Fprintf(table, "%s\t%s\t%.1f\t%s\n", p.name, b.platform, float64(b.size)/(1<<20), b.digest)
			if b.size > maxSize {
				wrong = append(wrong, fmt.Errorf("%s for %s is larger than %d MB", p.name, b.platform, maxSize>>20))
			}
		}
	}
	return errors.Join(append(wrong, table.Flush())...)
}

// build compiles the program for a platform into dir.
func (p program) build(dir string, platform *v1.Platform) (binary string, err error) {
	binary, err = filepath.Abs(filepath.Join(dir, p.name+"-"+platform.Architecture))
	if err != nil {
		return "", fmt.Errorf("where the binary goes: %w", err)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", binary, p.path)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOAMD64=v1", "GOARM64=v8.0",
		"GOOS="+platform.OS, "GOARCH="+platform.Architecture)
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build for %s: %w\n%s", platform, err, text)
	}
	return binary, nil
}

// certificates are Mozilla's roots, as Go's own security team publishes them.
func certificates() []byte {
	var all []byte
	for r := range bundle.Roots() {
		if r.Constraint == nil { // what is trusted for a part of the names only, a file cannot say
			all = append(all, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate})...)
		}
	}
	return all
}
