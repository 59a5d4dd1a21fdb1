// Command patch copies Dapr's module to DIR, fixes a defect in the copy, and writes a go.mod that replaces the module
// with the copy:
//
//	go run ./patch DIR && go build -modfile DIR/go.mod .
//
// The defect is in Dapr 1.13 to 1.18. A sidecar wraps each request to its app in a chain of middleware, but stores the
// chain in one field for all requests. Of two concurrent requests, one can therefore run the chain of the other. When
// the app is dead, the error of the one request goes to the other, and the first is answered with 200 and an empty
// body. A queue takes that for a processed event and deletes it; a caller takes it for a successful call. One in a
// thousand requests to a dead app was affected.
//
// The patch builds a chain for each request. The test in this package fails without it.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// module is the module that is patched, and file is the path of the changed file in it.
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
	// With the patch this line is logged for each request.
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
	// On a new machine the module is not downloaded yet.
	out, err := exec.Command("go", "mod", "download", "-json", module).Output()
	if err != nil {
		return fmt.Errorf("download Dapr's module: %w\n%s", err, out)
	}
	var original struct{ Dir string }
	if err := json.Unmarshal(out, &original); err != nil {
		return fmt.Errorf("find Dapr's module: %w", err)
	}
	patched := filepath.Join(dir, "dapr")
	if err := os.RemoveAll(patched); err != nil {
		return fmt.Errorf("remove the previous copy: %w", err)
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
	replace := exec.Command("go", "mod", "edit", "-replace", module+"="+patched, filepath.Join(dir, "go.mod"))
	if out, err := replace.CombinedOutput(); err != nil {
		return fmt.Errorf("replace Dapr's module: %w\n%s", err, out)
	}
	return nil
}

// change applies the changes to a file. It returns an error unless each of them applies exactly once.
func change(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the file to patch: %w", err)
	}
	code := string(content)
	for _, c := range changes {
		if strings.Count(code, c.from) != 1 {
			return fmt.Errorf("%s has changed in this version of Dapr: check whether the patch is still needed", file)
		}
		code = strings.Replace(code, c.from, c.to, 1)
	}
	// The copy is read-only, as files in the module cache are.
	if err := os.Chmod(path, 0o644); err != nil {
		return fmt.Errorf("make the file to patch writable: %w", err)
	}
	if err := os.WriteFile(path, []byte(code), 0o644); err != nil {
		return fmt.Errorf("write the patched file: %w", err)
	}
	return nil
}
