package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrLost says that the database lacks changes that this replica has seen: its
// log was cut off, or it was set back.
var ErrLost = errors.New("acknowledged changes are missing")

// A seen is a note beside the store, outside the database, of how far along the
// audit chain this replica has seen it. A database cannot tell that its own end
// is missing; the note can (ST-05, ST-14).
//
// It is written in place and not synced. After a power cut it may say less than
// was seen, and then misses something; it never says more, because the database
// has synced a change before anybody sees it.
type seen struct {
	file *os.File // nil for a store without a directory
	seq  int64
}

const seenName = "seen"

func openSeen(dir string) (*seen, error) {
	if dir == "" {
		return &seen{}, nil
	}
	f, err := os.OpenFile(filepath.Join(dir, seenName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("how far the store was seen: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, 64))
	s := &seen{file: f}
	if line := strings.TrimSpace(string(text)); err == nil && line != "" {
		s.seq, err = strconv.ParseInt(line, 10, 64)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("how far the store was seen, %s: %w", f.Name(), err)
	}
	return s, nil
}

// check compares the note with the end of the chain. With accept set, what is
// missing is given up.
func (s *seen) check(end int64, accept bool) error {
	if end >= s.seq || accept {
		s.seq = end
		return s.write()
	}
	return fmt.Errorf("the store ends at change %d, this replica has seen change %d: %w: %d of them", end, s.seq, ErrLost, s.seq-end)
}

// note remembers that the chain was seen up to seq.
func (s *seen) note(seq int64) error {
	if seq <= s.seq {
		return nil
	}
	s.seq = seq
	return s.write()
}

func (s *seen) write() error {
	if s.file == nil {
		return nil
	}
	// Always the same length, so that it never needs another block of the disk.
	_, err := s.file.WriteAt(fmt.Appendf(nil, "%020d\n", s.seq), 0)
	return err
}

func (s *seen) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
