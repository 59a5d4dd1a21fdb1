package main

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// user is the user and the group of a program. They do not exist on a node.
const user = "65532:65532"

// program is a program of this system: the name of its image and the path of its package.
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

// archive writes the program's images to one OCI archive, and its bill of materials beside it.
func (p program) archive(out string, platforms []v1.Platform) ([]built, error) {
	archive := filepath.Join(out, p.name+".tar")
	inputs := sha256.New()
	for _, platform := range platforms {
		// The build ids of all packages in the program change when one of them has to be compiled again.
		packages, err := p.run(platform, "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.BuildID}}", p.path)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(inputs, "%s\n%s\n", platform, packages)
	}
	return ifChanged(archive, inputs, func() ([]built, error) {
		scratch, err := os.MkdirTemp("", "eventbooking-image-")
		if err != nil {
			return nil, fmt.Errorf("create a build directory: %w", err)
		}
		defer os.RemoveAll(scratch)
		made := image{name: local(p.name, "latest")}
		for i, platform := range platforms {
			binary, err := p.build(scratch, platform)
			if err != nil {
				return nil, err
			}
			materials, err := billOfMaterials(p.name, binary)
			if err != nil {
				return nil, err
			}
			if i == 0 {
				if err := os.WriteFile(filepath.Join(out, p.name+".cdx.json"), materials, 0o644); err != nil {
					return nil, fmt.Errorf("write the bill of materials: %w", err)
				}
			}
			if err := p.add(&made, platform, binary, materials); err != nil {
				return nil, err
			}
		}
		return write(archive, made)
	})
}

// local returns the full name of an image that this program builds.
func local(name, tag string) string { return "eventbooking.local/" + name + ":" + tag }

// build compiles the program for a platform into dir.
func (p program) build(dir string, platform v1.Platform) (binary string, err error) {
	binary, err = filepath.Abs(filepath.Join(dir, p.name+"-"+platform.Architecture))
	if err != nil {
		return "", fmt.Errorf("find the path of the binary: %w", err)
	}
	_, err = p.run(platform, "build", "-ldflags=-s -w -buildid=", "-o", binary, p.path)
	return binary, err
}

// run runs the go command for a platform and returns its output.
func (p program) run(platform v1.Platform, command string, args ...string) ([]byte, error) {
	cmd := exec.Command("go", append([]string{command, "-trimpath", "-buildvcs=false"}, args...)...)
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOAMD64=v1", "GOARM64=v8.0",
		"GOOS="+platform.OS, "GOARCH="+platform.Architecture)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s for %s: %w", command, platform, err)
	}
	return out, nil
}

// add adds an image of two layers: the files that all programs share, and the program with its bill of materials.
func (p program) add(to *image, platform v1.Platform, binary string, materials []byte) error {
	shared, err := layerOf(gzip.BestCompression, base()...)
	if err != nil {
		return err
	}
	own, err := layerOf(gzip.BestCompression,
		file{name: p.name, from: binary, mode: 0o755}, file{name: "sbom.cdx.json", content: materials, mode: 0o644})
	if err != nil {
		return err
	}
	return to.add(platform, v1.Config{
		User: user, WorkingDir: "/", Entrypoint: []string{"/" + p.name},
		Labels: map[string]string{"org.opencontainers.image.title": p.name},
	}, shared, own)
}

// base returns the files that a static program needs: a user, a group and root certificates.
func base() []file {
	return []file{
		{name: "etc/group", content: []byte("nonroot:x:65532:\n"), mode: 0o644},
		{name: "etc/passwd", content: []byte("nonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"), mode: 0o644},
		{name: "etc/ssl/certs/ca-certificates.crt", content: certificates(), mode: 0o644},
	}
}

// certificates returns Mozilla's root certificates, which the Go team publishes as a module.
func certificates() []byte {
	var all []byte
	for r := range bundle.Roots() {
		if r.Constraint == nil { // a PEM file cannot express a constraint
			all = append(all, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate})...)
		}
	}
	return all
}
