package token_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestShapes(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*token.Claims){
		"user-v1": func(*token.Claims) {},
		"user-v2": func(c *token.Claims) {
			c.Version, c.Issuer = token.V2, "https://login.microsoftonline.com/"+tenantText+"/v2.0"
		},
		"app-v1": func(c *token.Claims) {
			*c = token.Claims{
				Version: c.Version, Use: c.Use, Issuer: c.Issuer, Audience: c.Audience, Tenant: c.Tenant, ID: c.ID, AppID: c.AppID,
				IssuedAt: c.IssuedAt, NotBefore: c.NotBefore, Expires: c.Expires, IDType: "app", AppAuth: "2",
				ObjectID: c.ObjectID, Subject: c.ObjectID.String(), Roles: []string{"Reader"},
			}
		},
		"id-v2": func(c *token.Claims) {
			*c = token.Claims{
				Version: token.V2, Use: token.IDToken, Issuer: "https://login.microsoftonline.com/" + tenantText + "/v2.0", Audience: client,
				Tenant: c.Tenant, ID: c.ID, IssuedAt: c.IssuedAt, NotBefore: c.NotBefore, Expires: c.Expires,
				ObjectID: c.ObjectID, Subject: c.Subject, Name: c.Name, Username: c.Username, Nonce: "n-1",
			}
		},
		"overage-v1": func(c *token.Claims) {
			c.Groups, c.Overage = manyGroups(token.MaxGroups+1), "https://graph.example/members"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := claims()
			change(&c)
			raw, err := c.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if err := json.Indent(&got, raw, "", "  "); err != nil {
				t.Fatal(err)
			}
			got.WriteByte('\n')
			file := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("wire form changed (-want +got); run with -update if that is right:\n%s", diff)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	w := theWorld()
	for version, want := range map[string]string{
		token.V1: `{"typ":"JWT","alg":"RS256","x5t":"` + w.rsa.ID + `","kid":"` + w.rsa.ID + `"}`,
		token.V2: `{"typ":"JWT","alg":"RS256","kid":"` + w.rsa.ID + `"}`,
	} {
		head, _, _ := strings.Cut(sign(t, w.rsa, func(c *token.Claims) { c.Version = version }), ".")
		if got := string(decode(head)); got != want {
			t.Errorf("header of version %s = %s, want %s", version, got, want)
		}
	}
}

func manyGroups(n int) []principal.ID {
	groups := make([]principal.ID, n)
	for i := range groups {
		groups[i] = principal.NewID()
	}
	return groups
}

func TestOverage(t *testing.T) {
	t.Parallel()
	w := theWorld()
	verify := func(change func(*token.Claims)) token.Claims {
		t.Helper()
		c, err := token.Verify(sign(t, w.es, change), w.set, want, now)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := verify(func(c *token.Claims) { c.Groups, c.Overage = manyGroups(200), "https://g.example" }); len(c.Groups) != 200 || c.HasOverage() {
		t.Errorf("200 groups: %d groups, overage %t; want all of them", len(c.Groups), c.HasOverage())
	}
	if c := verify(func(c *token.Claims) { c.Groups, c.Overage = manyGroups(201), "https://g.example" }); c.Groups != nil || c.Overage != "https://g.example" {
		t.Errorf("201 groups: %d groups, overage %q; want the place to ask", len(c.Groups), c.Overage)
	}
	if c := verify(func(c *token.Claims) { c.Groups = nil }); c.Groups != nil || c.HasOverage() {
		t.Errorf("no groups: %v, overage %t", c.Groups, c.HasOverage())
	}
	c := claims()
	c.Groups = manyGroups(201)
	if raw, err := token.Sign(w.es, c, "JWT"); !is(err, token.ErrMalformed) || raw != "" {
		t.Errorf("201 groups and nowhere to ask: %q, %v, want ErrMalformed", raw, err)
	}
}

func TestSignRefuses(t *testing.T) {
	t.Parallel()
	w := theWorld()
	for _, tt := range []struct {
		law    string
		change func(*token.Claims)
		want   error
	}{
		{"another tenant than the key's", func(c *token.Claims) { c.Tenant = other }, token.ErrKey},
		{"another use than the key's", func(c *token.Claims) { c.Use = token.IDToken }, token.ErrKey},
		{"nobody", func(c *token.Claims) { c.ObjectID = principal.ID{} }, token.ErrMalformed},
		{"nobody's subject", func(c *token.Claims) { c.Subject = "" }, token.ErrMalformed},
		{"no audience", func(c *token.Claims) { c.Audience = "" }, token.ErrMalformed},
		{"no version", func(c *token.Claims) { c.Version = "" }, token.ErrMalformed},
		{"no client", func(c *token.Claims) { c.AppID = directory.AppID{} }, token.ErrMalformed},
		{"no end", func(c *token.Claims) { c.Expires = c.IssuedAt }, token.ErrMalformed},
		{"a scope with a blank", func(c *token.Claims) { c.Scopes = []string{"user.read admin"} }, token.ErrMalformed},
		{"more than anybody reads", func(c *token.Claims) { c.Name = strings.Repeat("x", token.MaxSize) }, token.ErrMalformed},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			c := claims()
			tt.change(&c)
			if raw, err := token.Sign(w.es, c, "JWT"); !is(err, tt.want) || raw != "" {
				t.Errorf("Sign = %q, %v, want %v", raw, err, tt.want)
			}
		})
	}
	if raw, err := token.Sign(token.SigningKey{}, object{}, "JWT"); !is(err, token.ErrKey) || raw != "" {
		t.Errorf("Sign with no key = %q, %v, want ErrKey", raw, err)
	}
}

