package house_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/house"
	"github.com/gatehouse-io/gatehouse/internal/pki"
	"github.com/gatehouse-io/gatehouse/internal/record"
	apiclient "github.com/gatehouse-io/gatehouse/internal/serve/api/client"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// An issuer is another one's, with a real web server on the loopback address.
type issuer struct {
	t     *testing.T
	url   string
	key   token.SigningKey
	roots *x509.CertPool
	asked atomic.Int64
}

func startIssuer(t *testing.T) *issuer {
	t.Helper()
	now := time.Now()
	ca, err := pki.NewCA("foreign", now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(pki.Leaf{CommonName: "issuer", IPs: []net.IP{{127, 0, 0, 1}}, Server: true, Life: time.Hour}, now)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := pair.TLS()
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{t: t, roots: x509.NewCertPool()}
	i.roots.AddCert(ca.Cert)
	if i.key, err = token.GenerateKey(tenant.ID, token.AccessToken, token.RS256, now.Add(-time.Hour), now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	set, err := token.NewKeySet(i.key.Key)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := set.JWKS(tenant.ID, "", now)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/c1/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.asked.Add(1)
		json.NewEncoder(w).Encode(map[string]any{"issuer": i.url, "jwks_uri": i.url + "openid/v1/jwks"})
	})
	mux.HandleFunc("/c1/openid/v1/jwks", func(w http.ResponseWriter, _ *http.Request) { w.Write(keys) })
	srv := httptest.NewUnstartedServer(mux)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	i.url = srv.URL + "/c1/"
	return i
}

const podAccount = "system:serviceaccount:web:frontend"

// token is a service account's, as the issuer's API server projects it.
func (i *issuer) token() string {
	i.t.Helper()
	now := time.Now().Unix()
	raw, err := token.Sign(i.key, map[string]any{"iss": i.url, "sub": podAccount, "aud": []string{"api://AzureADTokenExchange"}, "iat": now, "nbf": now, "exp": now + 3600, "jti": token.NewID()}, "")
	if err != nil {
		i.t.Fatal(err)
	}
	return raw
}

func (i *issuer) credential() directory.FederatedCredential {
	return directory.FederatedCredential{Owner: identity.ClientID, Name: "frontend", Issuer: i.url, Subject: podAccount, Audiences: []string{"api://AzureADTokenExchange"}}
}

// open lets a house ask the issuer, which is in the own network.
func (i *issuer) open(conf *house.Config) {
	conf.PrivateIssuers, conf.Roots = []string{strings.TrimSuffix(strings.TrimPrefix(i.url, "https://"), "/c1/")}, i.roots
}

// identityToken is a token of the managed identity, by a token of the issuer.
func (g *gate) identityToken(i *issuer, resource string) (string, int, string) {
	g.t.Helper()
	return g.exchange(i, identity.ClientID, resource)
}

// exchange gets a token of a client by one of the issuer.
func (g *gate) exchange(i *issuer, client directory.AppID, resource string) (string, int, string) {
	g.t.Helper()
	status, m, text := g.token("grant_type", "client_credentials", "client_id", client.String(), "scope", resource+"/.default",
		"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", i.token())
	raw, _ := m["access_token"].(string)
	return raw, status, text
}

