package calls

import (
	"net/http"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
)

// SendMail sends an e-mail. It is idempotent by the message id and the only internal route of email-service.
var SendMail = Endpoint[SendMailRequest, SendMailAnswer]{Route{
	App: emailService, Method: http.MethodPost, Path: "/api/email/internal/messages",
	Callers:  []string{notificationService},
	Refusals: []problem.Kind{problem.Invalid, problem.Conflict, problem.TooLarge, problem.Unprocessable},
}}

// Limits of a mail in bytes. With them, a request is smaller than MaxBody: attachments become a third larger in base64,
// and a character of a text has up to six bytes in JSON.
const (
	MaxMailText        = 64 << 10   // of the text, and of the HTML
	MaxMailAttachments = 2304 << 10 // of all attachments together
)

// SendMailRequest is the request of [SendMail].
type SendMailRequest struct {
	MessageID   string           `json:"messageId"`
	To          MailRecipient    `json:"to"`
	Subject     string           `json:"subject"`
	Text        string           `json:"text"`
	HTML        string           `json:"html"`
	Attachments []MailAttachment `json:"attachments"`
	// Bulk is set for one of many mails, which must not take all connections to the mail server.
	Bulk bool `json:"bulk,omitempty"`
}

// MailRecipient is the addressee of an e-mail.
type MailRecipient struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

// MailAttachment is a file in an e-mail.
type MailAttachment struct {
	Filename    string `json:"filename"`
	ContentType string `json:"contentType"`
	Content     string `json:"content"` // base64; a string, so that the callee can name the field of a malformed one
}

// SendMailAnswer is the answer of [SendMail].
type SendMailAnswer struct {
	MessageID string `json:"messageId"`
	Accepted  bool   `json:"accepted"`
}
