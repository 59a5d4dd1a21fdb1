package email

import (
	"fmt"
	"mime"
	"net/mail"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// Message is one e-mail to one recipient.
type Message struct {
	ID          string
	To          mail.Address
	Subject     string
	Text        string
	HTML        string // the same content in HTML; may be empty
	Attachments []Attachment
	Bulk        bool // one of many messages
}

// Attachment is a file in a message.
type Attachment struct {
	Filename    string
	ContentType string
	Content     []byte
}

// Limits of a message: sizes in bytes, lengths in characters.
const (
	MaxAttachments      = 200
	MaxAttachmentsBytes = calls.MaxMailAttachments // of all attachments together, before base64
	MaxText             = calls.MaxMailText        // of the text, and of the HTML
	maxName             = 201                      // a first and a last name, of 100 characters each
	maxSubject          = 250
	maxAddress          = 254 // RFC 5321, section 4.5.3.1, with errata 1690
	maxFilename         = 150
)

// idForm matches ids that are valid left sides of a Message-ID (RFC 5322, section 3.6.4) after their colons, which are
// not allowed there, are replaced.
var idForm = regexp.MustCompile(`^[A-Za-z0-9_-]+([.:][A-Za-z0-9_-]+)*$`)

const maxID = 128

// Validate checks m and returns a *problem.Error that names the first invalid JSON field.
func (m Message) Validate() error {
	if len(m.ID) > maxID || !idForm.MatchString(m.ID) {
		return problem.Field("messageId", "messageId must be 1 to %d letters, digits, dashes or underscores, "+
			"with single dots or colons between them", maxID)
	}
	if err := checkAddress(m.To.Address); err != nil {
		return err
	}
	if err := checkLine("to.name", m.To.Name, maxName); err != nil {
		return err
	}
	if m.Subject == "" {
		return problem.Field("subject", "subject is required")
	}
	if err := checkLine("subject", m.Subject, maxSubject); err != nil {
		return err
	}
	if m.Text == "" {
		return problem.Field("text", "text is required")
	}
	for field, body := range map[string]string{"text": m.Text, "html": m.HTML} {
		if len(body) > MaxText {
			return tooLarge(field, "%s must be at most %d bytes", field, MaxText)
		}
	}
	if len(m.Attachments) > MaxAttachments {
		return tooLarge("attachments", "at most %d attachments fit into a message", MaxAttachments)
	}
	size := 0
	for i, attachment := range m.Attachments {
		if err := attachment.validate(fmt.Sprintf("attachments[%d]", i)); err != nil {
			return err
		}
		size += len(attachment.Content)
	}
	if size > MaxAttachmentsBytes {
		return tooLarge("attachments", "attachments must be at most %d bytes together", MaxAttachmentsBytes)
	}
	return nil
}

// checkAddress accepts a bare RFC 5322 addr-spec in ASCII. It refuses quoted local parts, because such mailboxes are
// very rare and mail servers disagree about them.
func checkAddress(address string) error {
	const field = "to.address"
	if len(address) > maxAddress {
		return problem.Field(field, "the address must be at most %d characters", maxAddress)
	}
	parsed, err := mail.ParseAddress(address)
	if err != nil || parsed.Address != address || parsed.Name != "" {
		return problem.Field(field, "the address must be a valid e-mail address").Because(err)
	}
	for _, r := range address {
		if r > unicode.MaxASCII {
			return problem.Field(field, "the address must be in ASCII (its domain in Punycode)")
		}
	}
	return nil
}

// checkLine accepts a value for a header: one line of at most limit characters without control characters.
func checkLine(field, value string, limit int) error {
	if utf8.RuneCountInString(value) > limit {
		return problem.Field(field, "%s must be at most %d characters", field, limit)
	}
	if strings.ContainsFunc(value, unicode.IsControl) {
		return problem.Field(field, "%s must not contain line breaks or other control characters", field)
	}
	return nil
}

func (a Attachment) validate(field string) error {
	if a.Filename == "" || strings.ContainsAny(a.Filename, `/\"`) || strings.Trim(a.Filename, ".") == "" {
		return problem.Field(field+".filename", "the file name must be a plain name without a path or quotes")
	}
	if err := checkLine(field+".filename", a.Filename, maxFilename); err != nil {
		return err
	}
	mediaType, parameters, err := mime.ParseMediaType(a.ContentType)
	main, sub, slash := strings.Cut(mediaType, "/")
	if err != nil || !slash || sub == "" || len(parameters) > 0 || main == "multipart" || main == "message" {
		return problem.Field(field+".contentType", "the content type must be a plain type/subtype of a file").Because(err)
	}
	if len(a.Content) == 0 {
		return problem.Field(field+".content", "the content must not be empty")
	}
	return nil
}

func tooLarge(field, format string, args ...any) error {
	p := problem.New(problem.TooLarge, "MESSAGE_TOO_LARGE", format, args...)
	p.Field = field
	return p
}
