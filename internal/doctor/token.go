package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// Token is what is known of a token. It holds neither the token nor its signature.
type Token struct {
	Now  time.Time
	Says token.Inspection
	// House is set for a token whose issuer is a tenant of this house, and Cluster
	// names the cluster of the estate whose tokens have the issuer.
	House   bool
	Cluster string
	// Keys are what the issuer publishes.
	Keys Known[token.ForeignKeys]
	// Takers are who takes tokens with the audience, such as a resource's name.
	Takers []string
	// Stands is whether the sign-in that the token comes from was not ended.
	Stands Known[bool]
	Estate Estate
}

// maxNear is how many credentials are shown that nearly take a token.
const maxNear = 3

// ExamineToken says of a token who issued it, whether it holds, and what it is good for.
func ExamineToken(t Token) []Finding {
	f := &findings{about: "token"}
	t.issuer(f)
	t.signature(f)
	t.time(f)
	if t.House {
		t.audience(f)
		t.principal(f)
		return f.all
	}
	f.all = append(f.all, t.trusted()...)
	return f.all
}

func (t Token) issuer(f *findings) {
	what := "somebody outside issued it"
	switch {
	case t.Says.Issuer == "":
		f.wrong("token-issuer", "", "it does not say who issued it")
		return
	case t.House:
		what = "this house issued it"
	case t.Cluster != "":
		what = "cluster " + t.Cluster + " issued it"
	}
	if t.Says.ServiceAccount != "" {
		what += fmt.Sprintf(", to service account %s/%s", t.Says.Namespace, t.Says.ServiceAccount)
	}
	if t.Says.Pod != "" {
		what += ", for pod " + t.Says.Pod
	}
	f.add(Finding{Check: "token-issuer", Verdict: Right, What: what + "; that is what it says, see signature", Got: t.Says.Issuer})
}

func (t Token) signature(f *findings) {
	keys, ok := t.Keys.Get()
	if !ok {
		f.unseen("signature", "the keys of the issuer are not known, so anybody may have made this token: %s", t.Keys.Why())
		return
	}
	switch err := t.Says.Signed(keys); {
	case errors.Is(err, token.ErrKey):
		f.wrong("key", "take a new token: the key may be gone", "its issuer publishes %s, and none named %q for %q", count(keys.Len(), "key"), t.Says.KeyID, t.Says.Alg)
		f.unseen("signature", "without the key the signature was not verified")
	case err != nil:
		f.right("key", "its issuer publishes the key %s", t.Says.KeyID)
		f.wrong("signature", "", "the signature is not that of the key: the token was changed, or made by somebody else")
	default:
		f.right("key", "its issuer publishes the key %s", t.Says.KeyID)
		f.right("signature", "a key of the issuer signed it")
	}
}

func count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

func (t Token) time(f *findings) {
	if err := t.Says.InTime(t.Now); err != nil {
		_, detail, _ := strings.Cut(err.Error(), token.ErrExpired.Error()+": ")
		f.wrong("time", "take a new token; if it is new, set the clocks of both machines", "%s; it is %s now", detail, t.Now.UTC().Format(time.RFC3339))
		return
	}
	f.right("time", "it is valid for %s more, until %s", t.Says.Expires.Sub(t.Now).Round(time.Second), t.Says.Expires.UTC().Format(time.RFC3339))
}

func (t Token) audience(f *findings) {
	aud := strings.Join(t.Says.Audiences, " ")
	switch {
	case len(t.Says.Audiences) != 1:
		f.wrong("token-audience", "ask for a token with one audience", "it is for %s, and must be for exactly one", count(len(t.Says.Audiences), "audience"))
	case len(t.Takers) > 0:
		f.add(Finding{Check: "token-audience", Verdict: Right, What: "it is for " + strings.Join(t.Takers, " and ") + ", and nobody else takes it", Got: aud})
	case t.Estate.Unread != "":
		f.add(Finding{Check: "token-audience", What: "no resource with this audience is seen, and there may be one: " + t.Estate.Unread, Got: aud})
	default:
		f.add(Finding{Check: "token-audience", Verdict: Wrong, What: "no resource has this audience any more", Got: aud, Fix: "ask for a token for a resource that is there"})
	}
	if t.Says.BoundKey != "" {
		f.right("bound", "it is good with the key %s alone, and with no other", t.Says.BoundKey)
	}
}

