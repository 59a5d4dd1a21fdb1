package email_test

import (
	"net/mail"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/email-service/internal/email"
)

// message returns a valid message.
func message() email.Message {
	return email.Message{
		ID:      "order-confirmation:cc0e8400-e29b-41d4-a716-446655440000",
		To:      mail.Address{Name: "Zoë \"Z\" Müller", Address: "zoe@example.com"},
		Subject: "Your tickets – Frühlingsfest",
		Text:    "Hello Zoë,\n.\nyour tickets are attached.\n",
		HTML:    "<p>Hello <b>Zoë</b></p>",
		Attachments: []email.Attachment{
			{
				Filename: "TKT-2026-000001.pdf", ContentType: "application/pdf",
				Content: []byte("%PDF-1.7 \x00\xff first"),
			},
			{
				Filename: "Eintrittskarte für zwei.pdf", ContentType: "application/pdf",
				Content: []byte("%PDF-1.7 second"),
			},
		},
	}
}

func TestValidateAccepts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*email.Message)
	}{
		{"Message", func(*email.Message) {}},
		{"NoName", func(m *email.Message) { m.To.Name = "" }},
		{"LongestName", func(m *email.Message) {
			m.To.Name = strings.Repeat("ü", 100) + " " + strings.Repeat("ü", 100)
		}},
		{"NoHTML", func(m *email.Message) { m.HTML = "" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := message()
			tt.change(&m)
			require.NoError(t, m.Validate())
		})
	}
}

func TestValidateRefusesInvalidFields(t *testing.T) {
	t.Parallel()
	address := func(a string) func(*email.Message) { return func(m *email.Message) { m.To.Address = a } }
	contentType := func(c string) func(*email.Message) {
		return func(m *email.Message) { m.Attachments[0].ContentType = c }
	}
	for _, tt := range []struct {
		name, field string
		change      func(*email.Message)
	}{
		{"NoID", "messageId", func(m *email.Message) { m.ID = "" }},
		{"IDWithSpace", "messageId", func(m *email.Message) { m.ID = "a b" }},
		{"IDWithAt", "messageId", func(m *email.Message) { m.ID = "a@b" }},
		{"IDWithTwoDots", "messageId", func(m *email.Message) { m.ID = "a..b" }},
		{"NoAddress", "to.address", address("")},
		{"NotAnAddress", "to.address", address("zoe")},
		{"TwoAddresses", "to.address", address("a@x.org, b@x.org")},
		{"AddressWithName", "to.address", address("Zoe <zoe@example.com>")},
		{"AddressWithHeader", "to.address", address("zoe@example.com\r\nBcc: all@example.com")},
		{"LongAddress", "to.address", address(strings.Repeat("a", 250) + "@x.org")},
		{"UnicodeAddress", "to.address", address("zoë@example.com")},
		{"LongName", "to.name", func(m *email.Message) { m.To.Name = strings.Repeat("ü", 202) }},
		{"NameWithHeader", "to.name", func(m *email.Message) { m.To.Name = "Zoe\r\nBcc: all@example.com" }},
		{"NoSubject", "subject", func(m *email.Message) { m.Subject = "" }},
		{"SubjectWithHeader", "subject", func(m *email.Message) { m.Subject = "Hi\nBcc: all@example.com" }},
		{"LongSubject", "subject", func(m *email.Message) { m.Subject = strings.Repeat("ü", 251) }},
		{"NoText", "text", func(m *email.Message) { m.Text = "" }},
		{"FilenameWithPath", "attachments[1].filename", func(m *email.Message) {
			m.Attachments[1].Filename = "../x.pdf"
		}},
		{"FilenameWithHeader", "attachments[0].filename", func(m *email.Message) {
			m.Attachments[0].Filename = "x\r\nX: y"
		}},
		{"FilenameOfDots", "attachments[0].filename", func(m *email.Message) { m.Attachments[0].Filename = ".." }},
		{"NoContentType", "attachments[0].contentType", contentType("")},
		{"NestedContentType", "attachments[0].contentType", contentType("message/rfc822")},
		{"ContentTypeWithHeader", "attachments[0].contentType", contentType("text/plain\r\nX: y")},
		{"ContentTypeWithCharset", "attachments[0].contentType", contentType("text/plain; charset=utf-8")},
		{"NoContent", "attachments[0].content", func(m *email.Message) { m.Attachments[0].Content = nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := message()
			tt.change(&m)
			requireRefused(t, m, problem.Invalid, tt.field)
		})
	}
}

func TestValidateRefusesLargeMessages(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, field string
		change      func(*email.Message)
	}{
		{"LongHTML", "html", func(m *email.Message) { m.HTML = strings.Repeat("x", email.MaxText+1) }},
		{"TooManyAttachments", "attachments", func(m *email.Message) {
			m.Attachments = make([]email.Attachment, email.MaxAttachments+1)
		}},
		{"LargeAttachments", "attachments", func(m *email.Message) {
			m.Attachments[0].Content = make([]byte, email.MaxAttachmentsBytes)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := message()
			tt.change(&m)
			requireRefused(t, m, problem.TooLarge, tt.field)
		})
	}
}

// requireRefused asserts that Validate refuses m because of the field.
func requireRefused(t *testing.T, m email.Message, kind problem.Kind, field string) {
	t.Helper()
	var p *problem.Error
	require.ErrorAs(t, m.Validate(), &p)
	require.Equal(t, field, p.Field)
	require.Equal(t, kind, p.Kind)
}
