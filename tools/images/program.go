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

// user is whom a program runs as: nobody that a node knows.
const user = "65532:65532"

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

// archive writes the program's images into one OCI archive, and its bill of materials beside it.
func (p program) archive(out string, platforms []v1.Platform) ([]built, error) {
	archive := filepath.Join(out, p.name+".tar")
	ingredients := sha256.New()
	for _, platform := range platforms {
		// Of every package that the program is linked of, what tells Go whether it has to be compiled.
		packages, err := p.run(platform, "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.BuildID}}", p.path)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(ingredients, "%s\n%s\n", platform, packages)
	}
	return unlessMade(archive, ingredients, func() ([]built, error) {
		scratch, err := os.MkdirTemp("", "eventbooking-image-")
		if err != nil {
			return nil, fmt.Errorf("make a directory to build in: %w", err)
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

// local is the full name of an image that is made here.
func local(name, tag string) string { return "eventbooking.local/" + name + ":" + tag }

// build compiles the program for a platform into dir.
func (p program) build(dir string, platform v1.Platform) (binary string, err error) {
	binary, err = filepath.Abs(filepath.Join(dir, p.name+"-"+platform.Architecture))
	if err != nil {
		return "", fmt.Errorf("where the binary goes: %w", err)
	}
	_, err = p.run(platform, "build", "-ldflags=-s -w -buildid=", "-o", binary, p.path)
	return binary, err
}

// run runs the go command for a platform.
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

// add makes an image of two layers: what all programs share, and the program with its bill of materials.
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

// base is what a static program needs beside itself.
func base() []file {
	return []file{
		{name: "etc/group", content: []byte("nonroot:x:65532:\n"), mode: 0o644},
		{name: "etc/passwd", content: []byte("nonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"), mode: 0o644},
		{name: "etc/ssl/certs/ca-certificates.crt", content: certificates(), mode: 0o644},
	}
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
