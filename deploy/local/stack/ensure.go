package stack

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// lock locks a file against other goroutines and processes, and waits until it is free.
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
	return func() { f.Close() }, nil // closing the file unlocks it
}

// ensure calls work to make target from some directories of the checkout (sources), unless target was made from the
// same content before. The output of work goes to a log, whose last lines are part of the error.
func (c *Config) ensure(target, what, how string, sources []string, work func(log io.Writer) error) error {
	unlock, err := lock(target + ".lock")
	if err != nil {
		return err
	}
	defer unlock()

	want, err := c.hashSources(sources)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	stamp := target + ".stamp"
	if have, err := os.ReadFile(stamp); err == nil && string(have) == want {
		if _, err := os.Stat(target); err == nil {
			return nil
		}
	}
	logName := "setup-" + filepath.Base(filepath.Dir(target)) + "-" + filepath.Base(target) + ".log"
	logPath := filepath.Join(c.ToolsDir, "logs", logName)
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

// hashSources returns a hash of the platform and of the files in some directories of the checkout, without
// subdirectories.
func (c *Config) hashSources(dirs []string) (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.GOOS, runtime.GOARCH)
	for _, dir := range dirs {
		files, err := os.ReadDir(filepath.Join(c.Root, dir))
		if err != nil {
			return "", err
		}
		for _, f := range files {
			if f.IsDir() {
				continue
			}
			content, err := os.ReadFile(filepath.Join(c.Root, dir, f.Name()))
			if err != nil {
				return "", err
			}
			fmt.Fprintln(hash, f.Name(), len(content))
			hash.Write(content)
		}
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// heartbeat is the longest time without a line of progress.
const heartbeat = 10 * time.Second

// progress reports that a step has started, and every 10 s that it is still running. The returned function reports its
// result and duration.
func (c *Config) progress(what, doing string) func(result string) {
	began := time.Now()
	c.report(what, doing)
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
				c.report(what, fmt.Sprintf("still running after %s", time.Since(began).Round(time.Second)))
			}
		}
	})
	return func(result string) {
		close(stop)
		wg.Wait()
		c.report(what, fmt.Sprintf("%s after %s", result, time.Since(began).Round(100*time.Millisecond)))
	}
}

// report prints one line of progress, in a single write so that the lines of concurrent steps do not mix.
func (c *Config) report(what, text string) {
	fmt.Fprintf(c.Out, "  %-26s %s\n", what, text)
}
