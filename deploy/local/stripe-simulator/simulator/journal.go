package simulator

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// entry is one committed change: the objects that it changed and, for a request, the answer saved under its key. All
// are in one line of the journal, so that none exists without the others.
type entry struct {
	Intent  *storedIntent `json:"intent,omitempty"`
	Refund  *storedRefund `json:"refund,omitempty"`
	Dispute *dispute      `json:"dispute,omitempty"`
	Key     string        `json:"key,omitempty"`
	Answer  *savedAnswer  `json:"answer,omitempty"`

	// news are the webhook events of the change. They are not in the journal.
	news []announcement
}

// announcement is the type and the object of a webhook event.
type announcement struct {
	eventType string
	object    any
}

// journal is an append-only file of JSON lines.
type journal struct {
	file *os.File
	// broken is the error of the first append that failed. After it the end of the file is unknown, and a further line
	// could follow a torn one, which the next start would refuse.
	broken error
}

// openJournal opens or creates the journal in dir and calls apply with every entry. It truncates a torn last line. It
// returns an error when the file is damaged anywhere else, or when another process has it open.
func openJournal(dir string, apply func(entry)) (*journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "journal.jsonl")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	j := &journal{file: file}
	if err := j.load(dir, apply); err != nil {
		return nil, errors.Join(fmt.Errorf("journal %s: %w", path, err), file.Close())
	}
	return j, nil
}

func (j *journal) load(dir string, apply func(entry)) error {
	if err := syscall.Flock(int(j.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("in use by another simulator: %w", err)
	}
	reader := bufio.NewReader(j.file)
	var good int64
	for number := 1; ; number++ {
		line, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break // a line without its newline was never synced, so its request was never answered
		}
		if err != nil {
			return err
		}
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			// The blocks of a torn write may reach the disk in any order, so the last line may be damaged anywhere.
			if _, err := reader.Peek(1); errors.Is(err, io.EOF) {
				break
			}
			return fmt.Errorf("line %d: %w", number, err)
		}
		apply(e)
		good += int64(len(line))
	}
	if err := j.file.Truncate(good); err != nil {
		return err
	}
	if _, err := j.file.Seek(good, io.SeekStart); err != nil {
		return err
	}
	if err := j.file.Sync(); err != nil {
		return err
	}
	parent, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// append writes e and returns when it is on disk. After an error every later append fails with the same error.
func (j *journal) append(e entry) error {
	if j.broken != nil {
		return j.broken
	}
	var line bytes.Buffer
	if err := json.NewEncoder(&line).Encode(e); err != nil {
		return err
	}
	if _, err := j.file.Write(line.Bytes()); err != nil {
		j.broken = fmt.Errorf("write journal: %w", err)
		return j.broken
	}
	if err := j.file.Sync(); err != nil {
		j.broken = fmt.Errorf("sync journal: %w", err)
		return j.broken
	}
	return nil
}

func (j *journal) close() error { return j.file.Close() }
