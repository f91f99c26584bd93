package issuers_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/serve/issuers"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

const issuer = "https://westeurope.oic.prod-aks.azure.com/10000000-0000-4000-8000-000000000001/70000000-0000-4000-8000-000000000001/"

func publicKey(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func TestIssuers(t *testing.T) {
	t.Parallel()
	now := time.Now()
	w := servetest.NewWorld(t)
	c, _ := w.Current().Cluster(servetest.AKS1)
	c.UID = guid.MustParse[resource.Cluster]("70000000-0000-4000-8000-000000000001")
	c.OIDCIssuer, c.IssuerURL = true, issuer
	c.ServiceAccountKeys = []resource.ServiceAccountKey{{PEM: publicKey(t)}, {PEM: publicKey(t), Until: now.Add(time.Hour)}, {PEM: publicKey(t), Until: now.Add(-time.Second)}, {PEM: "nonsense"}}
	w.Put(c)
	door, err := issuers.New(issuers.Config{Estates: w, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	get := func(h http.Handler, method, path string) (int, string) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(method, path, nil))
		return rec.Code, rec.Body.String()
	}
	host := door.Host("westeurope.oic.prod-aks.azure.com")
	at := strings.TrimPrefix(issuer, "https://westeurope.oic.prod-aks.azure.com")
	own := issuers.Path + "/" + c.UID.String() + "/"
	for name, where := range map[string]struct {
		h    http.Handler
		path string
	}{"under the cloud's name": {host, at}, "under the house's own": {door.Handler(), own}} {
		var doc struct {
			Issuer string   `json:"issuer"`
			JWKS   string   `json:"jwks_uri"`
			Algs   []string `json:"id_token_signing_alg_values_supported"`
		}
		code, text := get(where.h, "GET", where.path+".well-known/openid-configuration")
		if err := json.Unmarshal([]byte(text), &doc); err != nil || code != 200 || doc.Issuer != issuer || doc.JWKS != issuer+"openid/v1/jwks" || !slices.Equal(doc.Algs, []string{"RS256"}) {
			t.Errorf("%s: %d %s %v", name, code, text, err)
		}
		var set struct{ Keys []map[string]string }
		code, text = get(where.h, "GET", where.path+"openid/v1/jwks")
		if err := json.Unmarshal([]byte(text), &set); err != nil || code != 200 || len(set.Keys) != 2 || set.Keys[0]["kty"] != "RSA" || set.Keys[0]["kid"] == "" || set.Keys[0]["e"] != "AQAB" {
			t.Errorf("%s, the key that signs and the one that is good for an hour: %d %s %v", name, code, text, err)
		}
	}
	for _, path := range []string{at, at + "openid/v1/jwks/", at + "OpenID/v1/jwks", "//" + at + "openid/v1/jwks", "/openid/v1/jwks", at[:len(at)-2] + "/openid/v1/jwks"} {
		if code, text := get(host, "GET", path); code != 404 {
			t.Errorf("GET %s: %d %s", path, code, text)
		}
	}
	if code, _ := get(door.Host("eastus.oic.prod-aks.azure.com"), "GET", at+"openid/v1/jwks"); code != 404 {
		t.Errorf("under the name of another region: %d", code)
	}
	if code, _ := get(host, "POST", at+"openid/v1/jwks"); code != 405 {
		t.Errorf("POST: %d", code)
	}

	keys, known := issuers.Keys(w.Current(), issuer, now)
	if !known || keys.Len() != 2 {
		t.Errorf("the house has %d keys of its cluster, known: %t", keys.Len(), known)
	}
	if _, known := issuers.Keys(w.Current(), "https://token.actions.example/", now); known {
		t.Error("the issuer of somebody else is taken for ours")
	}
	if _, known := issuers.Keys(w.Current(), "https://westeurope.oic.prod-aks.azure.com/20000000-0000-4000-8000-000000000001/x/", now); known {
		t.Error("a cluster of somebody else's tenant is taken for ours")
	}
	c.Doing = resource.Work{Kind: resource.Delete, Operation: guid.New[resource.Work](), Since: now}
	w.Put(c)
	if keys, known := issuers.Keys(w.Current(), issuer, now); !known || keys.Len() != 0 {
		t.Errorf("of a cluster that goes, %d keys are taken; known: %t", keys.Len(), known)
	}
	if code, _ := get(host, "GET", at+"openid/v1/jwks"); code != 404 {
		t.Errorf("a cluster that goes publishes keys: %d", code)
	}
	off := c
	off.Doing, off.OIDCIssuer, off.IssuerURL = resource.Work{}, false, ""
	w.Put(off)
	// Nobody outside is asked for the keys of a cluster that was ours (FED-05).
	if keys, known := issuers.Keys(w.Current(), issuer, now); !known || keys.Len() != 0 {
		t.Errorf("of a cluster that is gone, %d keys are taken; known: %t", keys.Len(), known)
	}
	attached := off
	attached.Attached, attached.OIDCIssuer, attached.IssuerURL, attached.ServiceAccountKeys = true, true, issuer, nil
	w.Put(attached)
	if _, known := issuers.Keys(w.Current(), issuer, now); known {
		t.Error("the keys of a cluster that others run are not asked for")
	}
	w.Age(errors.New("old"))
	if code, _ := get(host, "GET", at+"openid/v1/jwks"); code != 503 {
		t.Errorf("with a directory that is out of date: %d", code)
	}
}
