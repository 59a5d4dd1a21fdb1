// Package httpapi is email-service's HTTP API: /api/email/internal, for notification-service alone.
package httpapi

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/mail"

	"github.com/gorilla/mux"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/email-service/internal/email"
	"github.com/eventbooking/eventbooking/services/internal/identity"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

// maxBody leaves room for the attachments in base64, both texts with every byte escaped, and the rest.
const maxBody = email.MaxAttachmentsBytes*4/3 + 2*2*email.MaxText + 64<<10

// New gives the API. Package calls says who may call it, by its sidecar. Without states, the state store, it can
// send nothing.
func New(sender *email.Sender, guard identity.Guard, states web.Check) *mux.Router {
	r := web.NewRouter()
	// The SMTP server's health is not ours: taken out of service, we could not even say that it is away.
	web.Health(r, states)
	web.Docs(r, "email-service")
	guard.Service(r, calls.SendMail.Route, send(sender))
	return r
}

func send(sender *email.Sender) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		var in calls.SendMailRequest
		if err := web.DecodeUpTo(w, r, maxBody, &in); err != nil {
			return err
		}
		message := email.Message{
			ID:      in.MessageID,
			To:      mail.Address{Name: in.To.Name, Address: in.To.Address},
			Subject: in.Subject,
			Text:    in.Text,
			HTML:    in.HTML,
		}
		for i, attachment := range in.Attachments {
			content, err := base64.StdEncoding.DecodeString(attachment.Content)
			if err != nil {
				return problem.Field(fmt.Sprintf("attachments[%d].content", i), "the content must be base64").Because(err)
			}
			message.Attachments = append(message.Attachments, email.Attachment{
				Filename:    attachment.Filename,
				ContentType: attachment.ContentType,
				Content:     content,
			})
		}
		if err := sender.Send(r.Context(), message); err != nil {
			return err
		}
		return web.WriteJSON(w, http.StatusOK, calls.SendMailAnswer{MessageID: message.ID, Accepted: true})
	}
}
