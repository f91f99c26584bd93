package selfcert

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/pki"
)

// Lifetimes. Authority and leaf are replaced when a third of their life is left,
// so a webhook that was away for months comes back with a good certificate.
const (
	authorityLife = 365 * 24 * time.Hour
	leafLife      = 30 * 24 * time.Hour
)

// Settle is how long an authority is published before it signs what is served:
// API servers learn of it meanwhile.
const Settle = time.Hour

// Material is what replicas share in a Secret. The zero Material is a beginning.
type Material struct {
	// Authorities is the PEM bundle that API servers are to trust, the newest
	// authority first.
	Authorities []byte
	// AuthorityKey is the key of the newest.
	AuthorityKey []byte
	// Serving is the certificate of the webhook. It is of the newest authority, or
	// of the one before while that is young.
	Serving pki.Pair
}

// Format keeps the keys out of logs and error texts.
func (m Material) Format(w fmt.State, _ rune) { fmt.Fprint(w, "[certificates and keys]") }

// Next returns what the material has to be at an instant for a server of these
// DNS names; that it is the same already is told by Equal. What cannot be read is
// replaced: the authorities are published anew anyhow.
func (m Material) Next(names []string, now time.Time) (Material, error) {
	bundle := m.valid(now)
	ca, err := m.newest(now)
	if err != nil || old(ca.Cert, now) {
		if ca, err = pki.NewCA("gatehouse webhook", now, authorityLife); err != nil {
			return Material{}, err
		}
		bundle = append([]*x509.Certificate{ca.Cert}, bundle...)
	}
	next := Material{Serving: m.Serving}
	for _, c := range bundle {
		next.Authorities = append(next.Authorities, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	if next.AuthorityKey, err = ca.KeyPEM(); err != nil {
		return Material{}, err
	}
	leaf, usable := m.leaf(names, bundle, now)
	settled := !now.Before(ca.Cert.NotBefore.Add(pki.Backdate + Settle))
	if !usable || settled && (old(leaf, now) || leaf.CheckSignatureFrom(ca.Cert) != nil) {
		next.Serving, err = ca.Issue(pki.Leaf{CommonName: names[0], DNS: names, Server: true, Life: leafLife}, now)
	}
	return next, err
}

// Equal reports whether both are the same.
func (m Material) Equal(n Material) bool {
	return bytes.Equal(m.Authorities, n.Authorities) && bytes.Equal(m.AuthorityKey, n.AuthorityKey) &&
		bytes.Equal(m.Serving.CertPEM, n.Serving.CertPEM) && bytes.Equal(m.Serving.KeyPEM, n.Serving.KeyPEM)
}

// old reports whether a third of a certificate's life is left, or less.
func old(c *x509.Certificate, now time.Time) bool {
	return !now.Before(c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore) / 3))
}

// valid are the authorities that have not ended.
func (m Material) valid(now time.Time) (all []*x509.Certificate) {
	for rest := m.Authorities; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return all
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err == nil && c.IsCA && now.Before(c.NotAfter) && !slices.ContainsFunc(all, c.Equal) {
			all = append(all, c)
		}
	}
}

// newest is the first authority of the bundle, with its key.
func (m Material) newest(now time.Time) (*pki.CA, error) {
	block, _ := pem.Decode(m.Authorities)
	if block == nil {
		return nil, fmt.Errorf("no authority")
	}
	ca, err := pki.LoadCA(pem.EncodeToMemory(block), m.AuthorityKey)
	if err != nil {
		return nil, err
	}
	if now.Before(ca.Cert.NotBefore) || !now.Before(ca.Cert.NotAfter) {
		return nil, fmt.Errorf("the authority is not valid now")
	}
	return ca, nil
}

// leaf is the serving certificate, and whether API servers that trust the bundle
// take it for every name.
func (m Material) leaf(names []string, bundle []*x509.Certificate, now time.Time) (*x509.Certificate, bool) {
	if _, err := m.Serving.TLS(); err != nil {
		return nil, false
	}
	leaf, err := m.Serving.Leaf()
	if err != nil {
		return nil, false
	}
	roots := x509.NewCertPool()
	for _, c := range bundle {
		roots.AddCert(c)
	}
	for _, name := range names {
		if _, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: now}); err != nil {
			return nil, false
		}
	}
	return leaf, true
}