// FED-05: every door at which a federated credential can be written refuses the same
// issuers: those in the own network, in every notation, and not the house itself.
func TestEveryDoorChecksTheIssuersOfCredentials(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	arm, graph := tokenFor(t, g.conf.Dir, armResource), tokenFor(t, g.conf.Dir, graphResource)
	const name = "frontend"
	doors := map[string]func(issuer string) (int, string){
		"Azure Resource Manager": func(issuer string) (int, string) {
			r := g.call("PUT", identity.Resource.String()+"/federatedIdentityCredentials/"+name+"?api-version=2023-01-31", arm, map[string]any{
				"properties": map[string]any{"issuer": issuer, "subject": podAccount, "audiences": []string{"a"}}})
			return r.status, r.text
		},
		"Graph": func(issuer string) (int, string) {
			r := g.call("POST", "/v1.0/applications/"+robotApp.ID.String()+"/federatedIdentityCredentials", graph, map[string]any{
				"name": name, "issuer": issuer, "subject": podAccount, "audiences": []string{"a"}})
			return r.status, r.text
		},
		"Graph, in the place of a good one": func(issuer string) (int, string) {
			r := g.call("PATCH", "/v1.0/applications/"+robotApp.ID.String()+"/federatedIdentityCredentials/good", graph, map[string]any{"issuer": issuer})
			if r.status == http.StatusNoContent {
				r.status = http.StatusCreated
			}
			return r.status, r.text
		},
		"the management API": func(issuer string) (int, string) {
			spec, err := json.Marshal(directory.FederatedCredential{Owner: robotApp.AppID, Name: "own", Issuer: issuer, Subject: podAccount + "2", Audiences: []string{"a"}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = g.operator.Commit(t.Context(), wire.Changes{Ops: []wire.Op{{Put: &wire.Record{Kind: record.FederatedCredential, Spec: spec}}}})
			if e, ok := errors.AsType[*apiclient.Error](err); ok {
				return e.Status, e.Message
			}
			return http.StatusCreated, ""
		},
	}
	g.put(directory.FederatedCredential{Owner: robotApp.AppID, Name: "good", Issuer: "https://issuer.example/", Subject: "s", Audiences: []string{"a"}})
	for door, write := range doors {
		before := g.house.Store().Current().Revision()
		for _, issuer := range []string{"https://127.0.0.1/", "https://168.63.129.16/", "https://10.0.0.1/", "https://169.254.169.254/", "https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://2130706433/", "https://0x7f.1/",
			"https://localhost/", "https://kubernetes.default.svc.cluster.local", "https://issuer.example:8443/", "https://u@issuer.example/", "https://issuer.example/../", "http://issuer.example/"} {
			if status, text := write(issuer); status != http.StatusBadRequest || !strings.Contains(text, "issuer") {
				t.Errorf("%s: the issuer %s is answered %d %s", door, issuer, status, text)
			}
		}
		if g.house.Store().Current().Revision() != before {
			t.Errorf("%s: a refusal changed the estate", door)
		}
		own := g.op.Authority + "/" + tenant.ID.String() + "/v2.0"
		if status, text := write(own); status != http.StatusCreated {
			t.Errorf("%s: the house's own issuer is answered %d %s", door, status, text)
		}
	}
}

// FED-05: nor does the approval of a request for an identity make a credential of
// what somebody wrote as the issuer of a cluster that others run.
func TestAnApprovalChecksTheIssuerOfItsCredentials(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.put(given(50, idOf[azurerbac.DefinitionID]("a7ffa36f-339b-4b5c-8bdf-e2c188b2c0eb"), clusterAt)) // Azure Kubernetes Service RBAC Writer
	issuerOf := func(issuer string) {
		t.Helper()
		c, _ := g.house.Store().Current().Cluster(clusterAt)
		c.OIDCIssuer, c.IssuerURL = true, issuer
		g.put(c)
	}
	issuerOf("https://127.0.0.1/")
	q, err := g.as(ana).AskIdentity(t.Context(), wire.NewIdentityRequest{Identity: identity.Resource.String(), Cluster: clusterAt.String(), Namespace: "web", ServiceAccounts: []string{"frontend"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, issuer := range []string{"https://127.0.0.1/", "https://10.0.0.1/", "https://169.254.169.254/", "https://168.63.129.16/", "https://2130706433/", "https://0x7f.1/", "https://localhost/",
		"https://vault.default.svc/", "https://issuer.example:8443/"} {
		issuerOf(issuer)
		_, err := g.operator.ApproveRequest(t.Context(), q.ID, wire.AnswerToRequest{})
		if e, ok := errors.AsType[*apiclient.Error](err); !ok || e.Status != http.StatusBadRequest || !strings.Contains(e.Message, "issuer") {
			t.Errorf("approved with the issuer %s: %v", issuer, err)
		}
	}
	if made := g.house.Store().Current().FederatedCredentials(identity.ClientID); len(made) != 0 {
		t.Errorf("made %+v", made)
	}
	issuerOf("https://issuer.example/c1/")
	if q, err = g.operator.ApproveRequest(t.Context(), q.ID, wire.AnswerToRequest{}); err != nil || len(q.Credentials) != 1 {
		t.Errorf("with a good issuer: %+v, %v", q, err)
	}
}

// FED-05: an issuer in the own network is refused when it is written, and when it
// is used, unless whoever runs the house has named it.
func TestAnIssuerInTheOwnNetwork(t *testing.T) {
	t.Parallel()
	i := startIssuer(t)
	g := newGate(t, func(c *house.Config) { c.Roots = i.roots })
	op := wire.Op{Put: &wire.Record{Kind: i.credential().Key().Kind}}
	var err error
	if op.Put.Spec, err = json.Marshal(i.credential()); err != nil {
		t.Fatal(err)
	}
	_, err = g.operator.Commit(t.Context(), wire.Changes{Ops: []wire.Op{op}})
	if e, ok := errors.AsType[*apiclient.Error](err); !ok || e.Code != "BadRequest" || !strings.Contains(e.Message, "--private-issuer") && !strings.Contains(e.Message, "443") {
		t.Errorf("it is written: %v", err)
	}
	g.put(i.credential()) // by somebody who does not ask
	if raw, status, text := g.identityToken(i, kubeServer); raw != "" || status != http.StatusBadRequest || !strings.Contains(text, "AADSTS90061") || strings.Contains(text, "443") {
		t.Errorf("it is used: %d %s", status, text)
	}
	if i.asked.Load() != 0 {
		t.Error("it was asked")
	}

	g = newGate(t, i.open)
	if _, err = g.operator.Commit(t.Context(), wire.Changes{Ops: []wire.Op{op}}); err != nil {
		t.Errorf("with the word of whoever runs the house: %v", err)
	}
	raw, status, text := g.identityToken(i, kubeServer)
	if status != http.StatusOK || !g.authenticated(raw) || g.may(identity.ID.String(), identity.ID) != "allow" {
		t.Errorf("%d %s", status, text)
	}
}
