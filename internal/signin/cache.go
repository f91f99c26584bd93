package signin

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/oauth2"
)

// file is the name of the token's file: a digest over everything that tells
// tokens apart, each part with its length, so that no two settings share a file.
func (c Config) file() string {
	h := sha256.New()
	for _, part := range []string{c.Authority, c.Tenant, c.ClientID, c.Resource, c.Method, c.Username} {
		fmt.Fprintf(h, "%d:%s;", len(part), part)
	}
	return filepath.Join(c.Cache, hex.EncodeToString(h.Sum(nil))+".json")
}

// A kept token is one in the cache, with who was given it last.
type kept struct {
	oauth2.Token
	Asker string `json:"asker,omitempty"`
}

// load returns the kept token. What cannot be read is no token.
func (c Config) load() *kept {
	if c.Cache == "" {
		return nil
	}
	info, err := os.Stat(c.file())
	if err != nil || info.Mode().Perm()&0o077 != 0 {
		return nil
	}
	data, err := os.ReadFile(c.file())
	if err != nil {
		return nil
	}
	tok := new(kept)
	if json.Unmarshal(data, tok) != nil {
		return nil
	}
	return tok
}

// save keeps a token for the next time; only its owner can read it.
func (c Config) save(tok *oauth2.Token) error {
	if c.Cache == "" {
		return nil
	}
	if err := os.MkdirAll(c.Cache, 0o700); err != nil {
		return err
	}
	data, err := json.Marshal(kept{*tok, c.Asker})
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(c.Cache, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err := errors.Join(err, tmp.Close()); err != nil {
		return fmt.Errorf("keep the token: %w", err)
	}
	return os.Rename(tmp.Name(), c.file())
}
