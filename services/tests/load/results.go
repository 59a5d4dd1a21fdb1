package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// report contains everything that a run measured.
type report struct {
	Began   time.Time `json:"began"`
	Took    string    `json:"took"`
	Quick   bool      `json:"quick,omitempty"`
	Machine machine   `json:"machine"`
	Results []results `json:"results"`
}

// results are the figures of one measurement.
type results struct {
	Number int    `json:"number"`
	Title  string `json:"title"`
	// Sides are the names of what is compared. There can be only one.
	Sides []string `json:"sides"`
	Rows  []*row   `json:"rows"`
	// Notes explain the figures.
	Notes []string `json:"notes,omitempty"`
}

// row is one figure of all sides.
type row struct {
	Case string `json:"case"`
	What string `json:"what"`
	Unit string `json:"unit"`
	// Values are the values of each side, one for each turn.
	Values [][]float64 `json:"values"`
	// Aim is what the figure or its ratio should be, and Met whether it is.
	Aim string `json:"aim,omitempty"`
	Met bool   `json:"met,omitempty"`
}

// row returns the row of a case and figure. It creates the row if there is none.
func (r *results) row(name, what, unit string) *row {
	for _, have := range r.Rows {
		if have.Case == name && have.What == what {
			return have
		}
	}
	added := &row{Case: name, What: what, Unit: unit, Values: make([][]float64, len(r.Sides))}
	r.Rows = append(r.Rows, added)
	return added
}

// add adds the value of a side's turn.
func (r *row) add(side int, value float64) { r.Values[side] = append(r.Values[side], value) }

// aim sets what the row should show, and whether it does.
func (r *row) aim(what string, met bool) { r.Aim, r.Met = what, met }

// note adds a note.
func (r *results) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// spread is the median of values, with their minimum and maximum.
type spread struct{ median, minimum, maximum float64 }

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{math.NaN(), math.NaN(), math.NaN()}
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	median := sorted[middle]
	if len(sorted)%2 == 0 {
		median = (sorted[middle-1] + median) / 2
	}
	return spread{median, sorted[0], sorted[len(sorted)-1]}
}

// median returns the median of a side's values.
func (r *row) median(side int) float64 { return spreadOf(r.Values[side]).median }

// ratio divides the first side's values by another side's, turn by turn.
func (r *row) ratio(to int) spread {
	var ratios []float64
	for i := range min(len(r.Values[0]), len(r.Values[to])) {
		ratios = append(ratios, r.Values[0][i]/r.Values[to][i])
	}
	return spreadOf(ratios)
}

// number formats a value with three digits, or with all digits of its integer part if that has more.
func number(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "–"
	}
	digits := 0
	for limit := 100.0; digits < 3 && math.Abs(v) < limit; limit /= 10 {
		digits++
	}
	whole, fraction, _ := strings.Cut(strconv.FormatFloat(v, 'f', digits, 64), ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction == "" {
		return whole
	}
	return whole + "." + fraction
}

// String formats the median, and the minimum and maximum if they differ.
func (s spread) String() string {
	if math.IsNaN(s.median) || s.minimum == s.maximum {
		return number(s.median)
	}
	return fmt.Sprintf("%s (%s–%s)", number(s.median), number(s.minimum), number(s.maximum))
}

// table returns the results as rows of cells. The first row is the head.
func (r *results) table() [][]string {
	head := []string{"", "figure"}
	head = append(head, r.Sides...)
	for _, other := range r.Sides[1:] {
		head = append(head, r.Sides[0]+" ÷ "+other)
	}
	aims := slices.ContainsFunc(r.Rows, func(row *row) bool { return row.Aim != "" })
	if aims {
		head = append(head, "aim")
	}
	cells := [][]string{head}
	for _, row := range r.Rows {
		what := row.What
		if row.Unit != "" {
			what += ", " + row.Unit
		}
		line := []string{row.Case, what}
		for side := range r.Sides {
			line = append(line, spreadOf(row.Values[side]).String())
		}
		for other := 1; other < len(r.Sides); other++ {
			line = append(line, row.ratio(other).String())
		}
		if aims {
			line = append(line, row.verdict())
		}
		cells = append(cells, line)
	}
	return cells
}

func (r *row) verdict() string {
	switch {
	case r.Aim == "":
		return ""
	case r.Met:
		return r.Aim + ": yes"
	default:
		return r.Aim + ": no"
	}
}

// print prints the results for a terminal.
func (r *results) print(w io.Writer) error {
	fmt.Fprintf(w, "%d. %s\n\n", r.Number, r.Title)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, line := range r.table() {
		fmt.Fprintln(t, "  "+strings.Join(line, "\t"))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print the results: %w", err)
	}
	for _, n := range r.Notes {
		fmt.Fprintln(w, "  * "+n)
	}
	fmt.Fprintln(w)
	return nil
}

// markdown writes the results as a section of Markdown.
func (r *results) markdown(w io.Writer) {
	fmt.Fprintf(w, "## %d. %s\n\n", r.Number, r.Title)
	for i, line := range r.table() {
		fmt.Fprintln(w, "| "+strings.Join(line, " | ")+" |")
		if i == 0 {
			figures := len(r.Sides)*2 - 1 // each side, and the ratios to all but the first
			texts := len(line) - 2 - figures
			fmt.Fprintln(w, "|---|---"+strings.Repeat("|--:", figures)+strings.Repeat("|---", texts)+"|")
		}
	}
	fmt.Fprintln(w)
	for _, n := range r.Notes {
		fmt.Fprintln(w, "* "+n)
	}
	fmt.Fprintln(w)
}

// write writes the report to a directory: as Markdown, as JSON and as a chart.
func (r *report) write(dir string) error {
	var md strings.Builder
	fmt.Fprintf(&md, "# How fast it is\n\n%s. Started %s, took %s.\n\n",
		r.Machine, r.Began.Format(time.DateTime+" UTC"), r.Took)
	if r.Quick {
		md.WriteString("A quick run: the figures are not meaningful.\n\n")
	}
	for i := range r.Results {
		r.Results[i].markdown(&md)
	}
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write the results: %w", err)
	}
	chart, err := r.plot()
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"bench.md": []byte(md.String()), "bench.json": append(content, '\n'), "bench.svg": chart,
	} {
		//nolint:gosec // everyone may read the results
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return fmt.Errorf("write the results: %w", err)
		}
	}
	return nil
}
