package email_test

import (
	"net/mail"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/email-service/internal/email"
)

func message() email.Message {
	return email.Message{
		ID:      "order-confirmation:cc0e8400-e29b-41d4-a716-446655440000",
		To:      mail.Address{Name: "Zoë \"Z\" Müller", Address: "zoe@example.com"},
		Subject: "Your tickets – Frühlingsfest",
		Text:    "Hello Zoë,\n.\nyour tickets are attached.\n",
		HTML:    "<p>Hello <b>Zoë</b></p>",
		Attachments: []email.Attachment{
			{Filename: "TKT-2026-000001.pdf", ContentType: "application/pdf", Content: []byte("%PDF-1.7 \x00\xff first")},
			{Filename: "Eintrittskarte für zwei.pdf", ContentType: "application/pdf", Content: []byte("%PDF-1.7 second")},
		},
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*email.Message)
		kind   problem.Kind
		field  string
	}{
		"Valid":               {change: func(*email.Message) {}},
		"NameMayBeEmpty":      {change: func(m *email.Message) { m.To.Name = "" }},
		"HTMLMayBeEmpty":      {change: func(m *email.Message) { m.HTML = "" }},
		"NoID":                {change: func(m *email.Message) { m.ID = "" }, kind: problem.Invalid, field: "messageId"},
		"IDWithASpace":        {change: func(m *email.Message) { m.ID = "a b" }, kind: problem.Invalid, field: "messageId"},
		"IDWithAnAt":          {change: func(m *email.Message) { m.ID = "a@b" }, kind: problem.Invalid, field: "messageId"},
		"IDWithTwoDots":       {change: func(m *email.Message) { m.ID = "a..b" }, kind: problem.Invalid, field: "messageId"},
		"NoAddress":           {change: func(m *email.Message) { m.To.Address = "" }, kind: problem.Invalid, field: "to.address"},
		"NotAnAddress":        {change: func(m *email.Message) { m.To.Address = "zoe" }, kind: problem.Invalid, field: "to.address"},
		"TwoAddresses":        {change: func(m *email.Message) { m.To.Address = "a@x.org, b@x.org" }, kind: problem.Invalid, field: "to.address"},
		"AddressWithAName":    {change: func(m *email.Message) { m.To.Address = "Zoe <zoe@example.com>" }, kind: problem.Invalid, field: "to.address"},
		"HeaderInAddress":     {change: func(m *email.Message) { m.To.Address = "zoe@example.com\r\nBcc: all@example.com" }, kind: problem.Invalid, field: "to.address"},
		"LongAddress":         {change: func(m *email.Message) { m.To.Address = strings.Repeat("a", 250) + "@x.org" }, kind: problem.Invalid, field: "to.address"},
		"UnicodeAddress":      {change: func(m *email.Message) { m.To.Address = "zoë@example.com" }, kind: problem.Invalid, field: "to.address"},
		"LongestName":         {change: func(m *email.Message) { m.To.Name = strings.Repeat("ü", 100) + " " + strings.Repeat("ü", 100) }},
		"LongName":            {change: func(m *email.Message) { m.To.Name = strings.Repeat("ü", 202) }, kind: problem.Invalid, field: "to.name"},
		"HeaderInName":        {change: func(m *email.Message) { m.To.Name = "Zoe\r\nBcc: all@example.com" }, kind: problem.Invalid, field: "to.name"},
		"NoSubject":           {change: func(m *email.Message) { m.Subject = "" }, kind: problem.Invalid, field: "subject"},
		"HeaderInSubject":     {change: func(m *email.Message) { m.Subject = "Hi\nBcc: all@example.com" }, kind: problem.Invalid, field: "subject"},
		"LongSubject":         {change: func(m *email.Message) { m.Subject = strings.Repeat("ü", 251) }, kind: problem.Invalid, field: "subject"},
		"NoText":              {change: func(m *email.Message) { m.Text = "" }, kind: problem.Invalid, field: "text"},
		"LongHTML":            {change: func(m *email.Message) { m.HTML = strings.Repeat("x", email.MaxText+1) }, kind: problem.TooLarge, field: "html"},
		"FileWithAPath":       {change: func(m *email.Message) { m.Attachments[1].Filename = "../x.pdf" }, kind: problem.Invalid, field: "attachments[1].filename"},
		"FileWithAHeader":     {change: func(m *email.Message) { m.Attachments[0].Filename = "x\r\nX: y" }, kind: problem.Invalid, field: "attachments[0].filename"},
		"ContentTypeMissing":  {change: func(m *email.Message) { m.Attachments[0].ContentType = "" }, kind: problem.Invalid, field: "attachments[0].contentType"},
		"ContentTypeNested":   {change: func(m *email.Message) { m.Attachments[0].ContentType = "message/rfc822" }, kind: problem.Invalid, field: "attachments[0].contentType"},
		"ContentTypeInjects":  {change: func(m *email.Message) { m.Attachments[0].ContentType = "text/plain\r\nX: y" }, kind: problem.Invalid, field: "attachments[0].contentType"},
		"EmptyFile":           {change: func(m *email.Message) { m.Attachments[0].Content = nil }, kind: problem.Invalid, field: "attachments[0].content"},
		"TooManyFiles":        {change: func(m *email.Message) { m.Attachments = make([]email.Attachment, email.MaxAttachments+1) }, kind: problem.TooLarge, field: "attachments"},
		"TooLargeTogether":    {change: func(m *email.Message) { m.Attachments[0].Content = make([]byte, email.MaxAttachmentsBytes) }, kind: problem.TooLarge, field: "attachments"},
		"ContentTypeCharset":  {change: func(m *email.Message) { m.Attachments[0].ContentType = "text/plain; charset=utf-8" }, kind: problem.Invalid, field: "attachments[0].contentType"},
		"FileOfNothingButDot": {change: func(m *email.Message) { m.Attachments[0].Filename = ".." }, kind: problem.Invalid, field: "attachments[0].filename"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := message()
			tt.change(&m)

			err := m.Validate()

			if tt.field == "" {
				require.NoError(t, err)
				return
			}
			var p *problem.Error
			require.ErrorAs(t, err, &p)
			require.Equal(t, tt.field, p.Field)
			require.Equal(t, tt.kind, p.Kind)
		})
	}
}
