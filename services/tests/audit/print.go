package audit

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

func isDeadLetterQueue(name string) bool {
	return strings.HasSuffix(strings.TrimSuffix(name, ".fifo"), "-dlq")
}

// Print writes the tables, then the findings in flight, then the discrepancies.
func (r Report) Print(w io.Writer) error {
	var b strings.Builder
	for _, s := range r.Sections {
		fmt.Fprintf(&b, "%s\n", s.Title)
		table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintf(table, "  %s\n", strings.Join(s.Header, "\t"))
		for _, row := range s.Rows {
			fmt.Fprintf(table, "  %s\n", strings.Join(row, "\t"))
		}
		if err := table.Flush(); err != nil {
			return err
		}
		b.WriteByte('\n')
	}
	for _, list := range []struct {
		title    string
		findings []Finding
	}{{"In flight", r.InFlight()}, {"Discrepancies", r.Discrepancies()}} {
		fmt.Fprintf(&b, "%s: %d\n", list.title, len(list.findings))
		for _, f := range list.findings {
			fmt.Fprintf(&b, "  %s\n", f)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// String returns the check, the id and the detail in one line.
func (f Finding) String() string { return f.Check + " " + f.ID + ": " + f.Detail }
