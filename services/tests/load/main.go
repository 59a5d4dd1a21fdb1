// Command load measures how fast the system is on the machine that it runs on, and what that costs. `make bench` runs it.
//
// Everything that it measures it starts itself: whole systems as `make up` starts them, in temporary directories and on
// ports of their own. What is compared is compared within one run, each side several times and in turns (A, B, A, B), so
// that what the machine does besides meets all sides alike. Figures are medians, with the least and the greatest behind
// them; a ratio is the median of the ratios of the turns.
//
// Load comes from vegeta (github.com/tsenart/vegeta), in one of two ways. Clients that each send their next request when
// the last one is answered find out how much there can be; but when the system stalls they stall with it, and what they
// would have sent meanwhile is missing from their latencies. So latency is also measured under an open load, whose requests
// are due at fixed times whatever comes of those before, and a request's latency counts from when it was due.
//
// The results are printed, and written to .local/bench: bench.md, bench.json with each single figure, and bench.svg.
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
	// out is where results go.
	out string
	// quick is a run that shows that everything works, and whose figures mean little.
	quick bool
	// small and large are how many tickets there are where growth is measured.
	small, large int
	// turns, where set, is how many turns each side has.
	turns int
	// profile has a CPU profile taken of ticket-service while it is measured.
	profile bool
}

// measurement is something that can be measured by itself.
type measurement struct {
	title string
	run   func(b *bench, ctx context.Context) (results, error) //nolint:revive // a method's expression
}

// measurements by their numbers, which start at 1.
var measurements = []measurement{
	{"Reserving tickets of one type", (*bench).hotType},
	{"Reserving tickets of 1,000 types", (*bench).manyTypes},
	{"What the sidecars cost", (*bench).purchase},
	{"From an order to its mail", (*bench).mail},
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
	only := flags.String("run", "", "the measurements to make, as in 1,5; all of them if empty")
	flags.BoolVar(&b.quick, "quick", false, "show that everything works, with little load: the figures mean little")
	flags.IntVar(&b.small, "small", 10_000, "how many tickets there are in a small database; not less than 10,000")
	flags.IntVar(&b.large, "large", 10_000_000, "how many there are in a large one; 10 million need 12 GB of disk in "+os.TempDir())
	flags.IntVar(&b.turns, "turns", 0, "how many turns each side has; 0 is for each measurement as many as it wants")
	flags.BoolVar(&b.profile, "profile", false, "write CPU profiles of ticket-service beside the results")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if b.small < regulars*ticketsEach || b.large < b.small {
		return fmt.Errorf("-small: not from %d to -large", regulars*ticketsEach)
	}
	if b.quick {
		b.large = min(b.large, 10*b.small)
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(b.out, 0o755); err != nil { //nolint:gosec // results are for everybody
		return fmt.Errorf("make a directory for the results: %w", err)
	}
	if err := b.build(ctx); err != nil {
		return err
	}

	began := time.Now()
	rep := report{Began: began.UTC(), Quick: b.quick, Machine: describe()}
	say("on %s", rep.Machine)
	if rep.Machine.Busy() {
		say("the machine is busy: the figures will be worse than they could be")
	}
	for _, i := range chosen {
		m := measurements[i-1]
		say("%d. %s", i, m.title)
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
		// After each, so that what was measured is there even if a later one fails.
		rep.Took = time.Since(began).Round(time.Second).String()
		if err := rep.write(b.out); err != nil {
			return err
		}
	}
	say("done after %s; %s has the tables, bench.json each figure, and bench.svg the picture",
		rep.Took, filepath.Join(b.out, "bench.md"))
	return nil
}

// choose reads which measurements are wanted.
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

// say tells somebody who watches.
func say(format string, args ...any) {
	fmt.Printf("bench: "+format+"\n", args...)
}

// build builds what the system is compared with.
func (b *bench) build(ctx context.Context) error {
	//nolint:gosec // our own paths
	cmd := exec.CommandContext(ctx, "go", "build", "-o", b.program("")+string(filepath.Separator),
		"./services/tests/load/plain", "./services/tests/load/proxy")
	cmd.Dir = b.root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build what to compare with: %w\n%s", err, out)
	}
	return nil
}

// program is where build puts a program.
func (b *bench) program(name string) string {
	return filepath.Join(b.root, ".local", "bench", "bin", name)
}

// times is how many turns each side has where otherwise it would be n.
func (b *bench) times(n int) int {
	if b.turns > 0 {
		return b.turns
	}
	return n
}

// turns has each side do something in turns, so many times, and hands on what it gave.
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
