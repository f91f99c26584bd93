package house

import (
	"fmt"
	"os"
	"path/filepath"
)

// A Dir is the data directory of one house. Nobody but its owner may look into it.
//
//	ca.crt               who signs the house's serving certificate; for clients
//	operator.json        the credential of the operator, see Operator
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

// SamplePassword is the file with the password of the sample estate's people.
func (d Dir) SamplePassword() string { return d.path("sample-password") }

// prepare makes the directory, and refuses one that others can look into (ZA-03).
func (d Dir) prepare() error {
	for _, p := range []string{d.path(), d.path("store"), d.path("pki"), d.path("clusters")} {
		if err := os.MkdirAll(p, 0o700); err != nil {
			return err
		}
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

// empty reports whether no house has lived here.
func (d Dir) empty() (bool, error) {
	_, err := os.Stat(d.path("key"))
	if os.IsNotExist(err) {
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
