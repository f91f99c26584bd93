package house

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/gatehouse-io/gatehouse/internal/pki"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/store/etcd"
)

// Lifetimes of certificates. A leaf is renewed when a third of its life is left.
const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 90 * 24 * time.Hour
)

// etcdFiles are the certificates by which the embedded etcd and its clients know
// each other. They stay in the data directory, because the store, where secrets
// belong, opens only with them.
type etcdFiles struct{ dir Dir }

func (e etcdFiles) files(name string) etcd.Files {
	return etcd.Files{
		Cert: e.dir.path("pki", name+".crt"),
		Key:  e.dir.path("pki", name+".key"),
		CA:   e.dir.path("pki", "etcd-ca.crt"),
	}
}

// issue makes what is missing or soon over.
func (e etcdFiles) issue(now time.Time) error {
	ca, err := e.authority(now)
	if err != nil {
		return err
	}
	for _, leaf := range []pki.Leaf{
		{CommonName: "etcd", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true, Client: true},
		{CommonName: "gatehouse", Client: true},
		{CommonName: "kube-apiserver", Client: true},
	} {
		f := e.files(leaf.CommonName)
		if certificateLasts(f.Cert, now) {
			continue
		}
		leaf.Life = authorityLife // renewed with the authority; these never leave the machine
		pair, err := ca.Issue(leaf, now)
		if err != nil {
			return err
		}
		if err := errors.Join(write(f.Key, pair.KeyPEM), write(f.Cert, pair.CertPEM)); err != nil {
			return err
		}
	}
	return nil
}

func (e etcdFiles) authority(now time.Time) (*pki.CA, error) {
	certFile, keyFile := e.dir.path("pki", "etcd-ca.crt"), e.dir.path("pki", "etcd-ca.key")
	cert, errCert := os.ReadFile(certFile)
	key, errKey := os.ReadFile(keyFile)
	if errCert == nil && errKey == nil {
		return pki.LoadCA(cert, key)
	}
	if !os.IsNotExist(errCert) || !os.IsNotExist(errKey) {
		return nil, fmt.Errorf("the authority of etcd is incomplete in %s: %w", e.dir.path("pki"), errors.Join(errCert, errKey))
	}
	ca, err := pki.NewCA("gatehouse etcd", now, authorityLife)
	if err != nil {
		return nil, err
	}
	keyPEM, err := ca.KeyPEM()
	if err != nil {
		return nil, err
	}
	return ca, errors.Join(write(keyFile, keyPEM), write(certFile, ca.CertPEM()))
}

func certificateLasts(file string, now time.Time) bool {
	text, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	leaf, err := pki.Pair{CertPEM: text}.Leaf()
	return err == nil && now.Add(leafLife/3).Before(leaf.NotAfter)
}

// bucketPKI holds the authorities of the house. They are in the store, sealed, so
// that all replicas serve under the same ones.
const bucketPKI = "pki"

// storedCA is the private form of an authority.
type storedCA struct {
	Cert []byte `json:"cert"`
	Key  []byte `json:"key"`
}

// authority returns an authority of the house by name, and makes it on first use.
func authority(ctx context.Context, st *store.Store, name, subject string, now time.Time) (*pki.CA, error) {
	for {
		item, err := st.Private(ctx, bucketPKI, name)
		if err == nil {
			var v storedCA
			if err := json.Unmarshal(item.Value, &v); err != nil {
				return nil, fmt.Errorf("authority %s: %w", name, err)
			}
			return pki.LoadCA(v.Cert, v.Key)
		}
		if !errors.Is(err, store.ErrNotFound) {
			return nil, fmt.Errorf("authority %s: %w", name, err)
		}
		ca, err := pki.NewCA(subject, now, authorityLife)
		if err != nil {
			return nil, err
		}
		key, err := ca.KeyPEM()
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(storedCA{Cert: ca.CertPEM(), Key: key})
		if err != nil {
			return nil, err
		}
		absent := int64(0)
		err = st.CommitPrivate(ctx, store.PrivateOp{Bucket: bucketPKI, ID: []string{name}, Value: value, IfRev: &absent})
		if err != nil && !errors.Is(err, store.ErrConflict) { // another replica made it: read that one
			return nil, fmt.Errorf("authority %s: %w", name, err)
		}
	}
}

// A serving certificate renews itself while connections are made.
type serving struct {
	ca   *pki.CA
	leaf pki.Leaf
	now  func() time.Time

	mu      sync.Mutex
	cert    *tls.Certificate
	renewAt time.Time
}

func (s *serving) pair() (pki.Pair, error) {
	leaf := s.leaf
	leaf.Life = leafLife
	return s.ca.Issue(leaf, s.now())
}

func (s *serving) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.cert != nil && now.Before(s.renewAt) {
		return s.cert, nil
	}
	pair, err := s.pair()
	if err != nil {
		return nil, err
	}
	cert, err := pair.TLS()
	if err != nil {
		return nil, err
	}
	s.cert, s.renewAt = &cert, now.Add(2*leafLife/3)
	return s.cert, nil
}

// config returns what a listener needs; with clients set, only they get in.
func (s *serving) config(clients *pki.CA) (*tls.Config, error) {
	pair, err := s.pair()
	if err != nil {
		return nil, err
	}
	var conf *tls.Config
	if clients != nil {
		conf, err = pki.MutualTLS(pair, clients.Pool())
	} else {
		conf, err = pki.ServerTLS(pair)
	}
	if err != nil {
		return nil, err
	}
	conf.Certificates, conf.GetCertificate = nil, s.get
	return conf, nil
}

// clusterCertificate is what a cluster's API server shows the webhooks.
func clusterCertificate(ca *pki.CA, cluster scope.Scope, now time.Time) (pki.Pair, error) {
	uri, err := url.Parse(serve.CertificateURI(cluster))
	if err != nil {
		return pki.Pair{}, err
	}
	return ca.Issue(pki.Leaf{CommonName: "gatehouse cluster " + cluster.Name(), URIs: []*url.URL{uri}, Client: true, Life: authorityLife}, now)
}
