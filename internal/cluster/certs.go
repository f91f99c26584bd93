package cluster

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/pki"
)

const (
	caLife   = 10 * 365 * 24 * time.Hour
	leafLife = 365 * 24 * time.Hour
)

// MirrorUser is the user that the house reads a cluster's RBAC as.
const MirrorUser = "gatehouse:mirror"

// serviceIP is the first address of serviceRange, where pods find the API server.
const (
	serviceRange = "10.96.0.0/16"
	serviceIP    = "10.96.0.1"
)

// certificates are what a cluster proves itself and others with. Authorities and
// the service account key live as long as the cluster; leaves are issued anew on
// every start, so that none of them can grow old unnoticed.
//
// Local administrators have an authority of their own. Taking it away ends all
// their certificates at once, and nothing else of the cluster has to change.
type certificates struct {
	files  layout
	ca     *pki.CA
	admins *pki.CA
}

func (l layout) certificates(conf Config, now time.Time) (*certificates, error) {
	c := &certificates{files: l}
	var err error
	if c.ca, err = l.authority("ca", "gatehouse:"+conf.Name, now); err != nil {
		return nil, err
	}
	if c.admins, err = l.authority("local-admins", localAdminsAuthority(conf.Name), now); err != nil {
		return nil, err
	}
	if err := l.serviceAccountKey(); err != nil {
		return nil, err
	}
	if err := c.trustClients(); err != nil {
		return nil, err
	}
	return c, c.issueLeaves(conf, now)
}

// issueLeaves replaces the certificates of the control plane's programs. Running
// ones read them again.
func (c *certificates) issueLeaves(conf Config, now time.Time) error {
	names := append([]string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc.cluster.local"}, conf.ServerNames...)
	slices.Sort(names)
	serving := pki.Leaf{CommonName: "kube-apiserver", Server: true, Life: leafLife, DNS: slices.Compact(names),
		IPs: []net.IP{net.IPv4(127, 0, 0, 1), net.ParseIP(serviceIP)}}
	manager := pki.Leaf{CommonName: "system:kube-controller-manager", Client: true, Life: leafLife}
	return errors.Join(c.issue("apiserver", serving, now), c.issue("controller-manager", manager, now))
}

func localAdminsAuthority(name string) string { return "gatehouse:" + name + ":local-admins" }

// authority returns the authority whose files are called name, and makes it when
// there is none yet.
func (l layout) authority(name, commonName string, now time.Time) (*pki.CA, error) {
	cert, err := os.ReadFile(l.pki(name + ".crt"))
	key, keyErr := os.ReadFile(l.pki(name + ".key"))
	switch err := errors.Join(err, keyErr); {
	case err == nil:
		return pki.LoadCA(cert, key)
	case errors.Is(keyErr, fs.ErrNotExist):
		// The key is written last: without it the authority has signed nothing yet.
		return l.newAuthority(name, commonName, now)
	default:
		return nil, fmt.Errorf("authority %s: %w", name, err)
	}
}

func (l layout) newAuthority(name, commonName string, now time.Time) (*pki.CA, error) {
	ca, err := pki.NewCA(commonName, now, caLife)
	if err != nil {
		return nil, err
	}
	key, err := ca.KeyPEM()
	if err != nil {
		return nil, err
	}
	// The old key goes first and the new one comes last, so that a crash leaves an
	// authority without a key, which the next start makes anew, and never a key
	// that does not belong to its certificate.
	if err := os.Remove(l.pki(name + ".key")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := write(l.pki(name+".crt"), ca.CertPEM()); err != nil {
		return nil, err
	}
	return ca, write(l.pki(name+".key"), key)
}

// trustClients writes the bundle of authorities whose client certificates the
// API server takes. A running API server reads it again when it changes.
func (c *certificates) trustClients() error {
	return write(c.files.pki("clients-ca.crt"), slices.Concat(c.ca.CertPEM(), c.admins.CertPEM()))
}

func (c *certificates) issue(name string, leaf pki.Leaf, now time.Time) error {
	pair, err := c.ca.Issue(leaf, now)
	if err != nil {
		return err
	}
	return errors.Join(write(c.files.pki(name+".crt"), pair.CertPEM), write(c.files.pki(name+".key"), pair.KeyPEM))
}

// serviceAccountKey makes the key that signs service account tokens. It is RSA
// because every verifier of OpenID Connect tokens reads RS256; those of workload
// identity are other people's.
func (l layout) serviceAccountKey() error {
	if _, err := os.Stat(l.pki("sa.key")); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("make the service account key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	return errors.Join(
		write(l.pki("sa.pub"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
		write(l.pki("sa.key"), private),
	)
}
