package issue_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/keys"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

const (
	benchAuthority = "https://gatehouse.example:8443"
	benchIssuer    = "https://oidc.example/cluster/"
	benchAccount   = "system:serviceaccount:web:frontend"
	benchExchange  = "api://AzureADTokenExchange"
	benchScope     = "https://management.azure.com/.default"
)

// A mill is an issuer over a store in memory, with one client of every sort.
type mill struct {
	b       *testing.B
	issuer  *issue.Issuer
	app     directory.Application
	mi      directory.ManagedIdentity
	secret  issue.Secret
	cert    *x509.Certificate
	private *rsa.PrivateKey
	cluster token.SigningKey
	ana     issue.Identity
}

func newMill(b *testing.B, alg string) *mill {
	b.Helper()
	m := &mill{b: b,
		app: directory.Application{ID: principal.ID{4}, AppID: directory.AppID{5}, Tenant: corp.ID, DisplayName: "web", IdentifierURIs: []string{"api://web"}, Scopes: []string{"call"}},
		mi: directory.ManagedIdentity{ID: principal.ID{7}, ClientID: directory.AppID{8}, Tenant: corp.ID, DisplayName: "mi",
			Resource: scope.MustParse("/subscriptions/50000000-0000-4000-8000-000000000001/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mi")},
	}
	check := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	now := time.Now()
	sealer, err := store.NewKey(bytes.Repeat([]byte{7}, 32))
	check(err)
	s, err := store.Open(b.Context(), store.Config{KV: new(store.Memory), Sealer: sealer, Init: true})
	check(err)
	b.Cleanup(func() { s.Close() })
	password, err := issue.PasswordOp(ana.ID, "a long password", now)
	check(err)
	secret, err := issue.NewClientSecret(m.app.AppID, "bench", now, time.Hour)
	check(err)
	m.secret = secret.Text
	m.private, m.cert = benchCertificate(b)
	certificate, err := issue.AddCertificate(m.app.AppID, m.cert.Raw, now)
	check(err)
	_, err = s.Commit(b.Context(), store.Change{Why: "bench", Private: []store.PrivateOp{password, secret.Op, certificate.Op}, Ops: []estate.Op{
		{Put: corp}, {Put: ana}, {Put: m.app}, {Put: directory.ServicePrincipal{ID: principal.ID{6}, AppID: m.app.AppID, Tenant: corp.ID, DisplayName: "web"}}, {Put: m.mi},
		{Put: directory.FederatedCredential{Owner: m.mi.ClientID, Name: "cluster", Issuer: benchIssuer, Subject: benchAccount, Audiences: []string{benchExchange}}},
	}})
	check(err)
	ring, err := keys.Open(b.Context(), keys.Config{State: s, Alg: alg})
	check(err)
	b.Cleanup(func() { ring.Close() })
	// Kubernetes signs with RSA.
	m.cluster, err = token.GenerateKey(corp.ID, token.AccessToken, token.RS256, now.Add(-time.Hour), now.Add(time.Hour))
	check(err)
	m.issuer, err = issue.New(issue.Config{State: s, Keys: ring, Authority: benchAuthority, Foreign: m.keysOfTheCluster()})
	check(err)
	realm, err := issue.ResolveRealm(m.issuer.Estate(), "corp.example")
	check(err)
	m.ana, err = m.issuer.SignIn(b.Context(), realm, ana.UserPrincipalName, issue.NewSecret("a long password"), "")
	check(err)
	return m
}

// keep are the keys of one issuer, as package trust keeps them.
type keep struct{ keys token.ForeignKeys }

func (k keep) Keys(context.Context, string, string) (token.ForeignKeys, error) { return k.keys, nil }

func (m *mill) keysOfTheCluster() keep {
	m.b.Helper()
	set, err := token.NewKeySet(m.cluster.Key)
	if err != nil {
		m.b.Fatal(err)
	}
	doc, err := set.JWKS(corp.ID, "", time.Now())
	if err != nil {
		m.b.Fatal(err)
	}
	keys, _, err := token.ParseJWKS(doc)
	if err != nil {
		m.b.Fatal(err)
	}
	return keep{keys}
}

func (m *mill) request(grant string, more issue.TokenRequest) issue.TokenRequest {
	more.Realm, more.GrantType = "corp.example", grant
	if more.ClientID == "" {
		more.ClientID = m.app.AppID.String()
	}
	if more.Scope == "" {
		more.Scope = benchScope
	}
	return more
}

func (m *mill) token(req issue.TokenRequest) (issue.Answer, error) {
	return m.issuer.Token(m.b.Context(), req)
}

func (m *mill) must(ans issue.Answer, err error) issue.Answer {
	m.b.Helper()
	if err != nil {
		m.b.Fatal(err)
	}
	return ans
}

