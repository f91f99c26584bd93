package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/gatehouse-io/gatehouse/internal/loopback"
)

// A layout is the data directory of one cluster. Everything about the cluster
// that is not in etcd is here, so that the house finds it again:
//
//	cluster.json   what must stay the same: version, scope, port
//	lock           held while a house runs the cluster
//	pki/           certificate authorities, keys and certificates
//	config/        what the control plane's programs are started with
//	run/           which processes run
//	log/           what they print; the previous start's as *.old
type layout struct{ dir string }

func (l layout) pki(name string) string    { return filepath.Join(l.dir, "pki", name) }
func (l layout) config(name string) string { return filepath.Join(l.dir, "config", name) }
func (l layout) run(name string) string    { return filepath.Join(l.dir, "run", name+".json") }
func (l layout) log(name string) string    { return filepath.Join(l.dir, "log", name+".log") }

// make creates the directories, and closes those that others could enter.
func (l layout) make() error {
	for _, d := range []string{l.dir, l.pki(""), l.config(""), filepath.Join(l.dir, "run"), filepath.Join(l.dir, "log")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
		if err := os.Chmod(d, 0o700); err != nil {
			return err
		}
	}
	return nil
}

// write replaces a file in one step: a reader sees the old text or the new one,
// also when the house dies in between. Nobody but the owner can read it.
func write(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}

// Memory is what a data directory remembers about its cluster.
type Memory struct {
	Version int    `json:"version"`
	Scope   string `json:"scope"`
	UID     string `json:"uid,omitempty"`
	Port    int    `json:"port"`
}

const memoryVersion = 1

// Remember returns what the data directory dir remembers. The error wraps
// fs.ErrNotExist when no cluster has lived there.
func Remember(dir string) (Memory, error) {
	data, err := os.ReadFile(filepath.Join(dir, "cluster.json"))
	if err != nil {
		return Memory{}, err
	}
	var m Memory
	if err := json.Unmarshal(data, &m); err != nil {
		return Memory{}, fmt.Errorf("%s: %w", filepath.Join(dir, "cluster.json"), err)
	}
	if m.Version != memoryVersion {
		return Memory{}, fmt.Errorf("%s was written by another version of the house (%d, this one reads %d)", dir, m.Version, memoryVersion)
	}
	return m, nil
}

// settle returns what the cluster is to remember, and writes it when it is new. A
// port that it chose is held until it is closed.
func (l layout) settle(conf Config) (_ Memory, port *loopback.Port, err error) {
	was, err := Remember(l.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		was = Memory{Version: memoryVersion, Scope: conf.Scope.String(), UID: conf.UID, Port: conf.Port}
	case err != nil:
		return Memory{}, nil, err
	case was.Scope != conf.Scope.String():
		// Two clusters in one directory would share keys and an etcd prefix.
		return Memory{}, nil, fmt.Errorf("%s holds the cluster %s, not %s", l.dir, was.Scope, conf.Scope)
	case was.UID != "" && conf.UID != "" && was.UID != conf.UID:
		return Memory{}, nil, fmt.Errorf("%s holds an earlier cluster %s, which was deleted: %s, not %s", l.dir, conf.Scope, was.UID, conf.UID)
	case conf.Port != 0:
		was.Port = conf.Port
	}
	if was.UID == "" {
		was.UID = conf.UID
	}
	if was.Port == 0 {
		if port, err = loopback.Take(); err != nil {
			return Memory{}, nil, err
		}
		was.Port = port.Number
	}
	data, err := json.Marshal(was)
	if err != nil {
		return Memory{}, port, err
	}
	return was, port, write(filepath.Join(l.dir, "cluster.json"), append(data, '\n'))
}

// portFree says in words what would otherwise be the last line of a long log.
func portFree(port int) error {
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return fmt.Errorf("port %d of the API server is taken; stop what listens there, or choose another one: %w", port, err)
	}
	return ln.Close()
}
