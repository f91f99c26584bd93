package cluster

import (
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
	next   *pki.CA // takes the place of ca; nil when nothing is under way
	admins *pki.CA // nil when there are to be none
}

func (l layout) certificates(conf Config, now time.Time) (*certificates, error) {
	c := &certificates{files: l}
	// Nothing runs yet that would have to trust both.
	err := l.promote("ca")
	if err != nil {
		return nil, err
	}
	if c.ca, err = l.authority("ca", "gatehouse:"+conf.Name, now); err != nil {
		return nil, err
	}
	if conf.NoLocalAdmins {
		err = l.dropAuthority("local-admins")
	} else {
		c.admins, err = l.authority("local-admins", localAdminsAuthority(conf.Name), now)
	}
	if err != nil {
		return nil, err
	}
	if err := l.serviceAccountKeys(conf.RetiredKeys); err != nil {
		return nil, err
	}
	return c, errors.Join(c.trust(), c.issueLeaves(conf, now))
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

// dropAuthority takes an authority away; without its key there is none.
func (l layout) dropAuthority(name string) error {
	for _, file := range []string{name + ".key", name + ".crt"} {
		if err := os.Remove(l.pki(file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// promote puts the authority that is to take another one's place there, if there
// is one. Whenever it is interrupted, the same call finishes it.
func (l layout) promote(name string) error {
	next := name + "-next"
	key, err := os.ReadFile(l.pki(next + ".key"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	cert, certErr := os.ReadFile(l.pki(next + ".crt"))
	if err := errors.Join(err, certErr); err != nil {
		return fmt.Errorf("authority %s: %w", next, err)
	}
	if err := os.Remove(l.pki(name + ".key")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(write(l.pki(name+".crt"), cert), write(l.pki(name+".key"), key), l.dropAuthority(next))
}

// trusted are the authorities that sign for the control plane, as PEM.
func (c *certificates) trusted() []byte {
	if c.next != nil {
		return slices.Concat(c.next.CertPEM(), c.ca.CertPEM())
	}
	return c.ca.CertPEM()
}

// trust writes whose certificates the control plane's programs take: of servers,
// and of clients. A running API server reads the latter again when it changes.
func (c *certificates) trust() error {
	clients := c.trusted()
	if c.admins != nil {
		clients = slices.Concat(clients, c.admins.CertPEM())
	}
	return errors.Join(write(c.files.pki("ca-bundle.crt"), c.trusted()), write(c.files.pki("clients-ca.crt"), clients))
}

// signer is the authority that signs now.
func (c *certificates) signer() *pki.CA {
	if c.next != nil {
		return c.next
	}
	return c.ca
}

func (c *certificates) issue(name string, leaf pki.Leaf, now time.Time) error {
	pair, err := c.signer().Issue(leaf, now)
	if err != nil {
		return err
	}
	return errors.Join(write(c.files.pki(name+".crt"), pair.CertPEM), write(c.files.pki(name+".key"), pair.KeyPEM))
}
