package stack

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
)

// EnsureImages makes the images of a cluster that can fetch none: the programs', Dapr's, and stand-ins for the servers of
// deploy/kubernetes/overlays/local (tools/images). It gives the archives that hold them. A second call makes what has changed.
func EnsureImages(ctx context.Context, cfg Config) (archives []string, err error) {
	daprd, err := cfg.ensureDaprd(ctx)
	if err != nil {
		return nil, err
	}
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

	images := filepath.Join(cfg.ToolsDir, "images")
	done := cfg.progress("images", "build those that have changed")
	err = cfg.goTool(ctx, cfg.Out, "tools/images", "run", ".", "-o", images, "-platforms", "linux/"+runtime.GOARCH,
		"-daprd", daprd, "-controlplane", controlPlane, "-dapr", daprdVersion, "-node", node, "-packages", packages)
	if err != nil {
		done("failed")
		return nil, err
	}
	done("done")
	for _, pattern := range []string{"*.tar", "cluster/*.tar"} {
		found, err := filepath.Glob(filepath.Join(images, pattern))
		if err != nil {
			return nil, fmt.Errorf("list the images: %w", err)
		}
		archives = append(archives, found...)
	}
	return archives, nil
}
