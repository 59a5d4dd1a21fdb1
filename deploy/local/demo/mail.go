package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Mail is an e-mail in the mail sink.
type Mail struct {
	ID          string       `json:"id"`
	From        []Address    `json:"from"`
	To          []Address    `json:"to"`
	Subject     string       `json:"subject"`
	Attachments []Attachment `json:"attachments"`
	Text        string       `json:"text"`
	HTML        string       `json:"html"`
}

// Address is a sender or a recipient of an e-mail.
type Address struct {
	Address string `json:"address"`
	Name    string `json:"name"`
}

// Attachment is a file that is attached to an e-mail.
type Attachment struct {
	Filename    string `json:"filename"`
	ContentType string `json:"contentType"`
	Size        int    `json:"size"`
	// Stored is the name under which the sink stores the file.
	Stored string `json:"generatedFileName"`
}

// Sink is the URL of the mail sink's web page and REST API.
type Sink string

// Inbox returns the e-mails to an address whose subject contains about, oldest first.
func (s Sink) Inbox(ctx context.Context, address, about string) ([]Mail, error) {
	content, err := s.get(ctx, "/api/email")
	if err != nil {
		return nil, err
	}
	var all, inbox []Mail
	if err := json.Unmarshal(content, &all); err != nil {
		return nil, fmt.Errorf("read the mail sink: %w", err)
	}
	for _, m := range all {
		for _, to := range m.To {
			if strings.EqualFold(to.Address, address) && strings.Contains(m.Subject, about) {
				inbox = append(inbox, m)
			}
		}
	}
	return inbox, nil
}

// Open returns the content of an attachment.
func (s Sink) Open(ctx context.Context, m Mail, a Attachment) ([]byte, error) {
	return s.get(ctx, "/api/email/"+url.PathEscape(m.ID)+"/attachment/"+url.PathEscape(a.Stored))
}

func (s Sink) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, string(s)+path, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("read the mail sink: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read the mail sink: %w", err)
	}
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("read the mail sink: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read the mail sink: %s %s", path, res.Status)
	}
	return content, nil
}
