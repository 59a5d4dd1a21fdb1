package stack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
)

// Describe prints the addresses of a stack.
func (s *Stack) Describe(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "app\taddress\tsidecar")
	for _, a := range s.apps {
		fmt.Fprintf(w, "%s\t%s\t%s\n", a.ID, a.URL(), a.SidecarURL())
	}
	fmt.Fprintln(w, "\t\t")
	if url := s.MailURL(); url != "" {
		fmt.Fprintf(w, "mail sink\t%s\t\n", url)
	}
	fmt.Fprintf(w, "SNS/SQS\t%s\t\n", s.AWSEndpoint())
	if s.cfg.PostgresURL == "" {
		fmt.Fprintf(w, "PostgreSQL\t%s\t\n", loopback(s.cfg.PostgresPort))
	}
	if url := s.StripeURL(); url != "" {
		fmt.Fprintf(w, "Stripe simulator\t%s\t\n", url)
	}
	fmt.Fprintf(w, "data and logs\t%s\t\n", s.cfg.DataDir)
	return w.Flush()
}

// Status prints which processes of the stack are running, and whether the stack is healthy. It changes nothing.
func Status(ctx context.Context, cfg Config, out io.Writer) error {
	f, err := cfg.readApps()
	if err != nil {
		return err
	}
	st, err := open(cfg, secrets{}, f)
	if err != nil {
		return err
	}
	records, err := filepath.Glob(filepath.Join(cfg.DataDir, "run", "*.pid"))
	if err != nil {
		return fmt.Errorf("list the processes: %w", err)
	}
	running := 0
	for _, r := range records {
		p := cfg.process(strings.TrimSuffix(filepath.Base(r), ".pid"), "")
		state := "ended"
		if p.Alive() {
			state = fmt.Sprintf("running, process %d", p.PID())
			running++
		}
		fmt.Fprintf(out, "  %-26s %s\n", p.Name, state)
	}
	if running == 0 {
		fmt.Fprintln(out, "  nothing is running")
		return nil
	}
	if pending := st.pending(ctx); len(pending) > 0 {
		fmt.Fprintf(out, "  not healthy: waiting for %s\n", strings.Join(pending, ", "))
		return nil
	}
	fmt.Fprintln(out, "  all apps and sidecars are healthy")
	return nil
}

// Logs prints the last lines of the logs of all processes, and then new lines until ctx is done. Each line begins with
// the name of the process.
func Logs(ctx context.Context, cfg Config, out io.Writer) error {
	offsets := map[string]int64{}
	for first := true; ; first = false {
		var files []string
		for _, pattern := range []string{"logs/*.log", ".dapr/logs/*.log"} {
			found, err := filepath.Glob(filepath.Join(cfg.DataDir, pattern))
			if err != nil {
				return fmt.Errorf("find the logs: %w", err)
			}
			files = append(files, found...)
		}
		if first && len(files) == 0 {
			return errors.New("there are no logs yet: run make up first")
		}
		for _, path := range files {
			if err := follow(path, offsets, first, out); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// recent is how much of an existing log is printed, in bytes.
const recent = 2000

// follow prints the complete lines that were added to a log since the previous call.
func follow(path string, offsets map[string]int64, first bool, out io.Writer) error {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // a new run has replaced it
	}
	if err != nil {
		return fmt.Errorf("read a log: %w", err)
	}
	defer file.Close()
	skipLine := false
	if first {
		if info, err := file.Stat(); err == nil && info.Size() > recent {
			offsets[path], skipLine = info.Size()-recent, true
		}
	}
	if _, err := file.Seek(offsets[path], io.SeekStart); err != nil {
		return fmt.Errorf("read a log: %w", err)
	}
	// The dapr CLI names its logs <app>_app_<time>.log and <app>_daprd_<time>.log.
	name := strings.TrimSuffix(filepath.Base(path), ".log")
	if parts := strings.Split(name, "_"); len(parts) == 3 {
		name = strings.Replace(parts[0]+" "+parts[1], " app", "", 1)
	}
	for r := bufio.NewReader(file); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil // an incomplete line is printed by a later call
		}
		offsets[path] += int64(len(line))
		if !skipLine {
			fmt.Fprintf(out, "%-28s %s", name, line)
		}
		skipLine = false
	}
}
