package house

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/store"
)

// A Dir is the data directory of one house. Nobody but its owner may look into it.
//
//	version              of this layout
//	lock                 held while a house runs here
//	ca.crt               who signs the house's serving certificate; for clients
//	operator.json        the credential of the operator, see Operator
//	proxy                where the proxy of the running house listens
//	shell/               the configuration of clients in gatehouse shell
//	sample-password      the password of the sample estate's people
//	key                  what seals private state in the store
//	store/               which store the directory belongs to
//	etcd/                the embedded etcd
//	pki/                 certificates of the embedded etcd
//	clusters/{name}/     one directory for each control plane
type Dir string

func (d Dir) path(parts ...string) string {
	return filepath.Join(append([]string{string(d)}, parts...)...)
}

// CA is the file of the authority that clients must trust.
func (d Dir) CA() string { return d.path("ca.crt") }

// Operator is the file of the operator's credential.
func (d Dir) Operator() string { return d.path("operator.json") }

// Shell is the folder of what clients in gatehouse shell keep.
func (d Dir) Shell() string { return d.path("shell") }

// Proxy is where the proxy of the house listens that runs here, or ran here last.
// The error wraps fs.ErrNotExist when that house has none.
func (d Dir) Proxy() (string, error) {
	addr, err := os.ReadFile(d.path("proxy"))
	return strings.TrimSpace(string(addr)), err
}

// noteProxy lets clients find the proxy; with no address there is none.
func (d Dir) noteProxy(addr string) error {
	if addr != "" {
		return write(d.path("proxy"), []byte(addr+"\n"))
	}
	if err := os.Remove(d.path("proxy")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// SamplePassword is the file with the password of the sample estate's people.
func (d Dir) SamplePassword() string { return d.path("sample-password") }

// layoutVersion is that of the files of a data directory. What the store holds
// has a version of its own.
const layoutVersion = "1"

// prepare makes the directory, and refuses one that others can look into (ZA-03)
// or that another version laid out.
func (d Dir) prepare() error {
	if err := d.make(); err != nil {
		return err
	}
	was, err := os.ReadFile(d.path("version"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := write(d.path("version"), []byte(layoutVersion+"\n")); err != nil {
			return err
		}
	case err != nil:
		return err
	case strings.TrimSpace(string(was)) != layoutVersion:
		return fmt.Errorf("data directory %s has layout %.20q, this version of gatehouse reads %q: run the version that made it, or begin a new directory with --dir",
			d.path(), strings.TrimSpace(string(was)), layoutVersion)
	}
	for _, p := range []string{"store", "pki", "clusters"} {
		if err := os.MkdirAll(d.path(p), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// make makes the directory if it is missing, and checks who can look into it.
func (d Dir) make() error {
	if err := os.MkdirAll(d.path(), 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	info, err := os.Stat(d.path())
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("data directory %s can be read by others (mode %04o); run: chmod 700 %s", d.path(), info.Mode().Perm(), d.path())
	}
	return nil
}

// empty reports whether no house has come as far here as having a store. It asks
// for the note about the store and not for the key: who is interrupted between
// the two begins again.
func (d Dir) empty() (bool, error) {
	_, err := os.Stat(d.path("store", "store-id"))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return false, err
}

// write replaces a file in one step; only the owner can read it.
func write(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(data); err != nil {
		tmp.Close()
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := tmp.Sync(); err != nil {
		tmp.Close()
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := tmp.Close(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(tmp.Name(), path)
}

// joins checks that a directory may be bound to the store in an external etcd: a
// further replica brings the key of the others, which only a first one makes.
func (d Dir) joins(ctx context.Context, kv store.KV) error {
	_, err := os.Stat(d.path("key"))
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	page, err := kv.Range(ctx, store.Prefix, "", 1, 0)
	if err != nil {
		return fmt.Errorf("look into the external etcd: %w", err)
	}
	if len(page.Items) > 0 {
		return fmt.Errorf("the external etcd holds a store already: to run a further replica of it, copy the file key from the data directory of another replica to %s", d.path("key"))
	}
	return nil
}
