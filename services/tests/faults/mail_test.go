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

// postbox counts the mails that arrived in the sink.
type postbox struct {
	dir     string // the sink's
	arrived map[letter]int
	mails   int
}

// letter is a mail to somebody; what comes under the same id is the same one again.
type letter struct{ messageID, address string }

func (l letter) String() string { return l.messageID + " to " + l.address }

// empty counts what has arrived, and removes it: a sink that is killed reads all that it has before it goes on.
func (p *postbox) empty() error {
	files, err := filepath.Glob(filepath.Join(p.dir, "*.eml"))
	if err != nil {
		return fmt.Errorf("empty the mail sink: %w", err)
	}
	for _, path := range files {
		l, err := readLetter(path)
		if err != nil {
			return fmt.Errorf("empty the mail sink: %w", err)
		}
		if l.messageID != "" { // else the sink died before it had the whole head of it
			p.arrived[l]++
			p.mails++
		}
		attachments := strings.TrimSuffix(path, ".eml")
		if err := errors.Join(os.Remove(path), os.RemoveAll(attachments)); err != nil {
			return fmt.Errorf("empty the mail sink: %w", err)
		}
	}
	return nil
}

func readLetter(path string) (letter, error) {
	file, err := os.Open(path)
	if err != nil {
		return letter{}, err
	}
	defer file.Close()
	m, err := mail.ReadMessage(file)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return letter{}, nil
	}
	if err != nil {
		return letter{}, fmt.Errorf("%s: %w", path, err)
	}
	to, err := m.Header.AddressList("To")
	if err != nil || len(to) != 1 {
		return letter{}, fmt.Errorf("%s is not to one person: %v: %w", path, to, err)
	}
	id, _, _ := strings.Cut(strings.Trim(m.Header.Get("Message-Id"), "<>"), "@")
	return letter{id, to[0].Address}, nil
}

// repeated is how many mails were the same as one before: a process that dies after the mail server took a mail, and before
// it wrote that down, can only send it again.
func (p *postbox) repeated() int { return p.mails - len(p.arrived) }

// operations is where notification-service writes to when nobody else is to hear of it.
const operations = "operations@eventbooking.example"

// compare says which notifications did not arrive, and which mails nobody knows of: what was sent lies in the sink, and
// nothing else does.
func (p *postbox) compare(ctx context.Context, databases map[string]*pgxpool.Pool) (wrong []string, err error) {
	type person struct{ ID, Email string }
	people, err := query[person](ctx, databases["auth-service"], `SELECT id::text, email FROM users`)
	if err != nil {
		return nil, err
	}
	addresses := map[string]string{"00000000-0000-0000-0000-000000000000": operations}
	for _, person := range people {
		addresses[person.ID] = person.Email
	}
	type notification struct{ ID, MessageID, UserID, Kind, Status, Code string }
	told, err := query[notification](ctx, databases["notification-service"], `
		SELECT id::text, message_id::text, user_id::text, kind, status, coalesce(error_code, '') FROM notifications`)
	if err != nil {
		return nil, err
	}
	known := map[letter]bool{}
	for _, n := range told {
		l := letter{n.MessageID, addresses[n.UserID]}
		switch {
		case n.Status == "SENT" && p.arrived[l] == 0:
			wrong = append(wrong, fmt.Sprintf("%s %s is sent, and mail %s never arrived", n.Kind, n.ID, l))
		case n.Status != "SENT" && p.arrived[l] > 0:
			wrong = append(wrong, fmt.Sprintf("%s %s is %s %s, and mail %s arrived", n.Kind, n.ID, n.Status, n.Code, l))
		}
		known[l] = true
	}
	for l := range p.arrived {
		if !known[l] {
			wrong = append(wrong, fmt.Sprintf("mail %s arrived, and is of no notification", l))
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
