package stack

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
)

// Images makes the images of the programs for the platforms of clusters, and the sidecar's for this machine's, as archives in
// ToolsDir. A second call makes what has changed.
func Images(ctx context.Context, cfg Config) error {
	_, err := cfg.ensureImages(ctx, "linux/amd64,linux/arm64")
	return err
}

// EnsureImages makes, for this machine's platform, the images of a cluster that can fetch none: those of [Images], Dapr's control
// plane, and stand-ins for the servers of deploy/kubernetes/overlays/local. It gives the archives.
func EnsureImages(ctx context.Context, cfg Config) (archives []string, err error) {
	controlPlane := cfg.bin("controlplane")
	err = cfg.once(controlPlane, "Dapr's control plane "+daprdVersion, "build (only the first time; a few minutes)",
		[]string{"tools/daprd", "tools/daprd/controlplane"}, func(log io.Writer) error {
			return cfg.goTool(ctx, log, "tools/daprd", "build", "-trimpath",
				"-ldflags", "-s -w -X github.com/dapr/dapr/pkg/buildinfo.version="+daprdVersion, "-o", controlPlane, "./controlplane")
		})
	if err != nil {
		return nil, err
	}
	packages, node, err := cfg.ensurePackages(ctx)
	if err != nil {
		return nil, err
	}
	images, err := cfg.ensureImages(ctx, "linux/"+runtime.GOARCH, "-controlplane", controlPlane, "-node", node, "-packages", packages)
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

// ensureImages gives the directory in which tools/images has put the archives.
func (c *Config) ensureImages(ctx context.Context, platforms string, others ...string) (dir string, err error) {
	daprd, err := c.ensureDaprd(ctx, "linux")
	if err != nil {
		return "", err
	}
	dir = filepath.Join(c.ToolsDir, "images")
	done := c.progress("images", "build those that have changed")
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
