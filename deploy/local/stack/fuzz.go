package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	// fuzzTime is how long each fuzz target runs, without the time to build it.
	fuzzTime = 5 * time.Second
	// fuzzBudget is the time for all fuzz targets together. No target is started after it.
	fuzzBudget = 5 * time.Minute
	// fuzzTimeout bounds a single target, with the time to build it.
	fuzzTimeout = 5 * time.Minute
)

// fuzzTarget is a function FuzzXxx of a package.
type fuzzTarget struct{ pkg, name string }

// fuzz runs every fuzz target of some packages for fuzzTime. It returns an error when a target finds a failing input;
// the output of go test in it names the file with the input.
func (c *Config) fuzz(ctx context.Context, env, packages []string) error {
	targets, err := c.fuzzTargets(ctx, env, packages)
	if err != nil {
		return err
	}
	var findings []error
	began := time.Now()
	for i, t := range targets {
		if ctx.Err() != nil {
			return errors.Join(append(findings, ctx.Err())...)
		}
		if time.Since(began) > fuzzBudget {
			c.report("fuzz", fmt.Sprintf("stopped after %s: %d of %d targets did not run",
				fuzzBudget, len(targets)-i, len(targets)))
			break
		}
		if err := c.fuzzOne(ctx, env, t); err != nil {
			findings = append(findings, err)
		}
	}
	return errors.Join(findings...)
}

func (c *Config) fuzzOne(ctx context.Context, env []string, t fuzzTarget) error {
	ctx, cancel := context.WithTimeout(ctx, fuzzTimeout)
	defer cancel()
	done := c.progress(t.name, "fuzz for "+fuzzTime.String())
	cmd := exec.CommandContext(ctx, "go", "test", "-run=^$", "-fuzz=^"+t.name+"$",
		"-fuzztime="+fuzzTime.String(), "-fuzzminimizetime="+fuzzTime.String(), t.pkg)
	cmd.Dir, cmd.Env = c.Root, env
	interruptible(cmd)
	if out, err := cmd.CombinedOutput(); err != nil && !endedByFuzzTime(string(out)) {
		done("failed")
		return fmt.Errorf("fuzz %s of %s: %w\n%s", t.name, t.pkg, err, out)
	}
	done("passed")
	return nil
}

// endedByFuzzTime reports whether a fuzz target failed only because its time was up. Before Go 1.27, go test sometimes
// fails with this error at the end of -fuzztime (https://go.dev/issue/75804). It has found no failing input then.
func endedByFuzzTime(output string) bool {
	_, failure, found := strings.Cut(output, "\n--- FAIL: ")
	if !found || strings.Contains(output, "Failing input written to") {
		return false
	}
	lines := strings.Split(failure, "\n")
	return len(lines) > 2 && strings.TrimSpace(lines[1]) == "context deadline exceeded" && lines[2] == "FAIL"
}

// fuzzTargets returns the fuzz targets of some packages.
func (c *Config) fuzzTargets(ctx context.Context, env, packages []string) ([]fuzzTarget, error) {
	packages, err := c.packagesWithFuzzTargets(ctx, packages)
	if err != nil || len(packages) == 0 {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-list=^Fuzz"}, packages...)...)
	cmd.Dir, cmd.Env, cmd.Stderr = c.Root, env, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list the fuzz targets: %w\n%s", err, out)
	}
	return parseFuzzTargets(string(out)), nil
}

// parseFuzzTargets reads the output of go test -list: for each package the names of its targets, and then a line "ok"
// with its import path.
func parseFuzzTargets(list string) []fuzzTarget {
	var targets []fuzzTarget
	var names []string
	for line := range strings.Lines(list) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 1 && strings.HasPrefix(fields[0], "Fuzz"):
			names = append(names, fields[0])
		case len(fields) > 1 && fields[0] == "ok":
			for _, name := range names {
				targets = append(targets, fuzzTarget{pkg: fields[1], name: name})
			}
			names = nil
		}
	}
	return targets
}

// packagesWithFuzzTargets returns the packages with a fuzz target in a test file. It saves linking the tests of all
// other packages, which go test -list does.
func (c *Config) packagesWithFuzzTargets(ctx context.Context, packages []string) ([]string, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"list", "-f", "{{.ImportPath}}\t{{.Dir}}"}, packages...)...)
	cmd.Dir, cmd.Stderr = c.Root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list the packages: %w", err)
	}
	var found []string
	for line := range strings.Lines(string(out)) {
		pkg, dir, _ := strings.Cut(strings.TrimSpace(line), "\t")
		has, err := hasFuzzTarget(dir)
		if err != nil {
			return nil, fmt.Errorf("look for fuzz targets in %s: %w", pkg, err)
		}
		if has {
			found = append(found, pkg)
		}
	}
	return found, nil
}

func hasFuzzTarget(dir string) (bool, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		return false, err
	}
	for _, path := range files {
		content, err := os.ReadFile(path)
		if err != nil {
			return false, err
		}
		if bytes.Contains(content, []byte("\nfunc Fuzz")) {
			return true, nil
		}
	}
	return false, nil
}