// principal says whether the one whom a token speaks for is there, and may still
// use what was issued before.
func (t Token) principal(f *findings) {
	id, err := principal.ParseID(t.Says.ObjectID)
	if err != nil {
		f.wrong("principal", "", "it names nobody: its oid is %q", t.Says.ObjectID)
		return
	}
	p, ok := t.Estate.Principal(id)
	switch {
	case !ok && t.Estate.Unread != "":
		f.unseen("principal", "nobody with the object id %s is seen, and there may be one: %s", id, t.Estate.Unread)
	case !ok:
		f.wrong("principal", "sign in again, as somebody who is there", "nobody has the object id %s any more", id)
	case p.Disabled:
		f.wrong("principal", "enable "+p.Name+" again", "%s is disabled: what asks the house refuses the token", p.Name)
	default:
		f.right("principal", "it speaks for %s, who is enabled", p.Name)
	}
	if u, ok := t.Estate.User(id); ok {
		since := t.Says.AuthTime
		if since.IsZero() {
			since = t.Says.IssuedAt
		}
		if since.Before(u.TokensValidFrom) {
			f.wrong("sign-in", "sign in again: gatehouse login", "the sessions of %s were ended at %s, and this one is from %s", p.Name,
				u.TokensValidFrom.UTC().Format(time.RFC3339), since.UTC().Format(time.RFC3339))
			return
		}
	}
	switch stands, known := t.Stands.Get(); {
	case t.Says.IDType == "app": // its own token belongs to no sign-in
	case !known:
		f.unseen("sign-in", "whether its sign-in was ended is not known: %s", t.Stands.Why())
	case stands:
		f.right("sign-in", "its sign-in stands")
	default:
		f.wrong("sign-in", "sign in again: gatehouse login", "its sign-in was ended, or is too old to be known")
	}
}

// trusted says which federated credentials take a token of another issuer, or else
// which come near.
func (t Token) trusted() []Finding {
	f := &findings{about: "token"}
	if len(t.Says.Audiences) != 1 {
		f.add(Finding{Check: "token-audience", Verdict: Wrong, What: fmt.Sprintf("it is for %s, and an exchange takes tokens for exactly one", count(len(t.Says.Audiences), "audience")),
			Got: strings.Join(t.Says.Audiences, " "), Want: Exchange, Fix: "ask for a token with the one audience " + Exchange})
		return f.all
	}
	p := Presented{Issuer: Know(t.Says.Issuer), Subject: Know(t.Says.Subject), Audience: Know(t.Says.Audiences[0])}
	type candidate struct {
		of       Identity
		far      int
		findings []Finding
	}
	var near []candidate
	for _, i := range t.Estate.TokenHolders() {
		if len(t.Estate.FederatedCredentials(i.Client)) == 0 {
			continue
		}
		found := t.Estate.Trust(p, i, false)
		if Worst(found) == Right {
			if i.Disabled {
				f.wrong("client-id", "enable "+i.String()+" again", "%s takes it, and is disabled", i)
			}
			f.all = append(f.all, found...)
			continue
		}
		c := candidate{of: i, findings: found}
		for _, x := range found {
			if x.Verdict == Wrong {
				c.far += 1000 + distance(x.Got, x.Want)
			}
		}
		// One that has nothing of the token is not near.
		if slices.ContainsFunc(found, func(x Finding) bool { return x.Check != CheckAudience && (x.Verdict == Right || x.Differ.Slip()) }) {
			near = append(near, c)
		}
	}
	if len(f.all) > 0 {
		return f.all
	}
	slices.SortStableFunc(near, func(a, b candidate) int { return cmp.Compare(a.far, b.far) })
	for _, c := range near[:min(len(near), maxNear)] {
		f.all = append(f.all, c.findings...)
	}
	switch {
	case t.Estate.Unread != "":
		f.unseen(CheckCredential, "no federated credential is seen that takes it, and there may be one: %s", t.Estate.Unread)
	case len(near) == 0:
		f.wrong(CheckCredential, "", "no federated credential takes it, and none comes near")
	}
	return f.all
}
