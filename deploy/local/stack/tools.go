package stack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
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
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// Versions of what is built; dependencies are pinned by the go.mod and go.sum beside each.
const (
	daprdVersion = "1.18.2"
	daprVersion  = "1.16.5"

	kubernetesVersion = "1.34.1"
)

// daprFits are the minors of which a dapr CLI of the machine's own fits, when it is not older than what we would build.
var daprFits = []int{16, 17, 18}

// nodeMajor.nodeMinor is the first Node.js with the SQLite that the emulator keeps its queues in.
const nodeMajor, nodeMinor = 22, 5

// tools are the programs that a stack needs and does not contain.
type tools struct {
	daprd, dapr string
	node        string
	packages    string // the node_modules directory
}

func (c *Config) bin(name string) string { return filepath.Join(c.ToolsDir, "bin", name) }

func (c *Config) npmWanted() bool {
	return c.PostgresURL == "" || c.AWSEndpoint == "" || c.SMTP.Host == ""
}

// EnsureTools builds and installs whatever is missing: daprd, the dapr CLI, unless the machine has a fitting one, and the
// servers that come from npm. A second call does nothing.
func EnsureTools(ctx context.Context, cfg Config) error {
	_, err := ensureTools(ctx, cfg)
	return err
}

func ensureTools(ctx context.Context, cfg Config) (tools, error) {
	if err := os.MkdirAll(filepath.Join(cfg.ToolsDir, "bin"), 0o755); err != nil {
		return tools{}, fmt.Errorf("make the tools' directory: %w", err)
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
	if cfg.npmWanted() {
		g.Go(func() (err error) {
			t.packages, t.node, err = cfg.ensurePackages(ctx)
			return err
		})
	}
	return t, g.Wait()
}

// ensureDaprd builds daprd even if the machine has one: a released one loses events of an app that dies (tools/daprd/patch).
// Images have Linux's, wherever they are made.
func (c *Config) ensureDaprd(ctx context.Context, goos string) (string, error) {
	path := c.bin("daprd")
	if goos != runtime.GOOS {
		path += "-" + goos
	}
	sources := []string{"tools/daprd", "tools/daprd/patch"}
	err := c.once(path, "daprd "+daprdVersion, "build (only the first time; several minutes)", sources, func(log io.Writer) error {
		patched := filepath.Join(c.ToolsDir, "daprd")
		if err := c.goTool(ctx, log, "tools/daprd", "run", "./patch", patched); err != nil {
			return err
		}
		flags := []string{"-modfile", filepath.Join(patched, "go.mod"), "-tags", "stablecomponents", "-trimpath"}
		if err := c.goTool(ctx, log, "tools/daprd", slices.Concat([]string{"test"}, flags, []string{"./patch"})...); err != nil {
			return err
		}
		return c.goToolFor(ctx, goos, log, "tools/daprd", slices.Concat([]string{"build"}, flags, []string{
			"-ldflags", "-s -w -X github.com/dapr/dapr/pkg/buildinfo.version=" + daprdVersion, "-o", path, ".",
		})...)
	})
	return path, err
}

func (c *Config) ensureDapr(ctx context.Context) (string, error) {
	if path := machinesDapr(ctx); path != "" {
		return path, nil
	}
	path := c.bin("dapr")
	err := c.once(path, "dapr CLI "+daprVersion, "build (only the first time; a minute or two)", []string{"tools/dapr-cli"}, func(log io.Writer) error {
		return c.goTool(ctx, log, "tools/dapr-cli", "build", "-trimpath",
			"-ldflags", "-s -w -X main.version="+daprVersion, "-o", path, "github.com/dapr/cli")
	})
	return path, err
}

// ensureLint builds what `stack test` checks the code with.
func (c *Config) ensureLint(ctx context.Context) error {
	return c.once(c.bin("golangci-lint"), "golangci-lint and gofumpt", "build (only the first time; a few minutes)", []string{"tools/lint"}, func(log io.Writer) error {
		return c.goTool(ctx, log, "tools/lint", "build", "-trimpath", "-ldflags", "-s -w", "-o", c.bin("")+string(filepath.Separator), "tool")
	})
}

// EnsurePromtool builds Prometheus' own tool for rules, which deploy/observability is tested with, and gives its path. What
// finds servers in clouds is left out.
func EnsurePromtool(ctx context.Context, cfg Config) (string, error) {
	path := cfg.bin("promtool")
	err := cfg.once(path, "promtool", "build (only the first time; a minute or two)", []string{"tools/promtool"}, func(log io.Writer) error {
		return cfg.goTool(ctx, log, "tools/promtool", "build", "-tags", "remove_all_sd", "-trimpath", "-ldflags", "-s -w",
			"-o", path, "github.com/prometheus/prometheus/cmd/promtool")
	})
	return path, err
}

// EnsureKubernetes builds what a node of a cluster consists of but for its container runtime, and gives its path.
func EnsureKubernetes(ctx context.Context, cfg Config) (string, error) {
	path := cfg.bin("kubernetes")
	err := cfg.once(path, "Kubernetes "+kubernetesVersion, "build (only the first time; ten minutes or so)", []string{"tools/node"}, func(log io.Writer) error {
		const version = "k8s.io/component-base/version."
		minor := strings.Split(kubernetesVersion, ".")[1]
		return cfg.goTool(ctx, log, "tools/node", "build", "-trimpath", "-ldflags",
			"-s -w -X "+version+"gitVersion=v"+kubernetesVersion+" -X "+version+"gitMajor=1 -X "+version+"gitMinor="+minor, "-o", path, ".")
	})
	return path, err
}

// goTool runs the go command in a module of the checkout.
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

// machinesDapr finds a dapr CLI in the PATH or where `dapr init` puts it, of a version that fits.
func machinesDapr(ctx context.Context) string {
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
		if slices.Contains(daprFits, minor) && (minor > wantMinor || patch >= wantPatch) {
			return path
		}
	}
	return ""
}

