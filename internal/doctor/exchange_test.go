package doctor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/doctor"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/keys"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

var (
	corp = directory.Tenant{ID: directory.TenantID{1}, Domains: []string{"corp.example"}}
	at   = scope.MustParse("/subscriptions/50000000-0000-4000-8000-000000000001/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/web")
	web  = directory.ManagedIdentity{ID: principal.ID{2}, ClientID: directory.AppID{3}, Tenant: corp.ID, Resource: at, DisplayName: "web"}
)

const (
	issuer  = "https://oidc.example/t/cluster/"
	subject = "system:serviceaccount:shop:web"
)

// A publisher has the keys of every issuer.
type publisher struct{ keys token.ForeignKeys }

func (p publisher) Keys(context.Context, string, string) (token.ForeignKeys, error) {
	return p.keys, nil
}

// A signer signs what clusters would.
type signer struct {
	key  token.SigningKey
	keys token.ForeignKeys
}

func newSigner(t testing.TB) signer {
	t.Helper()
	key, err := token.GenerateKey(corp.ID, token.AccessToken, token.ES256, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public, KeyID: key.ID, Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	set, _, err := token.ParseJWKS(doc)
	if err != nil {
		t.Fatal(err)
	}
	return signer{key, set}
}

func (s signer) sign(t testing.TB, claims map[string]any) string {
	t.Helper()
	now := time.Now().Unix()
	all := map[string]any{"iat": now, "exp": now + 3600, "jti": token.NewID()}
	for k, v := range claims {
		all[k] = v
	}
	raw, err := token.Sign(s.key, all, "")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func openStore(t *testing.T, records ...record.Record) *store.Store {
	t.Helper()
	sealer, err := store.NewKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Config{KV: new(store.Memory), Sealer: sealer, Init: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	put(t, s, records...)
	return s
}

func put(t *testing.T, s *store.Store, records ...record.Record) {
	t.Helper()
	var ops []estate.Op
	for _, r := range records {
		ops = append(ops, estate.Op{Put: r})
	}
	if _, err := s.Commit(t.Context(), store.Change{Why: "test", Ops: ops}); err != nil {
		t.Fatal(err)
	}
}

func places() []record.Record {
	sub, _ := at.Subscription()
	group, _ := at.ResourceGroup()
	return []record.Record{corp, resource.Subscription{Scope: sub, Tenant: corp.ID}, resource.Group{Scope: group, Name: "rg"}, web}
}

// slips are what people write in place of what they mean.
var slips = []func(string) string{
	func(s string) string { return s + "/" },
	func(s string) string { return strings.TrimSuffix(s, "/") },
	strings.ToUpper,
	func(s string) string { return strings.TrimPrefix(s, "api://") },
	func(s string) string { return strings.Replace(s, "shop", "test", 1) },
	func(s string) string { return strings.Replace(s, ":web", ":job", 1) },
	func(s string) string { return strings.Replace(s, "oidc", "idc", 1) },
}

// FED-01, FED-02, FED-03: what the exchange takes the doctor finds right in issuer,
// subject and audience, and what it refuses he finds wrong in one of them, for the
// same reason.
func TestTheDoctorAndTheExchangeAgree(t *testing.T) {
	t.Parallel()
	s := openStore(t, places()...)
	ring, err := keys.Open(t.Context(), keys.Config{State: s, Alg: token.ES256})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ring.Close() })
	sign := newSigner(t)
	i, err := issue.New(issue.Config{State: s, Keys: ring, Foreign: publisher{sign.keys}, Authority: "https://gatehouse.example"})
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 1))
	slip := func(s string) string {
		if rnd.IntN(3) > 0 {
			return s
		}
		return slips[rnd.IntN(len(slips))](s)
	}
	var accepted, refused int
	for round := range 400 {
		var creds []directory.FederatedCredential
		for n := range rnd.IntN(3) + 1 {
			c := directory.FederatedCredential{Owner: web.ClientID, Name: fmt.Sprintf("cred-%d-%d", round, n), Issuer: slip(issuer), Subject: slip(subject), Audiences: []string{slip(doctor.Exchange)}}
			if rnd.IntN(4) == 0 {
				c.Subject, c.SubjectPattern = "", directory.SubjectPattern([]string{"system:serviceaccount:shop:*", "system:serviceaccount:*:web"}[rnd.IntN(2)])
			}
			if c.Validate() == nil && !slices.ContainsFunc(creds, c.SameTrust) {
				creds = append(creds, c)
			}
		}
		home := corp
		home.AllowSubjectPatterns = rnd.IntN(2) == 0
		if _, err := s.Commit(t.Context(), store.Change{Why: "test", Ops: append(swap(s.Current(), creds), estate.Op{Put: home})}); err != nil {
			t.Fatalf("seed %d, round %d: %v\nof %+v", seed, round, err, creds)
		}
		iss, sub, aud := slip(issuer), slip(subject), slip(doctor.Exchange)
		_, err := i.Token(t.Context(), issue.TokenRequest{
			Realm: corp.ID.String(), GrantType: "client_credentials", ClientID: web.ClientID.String(), Scope: "https://vault.azure.net/.default",
			AssertionType: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", Assertion: issue.NewSecret(sign.sign(t, map[string]any{"iss": iss, "sub": sub, "aud": []string{aud}})),
		})
		identity, ok := doctor.Estate{Snapshot: s.Current(), Now: time.Now()}.Identity(web.ClientID)
		if !ok {
			t.Fatal("no identity")
		}
		found := doctor.Estate{Snapshot: s.Current(), Now: time.Now()}.Trust(doctor.Presented{Issuer: doctor.Know(iss), Subject: doctor.Know(sub), Audience: doctor.Know(aud)}, identity, true)
		if (err == nil) != (doctor.Worst(found) == doctor.Right) {
			t.Fatalf("seed %d, round %d: the exchange says %v, the doctor %+v\nof %q %q %q\nand %+v", seed, round, err, found, iss, sub, aud, creds)
		}
		if err == nil {
			accepted++
			continue
		}
		refused++
		if !strings.Contains(err.Error(), "AADSTS7002") && !strings.Contains(err.Error(), "AADSTS70025") {
			t.Fatalf("seed %d: refused for another reason: %v", seed, err)
		}
	}
	if accepted < 20 || refused < 100 {
		t.Errorf("seed %d: %d accepted and %d refused: that tries nothing", seed, accepted, refused)
	}
}

// swap puts credentials in the place of those that there are.
func swap(est *estate.Snapshot, next []directory.FederatedCredential) []estate.Op {
	var ops []estate.Op
	for _, c := range est.FederatedCredentials(web.ClientID) {
		ops = append(ops, estate.Op{Delete: c.Key()})
	}
	for _, c := range next {
		ops = append(ops, estate.Op{Put: c})
	}
	return ops
}
