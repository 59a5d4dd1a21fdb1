package demo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// printer prints the demo's steps and calls.
type printer struct {
	out   io.Writer
	color bool
	step  int
}

// Colors, as the parameters of a terminal's escape sequence.
const (
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func (p *printer) paint(color, text string) string {
	if !p.color {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

func (p *printer) heading(text string) {
	p.step++
	fmt.Fprintf(p.out, "\n%s\n", p.paint(bold, fmt.Sprintf("%d. %s", p.step, text)))
}

func (p *printer) say(text string) { fmt.Fprintf(p.out, "\n   %s\n", text) }

func (p *printer) exchange(e Exchange) {
	fmt.Fprintf(p.out, "\n   %s %s\n", p.paint(cyan, e.Method), e.URL)
	if e.Token != "" {
		fmt.Fprintf(p.out, "       %s\n", p.paint(faint, "Authorization: Bearer "+e.Token.short()))
	}
	for name, value := range e.Header {
		fmt.Fprintf(p.out, "       %s\n", p.paint(faint, name+": "+value))
	}
	if e.Body != nil {
		fmt.Fprintf(p.out, "       %s\n", p.paint(faint, pretty(e.Body, "       ")))
	}
	color := green
	switch {
	case e.Status >= 500:
		color = red
	case e.Status >= 400:
		color = yellow
	}
	status := fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status))
	fmt.Fprintf(p.out, "   %s %s\n", p.paint(color, status), pretty(e.Answer, "   "))
}

func (p *printer) mail(sink Sink, m Mail) {
	fmt.Fprintf(p.out, "\n   %s %s/api/email\n", p.paint(cyan, http.MethodGet), sink)
	line := func(name, text string) { fmt.Fprintf(p.out, "   %s %s\n", p.paint(faint, name), text) }
	for _, a := range m.From {
		line("From:   ", fmt.Sprintf("%s <%s>", a.Name, a.Address))
	}
	for _, a := range m.To {
		line("To:     ", fmt.Sprintf("%s <%s>", a.Name, a.Address))
	}
	line("Subject:", m.Subject)
	for _, text := range firstLines(m.Text, 10) {
		line("      |", text)
	}
	for _, a := range m.Attachments {
		line("File:   ", fmt.Sprintf("%s (%s, %d bytes)", a.Filename, a.ContentType, a.Size))
	}
}

func (p *printer) end() { fmt.Fprintln(p.out) }

// width is the greatest length of a line of JSON.
const width = 100

// pretty returns v as JSON, in lines of at most width characters.
func pretty(v any, indent string) string {
	var compact bytes.Buffer
	enc := json.NewEncoder(&compact)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err.Error()
	}
	return fill(bytes.TrimSpace(compact.Bytes()), indent)
}

// fill breaks compact JSON into lines if it is longer than one line, with as many members on each line as fit.
func fill(compact []byte, indent string) string {
	if len(indent)+len(compact) <= width || !bytes.ContainsAny(compact[:1], "{[") {
		return string(compact)
	}
	inner := indent + "  "
	var lines []string
	dec := json.NewDecoder(bytes.NewReader(compact))
	_, _ = dec.Token() // the opening bracket; compact is valid JSON
	for dec.More() {
		member := ""
		if compact[0] == '{' {
			name, _ := dec.Token()
			member = fmt.Sprintf("%q: ", name)
		}
		var value json.RawMessage
		_ = dec.Decode(&value)
		member += fill(value, inner)
		last := len(lines) - 1
		if last < 0 || strings.Contains(lines[last]+member, "\n") || len(inner)+len(lines[last])+len(member)+3 > width {
			lines = append(lines, member)
		} else {
			lines[last] += ", " + member
		}
	}
	first, last := string(compact[0]), string(compact[len(compact)-1])
	return first + "\n" + inner + strings.Join(lines, ",\n"+inner) + "\n" + indent + last
}
