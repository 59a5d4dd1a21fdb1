package stack

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
)

// Images builds the images of the apps and the Stripe simulator for linux/amd64 and linux/arm64, and the image of the
// sidecar for this machine's architecture, as archives in ToolsDir. It rebuilds only images that have changed.
func Images(ctx context.Context, cfg Config) error {
	_, err := cfg.ensureImages(ctx, "linux/amd64,linux/arm64")
	return err
}

// EnsureImages builds, for this machine's architecture, all images of a cluster without a registry: those of [Images],
// Dapr's control plane, and stand-ins for the servers of deploy/kubernetes/overlays/local. It returns the paths of the
// archives.
func EnsureImages(ctx context.Context, cfg Config) (archives []string, err error) {
	controlPlane := cfg.bin("controlplane")
	err = cfg.ensure(controlPlane, "Dapr's control plane "+daprdVersion, "build (only once; a few minutes)",
		[]string{"tools/daprd", "tools/daprd/controlplane"}, func(log io.Writer) error {
			return cfg.goTool(ctx, log, "tools/daprd", "build", "-trimpath", "-ldflags", daprLinkerFlags,
				"-o", controlPlane, "./controlplane")
		})
	if err != nil {
		return nil, err
	}
	packages, node, err := cfg.ensurePackages(ctx)
	if err != nil {
		return nil, err
	}
	images, err := cfg.ensureImages(ctx, "linux/"+runtime.GOARCH,
		"-controlplane", controlPlane, "-node", node, "-packages", packages)
	if err != nil {
		return nil, err
	}
	for _, pattern := range []string{"*.tar", "cluster/*.tar"} {
		found, err := filepath.Glob(filepath.Join(images, pattern))
		if err != nil {
			return nil, fmt.Errorf("list the images: %w", err)
		}
		archives = append(archives, found...)
	}
	return archives, nil
}

// ensureImages runs tools/images and returns the directory of its archives. Others are further arguments.
func (c *Config) ensureImages(ctx context.Context, platforms string, others ...string) (dir string, err error) {
	daprd, err := c.ensureDaprd(ctx, "linux")
	if err != nil {
		return "", err
	}
	dir = filepath.Join(c.ToolsDir, "images")
	done := c.progress("images", "build (only images that have changed)")
	err = c.goTool(ctx, c.Out, "tools/images", slices.Concat([]string{
		"run", ".", "-o", dir, "-platforms", platforms,
		"-daprd", daprd, "-dapr", daprdVersion,
	}, others)...)
	if err != nil {
		done("failed")
		return "", err
	}
	done("done")
	return dir, nil
}
