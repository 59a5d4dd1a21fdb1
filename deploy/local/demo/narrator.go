package demo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// narrator prints the story.
type narrator struct {
	out   io.Writer
	color bool
	step  int
}

// The colours, as a terminal is told them.
const (
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func (n *narrator) paint(color, text string) string {
	if !n.color {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

func (n *narrator) heading(text string) {
	n.step++
	fmt.Fprintf(n.out, "\n%s\n", n.paint(bold, fmt.Sprintf("%d. %s", n.step, text)))
}

func (n *narrator) say(text string) { fmt.Fprintf(n.out, "\n   %s\n", text) }

func (n *narrator) exchange(e Exchange) {
	fmt.Fprintf(n.out, "\n   %s %s\n", n.paint(cyan, e.Method), e.URL)
	if e.Token != "" {
		fmt.Fprintf(n.out, "       %s\n", n.paint(faint, "Authorization: Bearer "+e.Token.short()))
	}
	for name, value := range e.Header {
		fmt.Fprintf(n.out, "       %s\n", n.paint(faint, name+": "+value))
	}
	if e.Body != nil {
		fmt.Fprintf(n.out, "       %s\n", n.paint(faint, pretty(e.Body, "       ")))
	}
	color := green
	switch {
	case e.Status >= 500:
		color = red
	case e.Status >= 400:
		color = yellow
	}
	status := fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status))
	fmt.Fprintf(n.out, "   %s %s\n", n.paint(color, status), pretty(e.Answer, "   "))
}

func (n *narrator) mail(sink Sink, m Mail) {
	fmt.Fprintf(n.out, "\n   %s %s/api/email\n", n.paint(cyan, http.MethodGet), sink)
	line := func(name, text string) { fmt.Fprintf(n.out, "   %s %s\n", n.paint(faint, name), text) }
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

func (n *narrator) end() { fmt.Fprintln(n.out) }

// width is how long a line of JSON gets.
const width = 100

// pretty gives v as JSON that fills its lines.
func pretty(v any, indent string) string {
	var compact bytes.Buffer
	enc := json.NewEncoder(&compact)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err.Error()
	}
	return fill(bytes.TrimSpace(compact.Bytes()), indent)
}

// fill breaks compact JSON into lines where it is longer than one, with as many members on each as fit.
func fill(compact []byte, indent string) string {
	if len(indent)+len(compact) <= width || !bytes.ContainsAny(compact[:1], "{[") {
		return string(compact)
	}
	inner := indent + "  "
	var lines []string
	dec := json.NewDecoder(bytes.NewReader(compact))
	_, _ = dec.Token() // the bracket; these are bytes that json made
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
	return string(compact[0]) + "\n" + inner + strings.Join(lines, ",\n"+inner) + "\n" + indent + string(compact[len(compact)-1])
}