// assertion is what the application signs with its certificate's key.
func (m *mill) assertion() string {
	sum := sha256.Sum256(m.cert.Raw)
	part := func(format string, args ...any) string {
		return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, format, args...))
	}
	now := time.Now().Unix()
	text := part(`{"alg":"RS256","typ":"JWT","x5t#S256":%q}`, base64.RawURLEncoding.EncodeToString(sum[:])) + "." +
		part(`{"iss":%[1]q,"sub":%[1]q,"aud":%[2]q,"jti":%[3]q,"nbf":%[4]d,"iat":%[4]d,"exp":%[5]d}`, m.app.AppID, benchAuthority+"/"+corp.ID.String()+"/oauth2/v2.0/token", token.NewID(), now, now+600)
	digest := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, m.private, crypto.SHA256, digest[:])
	if err != nil {
		m.b.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// pod is the token of a service account, as the cluster's API server projects it.
func (m *mill) pod() string {
	now := time.Now().Unix()
	raw, err := token.Sign(m.cluster, map[string]any{"iss": benchIssuer, "sub": benchAccount, "aud": []string{benchExchange}, "iat": now, "nbf": now, "exp": now + 3600, "jti": token.NewID()}, "")
	if err != nil {
		m.b.Fatal(err)
	}
	return raw
}

const jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// A grant makes ready what a client brings, and returns what the house does with it.
type grant struct {
	name   string
	ready  func(m *mill) func() (issue.Answer, error)
	brings string // the algorithm of the signature that the client brings, if any
}

// byDevice is a device code that a person has approved.
func byDevice(m *mill) func() (issue.Answer, error) {
	ctx := m.b.Context()
	d, err := m.issuer.StartDevice(ctx, issue.DeviceRequest{Realm: "corp.example", ClientID: issue.AzureCLI.String(), Scope: benchScope + " offline_access"})
	if err != nil {
		m.b.Fatal(err)
	}
	found, err := m.issuer.FindDevice(ctx, d.UserCode, "browser"+d.UserCode, d.UserCode)
	if err == nil {
		err = m.issuer.ApproveDevice(ctx, found, m.ana)
	}
	if err != nil {
		m.b.Fatal(err)
	}
	return func() (issue.Answer, error) {
		return m.token(m.request("device_code", issue.TokenRequest{ClientID: issue.AzureCLI.String(), DeviceCode: d.DeviceCode}))
	}
}

var grants = []grant{
	{name: "password", ready: func(m *mill) func() (issue.Answer, error) {
		return func() (issue.Answer, error) {
			return m.token(m.request("password", issue.TokenRequest{ClientID: issue.AzureCLI.String(), Username: ana.UserPrincipalName, Password: issue.NewSecret("a long password")}))
		}
	}},
	{name: "client_secret", ready: func(m *mill) func() (issue.Answer, error) {
		return func() (issue.Answer, error) {
			return m.token(m.request("client_credentials", issue.TokenRequest{ClientSecret: m.secret}))
		}
	}},
	{name: "client_certificate", ready: func(m *mill) func() (issue.Answer, error) {
		assertion := issue.NewSecret(m.assertion())
		return func() (issue.Answer, error) {
			return m.token(m.request("client_credentials", issue.TokenRequest{AssertionType: jwtBearer, Assertion: assertion}))
		}
	}, brings: token.RS256},
	{name: "device_code", ready: byDevice},
	{name: "authorization_code_pkce", ready: func(m *mill) func() (issue.Answer, error) {
		const verifier, redirect = "a-verifier-of-forty-three-characters-0123456789", "http://localhost:8400/"
		sum := sha256.Sum256([]byte(verifier))
		a, err := m.issuer.CheckAuthorize(issue.AuthorizeRequest{Realm: "corp.example", ClientID: issue.AzureCLI.String(), RedirectURI: redirect, ResponseType: "code", Scope: benchScope,
			Challenge: base64.RawURLEncoding.EncodeToString(sum[:]), ChallengeSent: true, ChallengeMethod: "S256"})
		if err != nil {
			m.b.Fatal(err)
		}
		code, err := m.issuer.GrantCode(m.b.Context(), a, m.ana)
		if err != nil {
			m.b.Fatal(err)
		}
		return func() (issue.Answer, error) {
			return m.token(m.request("authorization_code", issue.TokenRequest{ClientID: issue.AzureCLI.String(), Code: code, RedirectURI: redirect, Verifier: issue.NewSecret(verifier)}))
		}
	}},
	{name: "refresh_token", ready: func(m *mill) func() (issue.Answer, error) {
		was := m.must(byDevice(m)())
		return func() (issue.Answer, error) {
			return m.token(m.request("refresh_token", issue.TokenRequest{ClientID: issue.AzureCLI.String(), RefreshToken: issue.NewSecret(was.RefreshToken)}))
		}
	}},
	{name: "on_behalf_of", ready: func(m *mill) func() (issue.Answer, error) {
		a, err := m.issuer.CheckAuthorize(issue.AuthorizeRequest{Realm: "corp.example", ClientID: issue.AzureCLI.String(), RedirectURI: "http://localhost:8400/", ResponseType: "code", Scope: "api://web/.default",
			Challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", ChallengeSent: true, ChallengeMethod: "S256"})
		if err != nil {
			m.b.Fatal(err)
		}
		code, err := m.issuer.GrantCode(m.b.Context(), a, m.ana)
		if err != nil {
			m.b.Fatal(err)
		}
		mine := m.must(m.token(m.request("authorization_code", issue.TokenRequest{ClientID: issue.AzureCLI.String(), Scope: "api://web/.default", Code: code, RedirectURI: "http://localhost:8400/",
			Verifier: issue.NewSecret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")})))
		return func() (issue.Answer, error) {
			return m.token(m.request("urn:ietf:params:oauth:grant-type:jwt-bearer", issue.TokenRequest{ClientSecret: m.secret, UserAssertion: issue.NewSecret(mine.AccessToken), TokenUse: "on_behalf_of"}))
		}
	}},
	{name: "federated", ready: func(m *mill) func() (issue.Answer, error) {
		pod := issue.NewSecret(m.pod())
		return func() (issue.Answer, error) {
			return m.token(m.request("client_credentials", issue.TokenRequest{ClientID: m.mi.ClientID.String(), AssertionType: jwtBearer, Assertion: pod}))
		}
	}, brings: token.RS256},
	{name: "managed_identity", ready: func(m *mill) func() (issue.Answer, error) {
		return func() (issue.Answer, error) {
			return m.issuer.ManagedIdentity(m.b.Context(), m.mi.ID, "https://management.azure.com")
		}
	}},
}

// bare returns a signature with a key of its own, and nothing else: no token can be
// made faster.
func bare(b *testing.B, alg string) func() {
	b.Helper()
	private := benchKey(b, alg)
	return func() {
		if _, err := private.Sign(rand.Reader, benchDigest[:], crypto.SHA256); err != nil {
			b.Error(err)
		}
	}
}

// bareVerify returns the verification of one signature, and nothing else; of no
// signature, it does nothing.
func bareVerify(b *testing.B, alg string) func() {
	b.Helper()
	if alg == "" {
		return func() {}
	}
	private := benchKey(b, alg)
	sig, err := private.Sign(rand.Reader, benchDigest[:], crypto.SHA256)
	if err != nil {
		b.Fatal(err)
	}
	return func() {
		var good bool
		switch public := private.Public().(type) {
		case *rsa.PublicKey:
			good = rsa.VerifyPKCS1v15(public, crypto.SHA256, benchDigest[:], sig) == nil
		case *ecdsa.PublicKey:
			good = ecdsa.VerifyASN1(public, benchDigest[:], sig)
		}
		if !good {
			b.Error("the signature does not verify")
		}
	}
}

var benchDigest = sha256.Sum256([]byte("claims"))

func benchKey(b *testing.B, alg string) crypto.Signer {
	b.Helper()
	var private crypto.Signer
	var err error
	if alg == token.RS256 {
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		b.Fatal(err)
	}
	return private
}

// BenchmarkGrants is what each grant costs the house, from the request as it was read
// to the answer before it is written, beside a bare signature, which is measured in
// turns with it. The clients' own signatures are made before. signs-% is how many
// tokens are made in the time of a hundred bare signatures, and floor-% how many in the
// time of a hundred of what no house can leave out: a signature, and the verification
// of the one that the client brings.
func BenchmarkGrants(b *testing.B) {
	for _, alg := range []string{token.RS256, token.ES256} {
		size := map[string]string{token.RS256: "2048", token.ES256: "256"}[alg]
		for _, g := range grants {
			b.Run(fmt.Sprintf("grant=%s/alg=%s/bits=%s", g.name, alg, size), func(b *testing.B) {
				m, sign, verify := newMill(b, alg), bare(b, alg), bareVerify(b, g.brings)
				m.must(g.ready(m)()) // the keys are there
				b.ReportAllocs()
				var grants, signs, verifies time.Duration
				b.ResetTimer()
				for range b.N {
					b.StopTimer()
					do := g.ready(m)
					from := time.Now()
					sign()
					signs += time.Since(from)
					from = time.Now()
					verify()
					verifies += time.Since(from)
					b.StartTimer()
					from = time.Now()
					ans, err := do()
					grants += time.Since(from)
					if err != nil || ans.AccessToken == "" {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N)/grants.Seconds(), "tokens/s")
				b.ReportMetric(float64(b.N)/signs.Seconds(), "signs/s")
				b.ReportMetric(100*signs.Seconds()/grants.Seconds(), "signs-%")
				b.ReportMetric(100*(signs+verifies).Seconds()/grants.Seconds(), "floor-%")
			})
		}
	}
}

func benchCertificate(b *testing.B) (*rsa.PrivateKey, *x509.Certificate) {
	b.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "web"}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, private.Public(), private)
	if err != nil {
		b.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		b.Fatal(err)
	}
	return private, cert
}
