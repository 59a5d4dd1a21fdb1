// Command load measures how fast the system is on this machine, and how much CPU time and memory that takes.
// `make bench` runs it.
//
// It starts everything that it measures: whole systems as `make up` starts them, in temporary directories and on their
// own ports. Sides are compared within one run. Each side takes several turns, alternating with the others (A, B, A,
// B), so that other activity of the machine affects all sides equally. Figures are medians of the turns, with minimum
// and maximum; a ratio is the median of the ratios of the turns.
//
// vegeta (github.com/tsenart/vegeta) generates the load, in one of two ways. Clients that each send their next request
// when the last one is answered find the maximum throughput. When the system stalls, these clients stall too, and the
// requests that they would have sent are missing from the latencies. So latency is also measured under an open load,
// whose requests are due at fixed times regardless of earlier requests. Their latency counts from the due time.
//
// The results are printed and written to .local/bench: bench.md, bench.json with every single figure, and bench.svg.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/eventbooking/eventbooking/deploy/local/stack"
)

// bench is a run of measurements.
type bench struct {
	root string
	// out is the directory of the results.
	out string
	// quick selects a short run that only checks that everything works. Its figures are not meaningful.
	quick bool
	// small and large are the numbers of tickets in the databases of the growth measurement.
	small, large int
	// turns, if set, is the number of turns of each side.
	turns int
	// profile makes the run write CPU profiles of ticket-service.
	profile bool
}

// measurement is one of the measurements, which can run alone.
type measurement struct {
	title string
	run   func(b *bench, ctx context.Context) (results, error)
}

// measurements are numbered from 1 in this order.
var measurements = []measurement{
	{"Reserving tickets of one type", (*bench).oneType},
	{"Reserving tickets of 1,000 types", (*bench).manyTypes},
	{"What the sidecars cost", (*bench).sidecars},
	{"From an order to its mail", (*bench).orderToMail},
	{"Cost as it grows", (*bench).growth},
	{"Selling out", (*bench).sellOut},
	{"Start and memory", (*bench).footprint},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	root, err := stack.FindRoot()
	if err != nil {
		return err
	}
	b := bench{root: root, out: filepath.Join(root, ".local", "bench")}
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	only := flags.String("run", "", "numbers of the measurements to run, as in 1,5; all if empty")
	flags.BoolVar(&b.quick, "quick", false,
		"check that everything works, with little load; the figures are not meaningful")
	flags.IntVar(&b.small, "small", 10_000, "tickets in the small database; at least 10,000")
	flags.IntVar(&b.large, "large", 10_000_000,
		"tickets in the large database; 10 million need 12 GB of disk in "+os.TempDir())
	flags.IntVar(&b.turns, "turns", 0, "turns of each side; 0 selects the default of each measurement")
	flags.BoolVar(&b.profile, "profile", false, "write CPU profiles of ticket-service beside the results")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if b.small < owners*ticketsPerOwner || b.large < b.small {
		return fmt.Errorf("-small must be between %d and -large", owners*ticketsPerOwner)
	}
	if b.quick {
		b.large = min(b.large, 10*b.small)
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(b.out, 0o755); err != nil { //nolint:gosec // everyone may read the results
		return fmt.Errorf("create the directory of the results: %w", err)
	}
	if err := b.build(ctx); err != nil {
		return err
	}

	began := time.Now()
	rep := report{Began: began.UTC(), Quick: b.quick, Machine: describeMachine()}
	progress("machine: %s", rep.Machine)
	if rep.Machine.Busy() {
		progress("the machine is busy, which makes the figures worse")
	}
	for _, i := range chosen {
		m := measurements[i-1]
		progress("%d. %s", i, m.title)
		r, err := m.run(&b, ctx)
		if err != nil {
			return fmt.Errorf("measurement %d: %w", i, err)
		}
		r.Number, r.Title = i, m.title
		rep.Results = append(rep.Results, r)
		fmt.Println()
		if err := rep.Results[len(rep.Results)-1].print(os.Stdout); err != nil {
			return err
		}
		// The report is written after each measurement, so that a later failure does not lose it.
		rep.Took = time.Since(began).Round(time.Second).String()
		if err := rep.write(b.out); err != nil {
			return err
		}
	}
	progress("done after %s: the tables are in %s, every single figure in bench.json, and the chart in bench.svg",
		rep.Took, filepath.Join(b.out, "bench.md"))
	return nil
}

// choose parses the numbers of measurements. An empty list selects all of them.
func choose(list string) ([]int, error) {
	var chosen []int
	if list == "" {
		for i := range measurements {
			chosen = append(chosen, i+1)
		}
		return chosen, nil
	}
	for part := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 1 || n > len(measurements) {
			return nil, fmt.Errorf("-run: %q is not a number from 1 to %d", part, len(measurements))
		}
		chosen = append(chosen, n)
	}
	return chosen, nil
}

// progress prints a line about the progress of the run.
func progress(format string, args ...any) {
	fmt.Printf("bench: "+format+"\n", args...)
}

// build builds the programs that the system is compared with.
func (b *bench) build(ctx context.Context) error {
	//nolint:gosec // the paths are our own
	cmd := exec.CommandContext(ctx, "go", "build", "-o", b.program("")+string(filepath.Separator),
		"./services/tests/load/plain", "./services/tests/load/proxy")
	cmd.Dir = b.root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs to compare with: %w\n%s", err, out)
	}
	return nil
}

// program returns the path of a program that build creates.
func (b *bench) program(name string) string {
	return filepath.Join(b.root, ".local", "bench", "bin", name)
}

// times returns the number of turns of each side: n unless a flag sets another number.
func (b *bench) times(n int) int {
	if b.turns > 0 {
		return b.turns
	}
	return n
}

// turns calls do for each side in each turn: all sides in turn 0, then all sides in turn 1, and so on. It stops at the
// first error.
func turns[S any](ctx context.Context, times int, sides []S, do func(side S, turn int) error) error {
	for turn := range times {
		for _, side := range sides {
			if err := errors.Join(ctx.Err(), do(side, turn)); err != nil {
				return err
			}
		}
	}
	return nil
}
