package notification

import (
	"embed"
	"fmt"
	htmltemplate "html/template"
	"strings"
	texttemplate "text/template"
)

//go:embed templates
var templates embed.FS

// mailTemplate is the templates of one mail. Its HTML and its text have the same content.
type mailTemplate struct {
	html *htmltemplate.Template
	text *texttemplate.Template
}

var (
	confirmation      = parse("confirmation")
	decline           = parse("decline")
	refund            = parse("refund")
	refundFailure     = parse("refund-failure")
	transferred       = parse("transferred")
	received          = parse("received")
	cancellation      = parse("cancellation")
	eventCancellation = parse("event-cancellation")
	postponement      = parse("postponement")
	changeNotice      = parse("change")
	stuckOrder        = parse("stuck-order")
	deadLetter        = parse("dead-letter")
	verification      = parse("verification")
	reset             = parse("reset")
	ticketsDisputed   = parse("tickets-disputed")
	orderDisputed     = parse("order-disputed")
	paymentDisputed   = parse("payment-disputed")
)

func parse(name string) mailTemplate {
	return mailTemplate{
		html: htmltemplate.Must(htmltemplate.ParseFS(templates, "templates/frame.html", "templates/"+name+".html")),
		text: texttemplate.Must(texttemplate.ParseFS(templates, "templates/"+name+".txt")),
	}
}

// render returns m with its HTML and text.
func (t mailTemplate) render(m Mail, data any) (Mail, error) {
	var html, text strings.Builder
	if err := t.html.Execute(&html, data); err != nil {
		return Mail{}, fmt.Errorf("render: %w", err)
	}
	if err := t.text.Execute(&text, data); err != nil {
		return Mail{}, fmt.Errorf("render: %w", err)
	}
	m.HTML, m.Text = html.String(), text.String()
	return m, nil
}
