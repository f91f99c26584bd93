package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/pki"
	"github.com/gatehouse-io/gatehouse/internal/principal"
)

// maxAdminLife bounds a local administrator's certificate: what is forgotten
// ends by itself within a day (LA-02).
const maxAdminLife = 24 * time.Hour

// LocalAdminPrefix is how the user name of every local administrator starts; the
// object id of who asked for the certificate follows.
const LocalAdminPrefix = "gatehouse:local-admin:"

const localMonitorPrefix = "gatehouse:local-monitor:"

// ErrNoLocalAdmins says that the cluster has no local administrators.
var ErrNoLocalAdmins = errors.New("they are disabled")

// A LocalAdmin is a certificate that acts as cluster-admin without sign-in.
type LocalAdmin struct {
	Pair         pki.Pair  // does not print
	User         string    // the user name in the cluster
	Serial       string    // of the certificate, in hexadecimal, for the audit record
	CredentialID string    // by which authorization recognizes the certificate, to refuse it
	NotAfter     time.Time // when it ends by itself
}

// IssueLocalAdmin issues a certificate in the group LocalAdmins to whoever asked
// for it. The caller has checked that he may, and records the serial. Life is at
// most 24 h, which is also what zero means.
func (c *Cluster) IssueLocalAdmin(requester principal.ID, life time.Duration) (LocalAdmin, error) {
	return c.issueLocal(LocalAdminPrefix, LocalAdmins, requester, life)
}

// IssueMonitor is IssueLocalAdmin for somebody who reads the metrics of the API
// server and may do nothing else.
func (c *Cluster) IssueMonitor(requester principal.ID, life time.Duration) (LocalAdmin, error) {
	return c.issueLocal(localMonitorPrefix, LocalMonitors, requester, life)
}

func (c *Cluster) issueLocal(prefix, group string, requester principal.ID, life time.Duration) (LocalAdmin, error) {
	if requester.IsZero() {
		return LocalAdmin{}, errors.New("a certificate of a local account is issued to somebody")
	}
	if life <= 0 || life > maxAdminLife {
		life = maxAdminLife
	}
	c.certsMu.Lock()
	ca := c.certs.admins
	c.certsMu.Unlock()
	if ca == nil {
		return LocalAdmin{}, fmt.Errorf("local accounts of %s: %w", c.conf.Name, ErrNoLocalAdmins)
	}
	user := prefix + requester.String()
	pair, err := ca.Issue(pki.Leaf{CommonName: user, Organizations: []string{group}, Client: true, Life: life}, c.conf.Now())
	if err != nil {
		return LocalAdmin{}, fmt.Errorf("local account of %s: %w", c.conf.Name, err)
	}
	leaf, err := pair.Leaf()
	if err != nil {
		return LocalAdmin{}, err
	}
	id, err := CredentialID(pair.CertPEM)
	return LocalAdmin{Pair: pair, User: user, Serial: leaf.SerialNumber.Text(16), CredentialID: id, NotAfter: leaf.NotAfter}, err
}

// RotateLocalAdmins ends every local administrator's certificate issued so far,
// by giving them a new authority. The API server reads the new list of
// authorities without a restart, within a minute and normally at once.
func (c *Cluster) RotateLocalAdmins() error {
	c.certsMu.Lock()
	defer c.certsMu.Unlock()
	if c.certs.admins == nil {
		return nil
	}
	ca, err := c.files.newAuthority("local-admins", localAdminsAuthority(c.conf.Name), c.conf.Now())
	if err != nil {
		return fmt.Errorf("rotate the local administrators of %s: %w", c.conf.Name, err)
	}
	c.certs.admins = ca
	return c.certs.trust()
}

// IssuedLocalAdmin reports whether a certificate, as PEM, is still that of a local
// administrator: whether the authority of now signed it.
func (c *Cluster) IssuedLocalAdmin(certPEM []byte) bool {
	leaf, err := pki.Pair{CertPEM: certPEM}.Leaf()
	c.certsMu.Lock()
	defer c.certsMu.Unlock()
	return err == nil && c.certs.admins != nil && leaf.CheckSignatureFrom(c.certs.admins.Cert) == nil
}

// IssueMirror issues a certificate by which the house reads the cluster's RBAC.
// It is kept in memory.
func (c *Cluster) IssueMirror(life time.Duration) (pki.Pair, error) {
	c.certsMu.Lock()
	defer c.certsMu.Unlock()
	return c.certs.signer().Issue(pki.Leaf{CommonName: MirrorUser, Client: true, Life: life}, c.conf.Now())
}

// CredentialIDKey is the key in a user's extra under which kube-apiserver says
// which credential a request came with (k8s.io/apiserver, user.CredentialIDKey).
// It is the API server's own word: a client cannot set it without the right to
// impersonate this very key.
const CredentialIDKey = "authentication.kubernetes.io/credential-id"

// CredentialID is what kube-apiserver puts under CredentialIDKey for a client
// certificate, given as PEM: the SHA-256 of its DER form. The serial number is
// not passed on, so this is how one certificate is told from another.
func CredentialID(certPEM []byte) (string, error) {
	block, _ := pem.Decode(certPEM)
	if block == nil || block.Type != "CERTIFICATE" {
		return "", errors.New("no certificate in the PEM text")
	}
	sum := sha256.Sum256(block.Bytes)
	return "X509SHA256=" + hex.EncodeToString(sum[:]), nil
}