// ensurePackages installs the npm packages of deploy/local, and a Node.js for them where the machine's is too old.
func (c *Config) ensurePackages(ctx context.Context) (packages, node string, err error) {
	if _, err := exec.LookPath("npm"); err != nil {
		return "", "", errors.New("npm is needed for the local servers: install Node.js, which brings it, " +
			"or set POSTGRES_URL, AWS_ENDPOINT_URL and SMTP_HOST to servers of your own")
	}
	install := func(name, what, dir string) (string, error) {
		into := filepath.Join(c.ToolsDir, name)
		modules := filepath.Join(into, "node_modules")
		return modules, c.once(modules, what, "npm ci", []string{dir}, func(log io.Writer) error {
			if err := os.MkdirAll(into, 0o755); err != nil {
				return fmt.Errorf("make a directory for packages: %w", err)
			}
			for _, file := range []string{"package.json", "package-lock.json", ".npmrc"} {
				if err := copyFile(filepath.Join(c.Root, dir, file), filepath.Join(into, file)); err != nil {
					return err
				}
			}
			// No package of these needs to run a script: what PostgreSQL's would do is in linkLibraries.
			cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--loglevel=error")
			cmd.Dir, cmd.Stdout, cmd.Stderr = into, log, log
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("npm ci for %s: %w", dir, err)
			}
			return linkLibraries(modules)
		})
	}
	packages, err = install("npm", "local servers", "deploy/local")
	if err != nil {
		return "", "", err
	}
	node, err = exec.LookPath("node")
	if err == nil {
		if out, verr := exec.CommandContext(ctx, node, "--version").Output(); verr == nil {
			if v := versionPattern.FindSubmatch(bytes.TrimPrefix(out, []byte("v"))); v != nil {
				major, _ := strconv.Atoi(string(v[1]))
				minor, _ := strconv.Atoi(string(v[2]))
				if major > nodeMajor || (major == nodeMajor && minor >= nodeMinor) {
					return packages, node, nil
				}
			}
		}
	}
	modules, err := install("node", "Node.js 24", "deploy/local/node")
	if err != nil {
		return "", "", err
	}
	found, err := filepath.Glob(filepath.Join(modules, "node-*", "bin", "node"))
	if err != nil || len(found) == 0 {
		return "", "", fmt.Errorf("no Node.js for %s/%s in npm: install Node.js %d.%d or newer", runtime.GOOS, runtime.GOARCH, nodeMajor, nodeMinor)
	}
	return packages, found[0], nil
}

