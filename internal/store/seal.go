package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// A Sealer encrypts what leaves the process. Open returns what was given to Seal
// only for the same additional data.
type Sealer interface {
	Seal(plain, additional []byte) []byte
	Open(sealed, additional []byte) ([]byte, error)
}

// A Key is a Sealer: AES-256 in Galois/counter mode under random nonces, good
// for 2^32 seals (NIST SP 800-38D, section 8.3).
type Key struct{ aead cipher.AEAD }

const keySize = 32

// NewKey returns the Key of 32 bytes of secret.
func NewKey(secret []byte) (*Key, error) {
	if len(secret) != keySize {
		return nil, fmt.Errorf("a key has %d bytes, this has %d", keySize, len(secret))
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &Key{aead}, nil
}

// LoadKey reads the key in a file that nobody but its owner may touch. If there
// is no file and create is set, it makes one with a fresh random key; create
// belongs to the first start alone, because a fresh key opens no existing store.
func LoadKey(path string, create bool) (*Key, error) {
	secret, err := readSecret(path)
	if create && errors.Is(err, fs.ErrNotExist) {
		secret = make([]byte, keySize)
		rand.Read(secret)
		err = writeSynced(path, secret)
	}
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", path, err)
	}
	key, err := NewKey(secret)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", path, err)
	}
	return key, nil
}

// readSecret reads a small file that is ours and closed to all others. It asks
// the open file and not the path, which could mean another file a moment later.
func readSecret(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("it is not a regular file")
	}
	if err := closed(info); err != nil {
		return nil, err
	}
	b := make([]byte, keySize+1)
	n, err := f.Read(b)
	if err != nil {
		return nil, err
	}
	return b[:n], nil
}

// closed refuses what others than the owner may touch, or what we do not own.
func closed(info fs.FileInfo) error {
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("its mode is %04o: others may touch it; chmod go= it", info.Mode().Perm())
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("it belongs to user %d, and we are %d", st.Uid, os.Geteuid())
	}
	return nil
}

// writeSynced makes a file with mode 0600 that is there whole or not at all. It
// does not replace another.
func writeSynced(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Seal implements Sealer.
func (k *Key) Seal(plain, additional []byte) []byte {
	return k.aead.Seal(nil, nil, plain, additional)
}

// Open implements Sealer.
func (k *Key) Open(sealed, additional []byte) ([]byte, error) {
	plain, err := k.aead.Open(nil, nil, sealed, additional)
	if err != nil {
		return nil, errors.New("it was sealed with another key, for another place, or changed since")
	}
	return plain, nil
}

// bind makes additional data of texts; each is preceded by its length, so that
// no two lists of texts are the same bytes.
func bind(texts ...string) []byte {
	var b []byte
	for _, s := range texts {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}
