package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/record"
)

// schema is the version of everything this package writes.
const schema = 1

// markerName is the file that notes which store a data directory belongs to.
const markerName = "store-id"

// meta is the one value under metaKey: what the store is.
type meta struct {
	Schema int    `json:"schema"`
	ID     string `json:"id"`
	Epoch  int64  `json:"epoch"`
	// Upgrading is set while values are rewritten for the next schema; whoever
	// finds it goes on after the key After.
	Upgrading bool   `json:"upgrading,omitzero"`
	After     string `json:"after,omitzero"`
}

// readMeta returns the meta value, its revision (0 if there is none) and the
// newest revision of the database.
func (s *Store) readMeta(ctx context.Context) (m meta, rev, newest int64, err error) {
	item, newest, err := s.kv.Get(ctx, metaKey)
	if err != nil || item.Rev == 0 {
		return meta{}, 0, newest, err
	}
	if err := record.Unmarshal(item.Value, &m); err != nil {
		return meta{}, 0, newest, fmt.Errorf("%s: %w: %w", metaKey, ErrSchema, err)
	}
	if m.Schema > schema {
		return meta{}, 0, newest, fmt.Errorf("the store has schema %d, this version knows up to %d: %w", m.Schema, schema, ErrSchema)
	}
	return m, item.Rev, newest, nil
}

// CheckDir refuses a data directory that others may touch, or that no store was
// ever created in unless init is set. It is asked before an embedded database is
// started there, which would fill an empty directory.
func CheckDir(dir string, init bool) error {
	info, err := os.Stat(dir)
	if init && errors.Is(err, fs.ErrNotExist) {
		return os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if err := closed(info); err != nil {
		return fmt.Errorf("data directory %s: %w", dir, err)
	}
	if id, err := readMarker(dir); err != nil {
		return err
	} else if id == "" && !init {
		return fmt.Errorf("data directory %s has no store in it: %w (a first start says so explicitly)", dir, ErrForeign)
	}
	return nil
}

func readMarker(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, markerName))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("which store %s belongs to: %w", dir, err)
	}
	id := strings.TrimSpace(string(b))
	if id == "" {
		return "", fmt.Errorf("%s is empty: %w", filepath.Join(dir, markerName), ErrForeign)
	}
	return id, nil
}

// pair finds out which store this is, or creates it, and makes sure that the
// directory and the key belong to it.
func (s *Store) pair(ctx context.Context, cfg Config) error {
	marker := ""
	if cfg.Dir != "" {
		if err := CheckDir(cfg.Dir, cfg.Init); err != nil {
			return err
		}
		var err error
		if marker, err = readMarker(cfg.Dir); err != nil {
			return err
		}
	}
	m, rev, _, err := s.readMeta(ctx)
	if err != nil {
		return err
	}
	switch {
	case rev == 0 && marker != "":
		return fmt.Errorf("data directory %s belongs to store %s, but the database is empty: %w", cfg.Dir, marker, ErrForeign)
	case rev == 0 && !cfg.Init:
		return fmt.Errorf("the database is empty: %w (a first start says so explicitly)", ErrForeign)
	case rev == 0:
		if m, err = s.create(ctx); err != nil {
			return err
		}
	case marker != "" && marker != m.ID:
		return fmt.Errorf("data directory %s belongs to store %s, the database holds %s: %w", cfg.Dir, marker, m.ID, ErrForeign)
	case marker == "" && cfg.Dir != "" && !cfg.Init:
		return fmt.Errorf("data directory %s has no store in it, the database holds %s: %w", cfg.Dir, m.ID, ErrForeign)
	}
	s.id = m.ID
	s.epoch.Store(m.Epoch)
	// The chain's head is sealed, so reading it proves the key.
	if _, _, err := s.readHead(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrForeign, err)
	}
	if marker == "" && cfg.Dir != "" {
		if err := writeSynced(filepath.Join(cfg.Dir, markerName), []byte(m.ID+"\n")); err != nil {
			return fmt.Errorf("note the store in %s: %w", cfg.Dir, err)
		}
	}
	return nil
}

// create makes a new store: its identity and the beginning of its audit chain.
// If another replica was faster, it returns the other's.
func (s *Store) create(ctx context.Context) (meta, error) {
	// Whatever lies there without a meta key is the rest of another store.
	if page, err := s.kv.Range(ctx, root, "", 1, 0); err != nil {
		return meta{}, err
	} else if len(page.Items) > 0 && page.Items[0].Key != metaKey {
		return meta{}, fmt.Errorf("the database has %s but no identity: %w", page.Items[0].Key, ErrForeign)
	}
	var id [16]byte
	rand.Read(id[:])
	m := meta{Schema: schema, ID: hex.EncodeToString(id[:]), Epoch: 1}
	value, err := record.Marshal(m)
	if err != nil {
		return meta{}, err
	}
	s.id = m.ID
	begin, err := s.encodeHead(head{})
	if err != nil {
		return meta{}, err
	}
	_, ok, err := s.kv.Txn(ctx, []Cond{{Key: metaKey}, {Key: headKey}}, []Write{{Key: metaKey, Value: value}, {Key: headKey, Value: begin}})
	if err != nil {
		return meta{}, fmt.Errorf("create: %w", err)
	}
	if !ok {
		m, rev, _, err := s.readMeta(ctx)
		if err == nil && rev == 0 {
			err = ErrForeign
		}
		return m, err
	}
	return m, nil
}
