// Package issuers is the door at which clusters are OpenID Connect issuers: it
// publishes the keys that verify the service account tokens of each cluster whose
// issuer is switched on, to everybody, as AKS does.
//
// The keys are in the estate, so that every replica publishes them, whether the
// cluster runs here, elsewhere, or is stopped.
package issuers

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net/http"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// Path is where the documents are under the house's own name, by the cluster's id:
//
//	{Path}/{uid}/.well-known/openid-configuration
const Path = "/gatehouse/issuers"

// Suffix is how the host names of the issuers of AKS end.
const Suffix = ".oic.prod-aks.azure.com"

// The two documents of an issuer.
const (
	discovery = ".well-known/openid-configuration"
	keys      = "openid/v1/jwks"
)

// estates is what this door needs from the store.
type estates interface {
	Current() *estate.Snapshot
	Fresh(now time.Time) error
}

// Config is what the door needs. Estates is required.
type Config struct {
	Estates estates
	Log     *slog.Logger     // nil means no log
	Now     func() time.Time // nil means time.Now; the machine's clock, by which keys end
}

// A Door serves the documents. It is safe for concurrent use.
type Door struct{ conf Config }

// New checks a configuration and returns the door.
func New(conf Config) (*Door, error) {
	if conf.Estates == nil {
		return nil, errors.New("issuers: estates are required")
	}
	if conf.Now == nil {
		conf.Now = time.Now
	}
	return &Door{conf}, nil
}

// Host serves the issuers whose URL begins with a host's name.
func (d *Door) Host(name string) http.Handler {
	return d.handler(func(est *estate.Snapshot, path string) (resource.Cluster, bool) {
		return Cluster(est, "https://"+name+path)
	})
}

// Handler serves all issuers, below Path.
func (d *Door) Handler() http.Handler {
	return d.handler(func(est *estate.Snapshot, path string) (resource.Cluster, bool) {
		uid, ok := strings.CutPrefix(path, Path+"/")
		for c := range est.Clusters() {
			if ok && published(c) && c.UID.String()+"/" == uid {
				return c, true
			}
		}
		return resource.Cluster{}, false
	})
}

// handler serves the issuer that find finds by the path before a document.
func (d *Door) handler(find func(est *estate.Snapshot, path string) (resource.Cluster, bool)) http.Handler {
	return serve.Handle(func(w http.ResponseWriter, r *http.Request) error {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			return serve.Refuse(http.StatusMethodNotAllowed, "MethodNotAllowed", "Documents are read by GET.")
		}
		est := d.conf.Estates.Current()
		if est == nil || d.conf.Estates.Fresh(d.conf.Now()) != nil {
			return serve.Refuse(http.StatusServiceUnavailable, "ServiceUnavailable", "The directory may be out of date. Try again.")
		}
		for suffix, body := range map[string]func(resource.Cluster) any{discovery: about, keys: d.keys} {
			if before, ok := strings.CutSuffix(r.URL.Path, suffix); ok {
				if c, ok := find(est, before); ok {
					return serve.JSON(w, http.StatusOK, body(c))
				}
			}
		}
		return serve.Refuse(http.StatusNotFound, "NotFound", "There is no such issuer.")
	}, serve.Options{Log: d.conf.Log, Quiet: true, Now: d.conf.Now})
}

// published reports whether a cluster is an issuer. One that is being deleted is no
// longer one.
func published(c resource.Cluster) bool {
	return c.OIDCIssuer && c.IssuerURL != "" && c.Doing.Kind != resource.Delete
}

// Cluster returns the cluster of this house that is an issuer, if it is one.
func Cluster(est *estate.Snapshot, issuer string) (resource.Cluster, bool) {
	for c := range est.Clusters() {
		if published(c) && c.IssuerURL == issuer {
			return c, true
		}
	}
	return resource.Cluster{}, false
}

type document struct {
	Issuer    string   `json:"issuer"`
	JWKS      string   `json:"jwks_uri"`
	Responses []string `json:"response_types_supported"`
	Subjects  []string `json:"subject_types_supported"`
	Algs      []string `json:"id_token_signing_alg_values_supported"`
}

// about is the discovery document (OpenID Connect Discovery 1.0, section 3).
func about(c resource.Cluster) any {
	return document{c.IssuerURL, c.IssuerURL + keys, []string{"id_token"}, []string{"public"}, []string{"RS256"}}
}

type jwks struct {
	Keys []jwk `json:"keys"`
}

type jwk struct {
	Use     string `json:"use"`
	KeyType string `json:"kty"`
	ID      string `json:"kid"`
	Alg     string `json:"alg"`
	N       string `json:"n"`
	E       string `json:"e"`
}

func (d *Door) keys(c resource.Cluster) any { return keysOf(c, d.conf.Now()) }

// keysOf are the keys that verify tokens now, under the names that kube-apiserver
// gives them: the SHA-256 of the key's DER form.
func keysOf(c resource.Cluster, now time.Time) jwks {
	set := jwks{Keys: []jwk{}}
	for _, k := range c.ServiceAccountKeys {
		if !k.Until.IsZero() && !now.Before(k.Until) {
			continue
		}
		block, _ := pem.Decode([]byte(k.PEM))
		if block == nil {
			continue
		}
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		pub, ok := key.(*rsa.PublicKey)
		if err != nil || !ok {
			continue
		}
		sum := sha256.Sum256(block.Bytes)
		set.Keys = append(set.Keys, jwk{
			Use: "sig", KeyType: "RSA", ID: base64.RawURLEncoding.EncodeToString(sum[:]), Alg: "RS256",
			N: base64.RawURLEncoding.EncodeToString(pub.N.Bytes()), E: base64.RawURLEncoding.EncodeToString(big.NewInt(int64(pub.E)).Bytes()),
		})
	}
	return set
}

// Keys returns the keys of an issuer that the house has itself; false means that
// it has to be asked. A cluster of the house's tenants that is gone has no keys, and
// nobody is asked about it: its host name is somebody else's outside.
func Keys(est *estate.Snapshot, issuer string, now time.Time) (token.ForeignKeys, bool) {
	c, ok := Cluster(est, issuer)
	if !ok {
		return token.ForeignKeys{}, ours(est, issuer)
	}
	if c.Attached && len(c.ServiceAccountKeys) == 0 {
		return token.ForeignKeys{}, false
	}
	text, err := record.Marshal(keysOf(c, now))
	if err != nil {
		return token.ForeignKeys{}, true
	}
	set, _, err := token.ParseJWKS(text)
	if err != nil {
		return token.ForeignKeys{}, true
	}
	return set, true
}

// ours reports whether an issuer has the form of those of AKS, and names a tenant of
// this house.
func ours(est *estate.Snapshot, issuer string) bool {
	host, path, _ := strings.Cut(strings.TrimPrefix(issuer, "https://"), "/")
	if !strings.HasSuffix(host, Suffix) {
		return false
	}
	for c := range est.Clusters() {
		if c.Attached && c.IssuerURL == issuer {
			return false
		}
	}
	first, _, _ := strings.Cut(path, "/")
	var tenant directory.TenantID
	if tenant.UnmarshalText([]byte(first)) != nil {
		return false
	}
	_, ok := est.Tenant(tenant)
	return ok
}
