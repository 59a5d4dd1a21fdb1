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

// report is all that a run found.
type report struct {
	Began   time.Time `json:"began"`
	Took    string    `json:"took"`
	Quick   bool      `json:"quick,omitempty"`
	Machine machine   `json:"machine"`
	Results []results `json:"results"`
}

// results are what one measurement found.
type results struct {
	Number int    `json:"number"`
	Title  string `json:"title"`
	// Sides are what is compared; there may be but one.
	Sides []string `json:"sides"`
	Rows  []*row   `json:"rows"`
	// Notes say what has to be known about the figures.
	Notes []string `json:"notes,omitempty"`
}

// row is one figure of each side.
type row struct {
	Case string `json:"case"`
	What string `json:"what"`
	Unit string `json:"unit"`
	// Values are each side's, one for each turn.
	Values [][]float64 `json:"values"`
	// Aim is what the figure, or the ratio, should be.
	Aim string `json:"aim,omitempty"`
	Met bool   `json:"met,omitempty"`
}

// row is the row of that name, a new one where there is none.
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

// add adds a side's figure of a turn.
func (r *row) add(side int, value float64) { r.Values[side] = append(r.Values[side], value) }

// aim says what the row should show, and whether it does.
func (r *row) aim(what string, met bool) { r.Aim, r.Met = what, met }

// note adds a note.
func (r *results) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// spread is the middle of some figures, with the least and the greatest.
type spread struct{ median, least, greatest float64 }

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

// median is the middle of a side's figures.
func (r *row) median(side int) float64 { return spreadOf(r.Values[side]).median }

// ratio is how many times the first side's figure is another's, turn by turn.
func (r *row) ratio(to int) spread {
	var ratios []float64
	for i := range min(len(r.Values[0]), len(r.Values[to])) {
		ratios = append(ratios, r.Values[0][i]/r.Values[to][i])
	}
	return spreadOf(ratios)
}

// number writes a figure with three digits, or as many as its whole part has.
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

// String shows the middle, and the ends where they differ.
func (s spread) String() string {
	if math.IsNaN(s.median) || s.least == s.greatest {
		return number(s.median)
	}
	return fmt.Sprintf("%s (%s–%s)", number(s.median), number(s.least), number(s.greatest))
}

// table gives the results as cells, the first line of which is the head.
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

// print writes the results for a terminal.
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

// markdown writes the results as a section.
func (r *results) markdown(w io.Writer) {
	fmt.Fprintf(w, "## %d. %s\n\n", r.Number, r.Title)
	for i, line := range r.table() {
		fmt.Fprintln(w, "| "+strings.Join(line, " | ")+" |")
		if i == 0 {
			fmt.Fprintln(w, "|---|---"+strings.Repeat("|--:", len(r.Sides)*2-1)+strings.Repeat("|---", len(line)-len(r.Sides)*2-1)+"|")
		}
	}
	fmt.Fprintln(w)
	for _, n := range r.Notes {
		fmt.Fprintln(w, "* "+n)
	}
	fmt.Fprintln(w)
}

// write puts the report into a directory.
func (r *report) write(dir string) error {
	var md strings.Builder
	fmt.Fprintf(&md, "# How fast it is\n\n%s. Begun %s, took %s.\n\n", r.Machine, r.Began.Format(time.DateTime+" UTC"), r.Took)
	if r.Quick {
		md.WriteString("A quick run: the figures mean little.\n\n")
	}
	for i := range r.Results {
		r.Results[i].markdown(&md)
	}
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write the results: %w", err)
	}
	picture, err := r.plot()
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"bench.md": []byte(md.String()), "bench.json": append(content, '\n'), "bench.svg": picture} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil { //nolint:gosec // results are for everybody
			return fmt.Errorf("write the results: %w", err)
		}
	}
	return nil
}
