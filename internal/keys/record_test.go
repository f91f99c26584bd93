package keys

import (
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// FuzzParseKey: a stored key is read as it was written, or not at all, and never
// under another kid than its own.
func FuzzParseKey(f *testing.F) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	c := Config{Alg: token.ES256, SignFor: time.Hour, TokenLife: time.Hour}
	op, err := newKey(c, made{chainID{directory.TenantID{1}, token.AccessToken}, now}, now)
	if err != nil {
		f.Fatal(err)
	}
	k, err := parseKey(store.PrivateItem{ID: op.ID, Value: op.Value})
	if err != nil || k.ID != op.ID[1] || !k.signFrom.Equal(now) || k.Tenant != (directory.TenantID{1}) || k.Purpose != token.AccessToken {
		f.Fatalf("a new key reads back as %v, %v", k, err)
	}
	f.Add(op.Value, op.ID[1])
	f.Add([]byte(`{"kid":"x"}`), "x")
	f.Fuzz(func(t *testing.T, value []byte, kid string) {
		k, err := parseKey(store.PrivateItem{ID: []string{keyID, kid}, Value: value})
		switch {
		case err != nil && k.ID != "":
			t.Fatal("a key together with an error")
		case err == nil && (k.ID != kid || k.Tenant.IsZero() || k.Purpose == "" || !k.NotBefore.Before(k.NotAfter)):
			t.Fatalf("accepted %+v under %q", k.Key, kid)
		}
	})
}