// linkLibraries makes the symbolic links that an npm package cannot contain, as PostgreSQL's install script would.
func linkLibraries(modules string) error {
	lists, err := filepath.Glob(filepath.Join(modules, "@embedded-postgres", "*", "native", "pg-symlinks.json"))
	if err != nil {
		return fmt.Errorf("find PostgreSQL's packages: %w", err)
	}
	for _, list := range lists {
		content, err := os.ReadFile(list)
		if err != nil {
			return fmt.Errorf("read the list of links: %w", err)
		}
		var links []struct{ Source, Target string }
		if err := json.Unmarshal(content, &links); err != nil {
			return fmt.Errorf("read %s: %w", list, err)
		}
		root := filepath.Dir(filepath.Dir(list))
		for _, l := range links {
			to, err := filepath.Rel(filepath.Dir(l.Target), l.Source)
			if err != nil {
				return fmt.Errorf("link %s: %w", l.Target, err)
			}
			if err := os.Symlink(to, filepath.Join(root, l.Target)); err != nil && !errors.Is(err, os.ErrExist) {
				return fmt.Errorf("link %s: %w", l.Target, err)
			}
		}
	}
	return nil
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	if err := os.WriteFile(to, content, 0o644); err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	return nil
}

// lock keeps others, in this process or another, from doing the same at the same time.
func lock(path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil // which unlocks
}

// once does the work that makes target out of some directories of the checkout, unless it was done for exactly what they
// contain now. What the work writes goes to a log, whose end is part of the error.
func (c *Config) once(target, what, how string, sources []string, work func(log io.Writer) error) error {
	unlock, err := lock(target + ".lock")
	if err != nil {
		return err
	}
	defer unlock()

	hash := sha256.New()
	fmt.Fprintln(hash, runtime.GOOS, runtime.GOARCH)
	for _, dir := range sources {
		files, err := os.ReadDir(filepath.Join(c.Root, dir))
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		for _, f := range files {
			if f.IsDir() {
				continue
			}
			content, err := os.ReadFile(filepath.Join(c.Root, dir, f.Name()))
			if err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			fmt.Fprintln(hash, f.Name(), len(content))
			hash.Write(content)
		}
	}
	want := hex.EncodeToString(hash.Sum(nil))
	stamp := target + ".stamp"
	if have, err := os.ReadFile(stamp); err == nil && string(have) == want {
		if _, err := os.Stat(target); err == nil {
			return nil
		}
	}
	logPath := filepath.Join(c.ToolsDir, "logs", "setup-"+filepath.Base(filepath.Dir(target))+"-"+filepath.Base(target)+".log")
	if err := os.MkdirAll(filepath.Dir(logPath), 0o755); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	log, err := os.Create(logPath)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer log.Close()
	done := c.progress(what, how)
	if err := work(log); err != nil {
		done("failed")
		return fmt.Errorf("%s: %w\n%s", what, err, tailOf(logPath, 15))
	}
	done("done")
	if err := os.WriteFile(stamp, []byte(want), 0o644); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// heartbeat is how long something may take in silence.
const heartbeat = 10 * time.Second

// progress says that something is being done, keeps saying so, and says how long it took when the returned function is
// called.
func (c *Config) progress(what, doing string) func(result string) {
	began := time.Now()
	c.say(what, doing)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(heartbeat)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				c.say(what, fmt.Sprintf("still at it, %s", time.Since(began).Round(time.Second)))
			}
		}
	})
	return func(result string) {
		close(stop)
		wg.Wait()
		c.say(what, fmt.Sprintf("%s after %s", result, time.Since(began).Round(100*time.Millisecond)))
	}
}

// say writes one line of progress; one write, so that lines of concurrent steps do not mix.
func (c *Config) say(what, text string) {
	fmt.Fprintf(c.Out, "  %-26s %s\n", what, text)
}
