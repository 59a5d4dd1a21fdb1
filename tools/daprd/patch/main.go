// Command patch copies Dapr's module, mends a defect of it there, and writes a go.mod that replaces the one by the other:
//
//	go run ./patch DIR && go build -modfile DIR/go.mod .
//
// A sidecar wraps each request to its app in middleware, but keeps what it wrapped in one place for all requests (Dapr 1.13
// to 1.18). So of two at the same time, one may be made by the code that waits for the other's outcome. When the app is dead,
// its error then goes to the other, and it is itself answered with 200 and nothing: by nobody. A queue takes that for an
// event processed and deletes it, a caller for a call answered. It happened to one in a thousand requests to a dead app.
//
// Patched, each request is wrapped by itself. The test beside this fails without.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// module is what is patched, and file the path in it of what is changed.
const (
	module = "github.com/dapr/dapr"
	file   = "pkg/middleware/http/pipeline.go"
)

var changes = []struct{ from, to string }{{
	`		p.lock.Lock()
		p.root = root
		p.lock.Unlock()
		p.buildChain()

		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p.lock.RLock()
			next := p.chain
			p.lock.RUnlock()
			next.ServeHTTP(w, r)
		})
`,
	`		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			own := &pipeline{name: p.name, spec: p.spec, store: p.store, root: root}
			own.buildChain()
			own.chain.ServeHTTP(w, r)
		})
`,
}, {
	// Which is for each request now.
	`log.Infof("Building pipeline %s", p.name)`,
	`log.Debugf("Building pipeline %s", p.name)`,
}}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: patch DIR")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "patch:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("find %s: %w", dir, err)
	}
	// On a fresh machine it is not there yet.
	out, err := exec.Command("go", "mod", "download", "-json", module).Output()
	if err != nil {
		return fmt.Errorf("get Dapr's module: %w\n%s", err, out)
	}
	var original struct{ Dir string }
	if err := json.Unmarshal(out, &original); err != nil {
		return fmt.Errorf("find Dapr's module: %w", err)
	}
	patched := filepath.Join(dir, "dapr")
	if err := os.RemoveAll(patched); err != nil {
		return fmt.Errorf("make a place for the copy: %w", err)
	}
	if err := os.CopyFS(patched, os.DirFS(original.Dir)); err != nil {
		return fmt.Errorf("copy Dapr's module: %w", err)
	}
	if err := change(filepath.Join(patched, filepath.FromSlash(file))); err != nil {
		return err
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("copy %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return fmt.Errorf("copy %s: %w", name, err)
		}
	}
	if out, err := exec.Command("go", "mod", "edit", "-replace", module+"="+patched, filepath.Join(dir, "go.mod")).CombinedOutput(); err != nil {
		return fmt.Errorf("replace Dapr's module: %w\n%s", err, out)
	}
	return nil
}

func change(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read what is to be patched: %w", err)
	}
	code := string(content)
	for _, c := range changes {
		if strings.Count(code, c.from) != 1 {
			return fmt.Errorf("%s is not what the patch was made for: see whether this version of Dapr still needs it", file)
		}
		code = strings.Replace(code, c.from, c.to, 1)
	}
	// The copy is as read-only as what is in the module cache.
	if err := os.Chmod(path, 0o644); err != nil {
		return fmt.Errorf("open what is to be patched: %w", err)
	}
	if err := os.WriteFile(path, []byte(code), 0o644); err != nil {
		return fmt.Errorf("patch: %w", err)
	}
	return nil
}
