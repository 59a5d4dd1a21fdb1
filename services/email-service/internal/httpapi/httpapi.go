// Package httpapi is email-service's HTTP API: one internal route, for notification-service.
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

// New returns a router with the routes of email-service. states checks the state store, without which no message can be
// sent. The SMTP server has no check: if its failure made the service unhealthy, callers would get no answer instead of
// ErrUnavailable.
func New(sender *email.Sender, guard identity.Guard, states web.Check) *mux.Router {
	r := web.NewRouter()
	web.Health(r, states)
	web.Docs(r, "email-service")
	guard.Service(r, calls.SendMail.Route, send(sender))
	return r
}

func send(sender *email.Sender) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		var in calls.SendMailRequest
		if err := web.DecodeUpTo(w, r, calls.MaxBody, &in); err != nil {
			return err
		}
		message := email.Message{
			ID:      in.MessageID,
			To:      mail.Address{Name: in.To.Name, Address: in.To.Address},
			Subject: in.Subject,
			Text:    in.Text,
			HTML:    in.HTML,
			Bulk:    in.Bulk,
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
