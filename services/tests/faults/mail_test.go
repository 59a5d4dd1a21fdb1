package faults_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// mailbox counts the mails that the mail sink received.
type mailbox struct {
	dir     string // the sink's directory
	arrived map[mailID]int
	total   int
}

// mailID identifies a mail to one address. Mails with the same mailID are duplicates.
type mailID struct{ messageID, address string }

func (m mailID) String() string { return m.messageID + " to " + m.address }

// collect counts the mails in the sink's directory and removes them. Otherwise a killed sink would read all of them
// again when it starts.
func (m *mailbox) collect() error {
	files, err := filepath.Glob(filepath.Join(m.dir, "*.eml"))
	if err != nil {
		return fmt.Errorf("collect the mails: %w", err)
	}
	for _, path := range files {
		id, err := readMail(path)
		if err != nil {
			return fmt.Errorf("collect the mails: %w", err)
		}
		if id.messageID != "" { // otherwise the sink died before it had written all headers
			m.arrived[id]++
			m.total++
		}
		attachments := strings.TrimSuffix(path, ".eml")
		if err := errors.Join(os.Remove(path), os.RemoveAll(attachments)); err != nil {
			return fmt.Errorf("collect the mails: %w", err)
		}
	}
	return nil
}

// readMail returns the id of a mail, or an empty one if the mail's headers are incomplete.
func readMail(path string) (mailID, error) {
	file, err := os.Open(path)
	if err != nil {
		return mailID{}, err
	}
	defer file.Close()
	m, err := mail.ReadMessage(file)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return mailID{}, nil
	}
	if err != nil {
		return mailID{}, fmt.Errorf("%s: %w", path, err)
	}
	to, err := m.Header.AddressList("To")
	if err != nil || len(to) != 1 {
		return mailID{}, fmt.Errorf("%s does not have exactly one recipient: %v: %w", path, to, err)
	}
	id, _, _ := strings.Cut(strings.Trim(m.Header.Get("Message-Id"), "<>"), "@")
	return mailID{id, to[0].Address}, nil
}

// duplicates returns how many mails repeated an earlier one. They cannot be avoided: a process that dies after the mail
// server accepted a mail, and before it has recorded that, must send the mail again.
func (m *mailbox) duplicates() int { return m.total - len(m.arrived) }

// operations is the address to which notification-service sends alerts to operations.
const operations = "operations@eventbooking.example"

// compare compares the mails with the notifications. A superseded notification may have a mail: the process that sent
// it may have died before it stored that. compare returns a description of each sent notification without a mail, of
// each unsent notification with a mail, and of each mail without a notification.
func (m *mailbox) compare(ctx context.Context, databases map[string]*pgxpool.Pool) (wrong []string, err error) {
	type user struct{ ID, Email string }
	users, err := query[user](ctx, databases["auth-service"], `SELECT id::text, email FROM users`)
	if err != nil {
		return nil, err
	}
	addresses := map[string]string{"00000000-0000-0000-0000-000000000000": operations}
	for _, u := range users {
		addresses[u.ID] = u.Email
	}
	type notification struct{ ID, MessageID, UserID, Kind, Status, Code string }
	notifications, err := query[notification](ctx, databases["notification-service"], `
		SELECT id::text, message_id::text, user_id::text, kind, status, coalesce(error_code, '') FROM notifications`)
	if err != nil {
		return nil, err
	}
	known := map[mailID]bool{}
	for _, n := range notifications {
		id := mailID{n.MessageID, addresses[n.UserID]}
		switch {
		case n.Status == "SENT" && m.arrived[id] == 0:
			wrong = append(wrong, fmt.Sprintf("%s %s is sent, and mail %s did not arrive", n.Kind, n.ID, id))
		case n.Status != "SENT" && n.Status != "SUPERSEDED" && m.arrived[id] > 0:
			wrong = append(wrong, fmt.Sprintf("%s %s is %s %s, and mail %s arrived", n.Kind, n.ID, n.Status, n.Code, id))
		}
		known[id] = true
	}
	for id := range m.arrived {
		if !known[id] {
			wrong = append(wrong, fmt.Sprintf("mail %s arrived, and belongs to no notification", id))
		}
	}
	return wrong, nil
}

func query[T any](ctx context.Context, db *pgxpool.Pool, sql string) ([]T, error) {
	found, err := db.Query(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("compare the mails: %w", err)
	}
	return pgx.CollectRows(found, pgx.RowToStructByPos[T])
}
