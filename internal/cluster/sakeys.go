package cluster

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// serviceAccountKeys makes the key that signs service account tokens, if there is
// none, and writes the keys that verify them. It is RSA because every verifier of
// OpenID Connect tokens reads RS256; those of workload identity are other people's.
func (l layout) serviceAccountKeys(retired []string) error {
	text, err := os.ReadFile(l.pki("sa.key"))
	if errors.Is(err, fs.ErrNotExist) {
		text, err = newSigningKey()
		if err == nil {
			err = write(l.pki("sa.key"), text)
		}
	}
	if err != nil {
		return err
	}
	public, err := publicHalf(text)
	if err != nil {
		return fmt.Errorf("%s: %w", l.pki("sa.key"), err)
	}
	all := append([]byte(nil), public...)
	for _, key := range retired {
		if key != string(public) {
			all = append(all, strings.TrimRight(key, "\n")+"\n"...)
		}
	}
	return errors.Join(write(l.pki("sa.pub"), public), write(l.pki("sa-verify.pub"), all))
}

func newSigningKey() ([]byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("make the service account key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), nil
}

func publicHalf(private []byte) ([]byte, error) {
	block, _ := pem.Decode(private)
	if block == nil {
		return nil, errors.New("no key in the PEM text")
	}
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// ServiceAccountKey is the PEM public half of the key that signs service account
// tokens.
func (c *Cluster) ServiceAccountKey() ([]byte, error) { return os.ReadFile(c.files.pki("sa.pub")) }

// RotateSigningKey makes another key that signs service account tokens, from the
// next start on. Whoever starts it next names the present one among the
// RetiredKeys, for as long as its tokens live.
func (c *Cluster) RotateSigningKey() error {
	text, err := newSigningKey()
	if err != nil {
		return err
	}
	return write(c.files.pki("sa.key"), text)
}