func FuzzVerify(f *testing.F) {
	w := theWorld()
	f.Add(sign(f, w.rsa, func(*token.Claims) {}))
	f.Add(sign(f, w.id, func(c *token.Claims) { c.Use = token.IDToken; c.AppID, c.AppAuth = directory.AppID{}, "" }))
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, raw string) {
		c, err := token.Verify(raw, w.set, want, now)
		if err != nil {
			mustRefuse(t, c, err, token.ErrInvalid)
			return
		}
		if c.Tenant != tenant || c.Use != token.AccessToken || c.Issuer != issuer || c.ObjectID.IsZero() || c.Subject == "" {
			t.Fatalf("accepted %+v", c)
		}
	})
}

// FuzzPayload signs arbitrary payloads: whatever is accepted can be written and
// read again, and says the same. RSA, because the random numbers of ECDSA look
// like new paths to the fuzzer.
func FuzzPayload(f *testing.F) {
	w := theWorld()
	f.Add(payload(nil))
	f.Add(payload(object{"exp": float64(now.Unix()) + 60.5, "groups": nil}))
	f.Add([]byte(`{"sub":"a","SUB":"b"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := token.Verify(forge(w.rsa, header(w.rsa, nil), text), w.set, want, now)
		if err != nil {
			mustRefuse(t, c, err, token.ErrInvalid)
			return
		}
		raw, err := token.Sign(w.rsa, c, "JWT")
		if err != nil {
			t.Fatalf("cannot write again what was read: %v\n%s", err, text)
		}
		again, err := token.Verify(raw, w.set, want, now)
		if err != nil && !is(err, token.ErrExpired) { // a fraction of the last second is lost
			t.Fatalf("cannot read again what was written: %v\n%s", err, text)
		}
		if err == nil && (again.ObjectID != c.ObjectID || again.Subject != c.Subject || !cmp.Equal(again.Groups, c.Groups) || again.Overage != c.Overage) {
			t.Fatalf("claims changed: %+v, then %+v", c, again)
		}
	})
}

// FuzzSign: everything that can be signed is read as it was meant.
func FuzzSign(f *testing.F) {
	w := theWorld()
	f.Add("sub", "ana@contoso.example", "Ana", "n", "user.read", false)
	f.Add("", "\xff", "\u2028", " ", "", true)
	f.Fuzz(func(t *testing.T, sub, name, display, nonce, scope string, second bool) {
		c := claims()
		c.Subject, c.Username, c.Name, c.Nonce, c.Scopes = sub, name, display, nonce, []string{scope}
		if second {
			c.Version, c.UPN, c.GivenName, c.FamilyName, c.AMR, c.ACR = token.V2, "", "", "", nil, ""
		}
		raw, err := token.Sign(w.rsa, c, "JWT")
		if err != nil {
			return
		}
		got, err := token.Verify(raw, w.set, want, now)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, got); diff != "" {
			t.Fatalf("claims changed (-want +got):\n%s", diff)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	w := theWorld()
	for _, key := range []token.SigningKey{w.rsa, w.es} {
		raw := sign(b, key, func(c *token.Claims) { c.Groups = manyGroups(20) })
		dot := strings.LastIndexByte(raw, '.')
		b.Run("alg="+key.Alg+"/of=token", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := token.Verify(raw, w.set, want, now); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("alg="+key.Alg+"/of=bare signature", func(b *testing.B) {
			b.ReportAllocs()
			sig := decode(raw[dot+1:])
			for b.Loop() {
				if !bareVerify(key.Public, raw[:dot], sig) {
					b.Fatal("refused")
				}
			}
		})
	}
}

func BenchmarkSign(b *testing.B) {
	w := theWorld()
	for _, key := range []token.SigningKey{w.rsa, w.es} {
		c := claims()
		text := string(payload(nil))
		p := private(key)
		b.Run("alg="+key.Alg+"/of=token", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := token.Sign(key, c, "JWT"); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("alg="+key.Alg+"/of=bare signature", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				rawSign(p, text)
			}
		})
	}
}
