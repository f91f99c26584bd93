package house

import (
	"crypto/hkdf"
	"crypto/sha256"
	"net/http"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/pki"
	"github.com/gatehouse-io/gatehouse/internal/serve/imds"
)

// doors tells the services that share the public listener apart by the first
// segment of the path: Azure Resource Manager, Microsoft Graph, vaults, registries,
// and the rest. A header never chooses: each door checks for itself whom a token is for.
func doors(d doorway, rest http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first, _, _ := strings.Cut(strings.TrimLeft(r.URL.Path, "/"), "/")
		if r.URL.Path == imds.Path { // the metadata of machines, not that of the cloud
			rest.ServeHTTP(w, r)
			return
		}
		switch strings.ToLower(first) {
		case "subscriptions", "tenants", "providers", "metadata":
			d.arm.ServeHTTP(w, r)
		case "v1.0":
			d.graph.ServeHTTP(w, r)
		case "vaults":
			d.vaults.ServeHTTP(w, r)
		case "registries":
			d.registries.ServeHTTP(w, r)
		default:
			rest.ServeHTTP(w, r)
		}
	})
}

// derivedKey returns 32 bytes that all replicas share, for one purpose alone.
func derivedKey(ca *pki.CA, purpose string) ([]byte, error) {
	secret, err := ca.KeyPEM()
	if err != nil {
		return nil, err
	}
	return hkdf.Key(sha256.New, secret, nil, "gatehouse: "+purpose, 32)
}
