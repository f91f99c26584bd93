package doctor_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/doctor"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

var (
	ana  = directory.User{ID: principal.ID{4}, Tenant: corp.ID, UserPrincipalName: "ana@corp.example"}
	gone = directory.User{ID: principal.ID{5}, Tenant: corp.ID, UserPrincipalName: "gone@corp.example", Disabled: true}
	late = directory.User{ID: principal.ID{6}, Tenant: corp.ID, UserPrincipalName: "late@corp.example", TokensValidFrom: time.Now().Add(time.Hour)}
	cred = directory.FederatedCredential{Owner: web.ClientID, Name: "shop-web", Issuer: issuer, Subject: subject, Audiences: []string{doctor.Exchange}}
)

var (
	pattern  = directory.FederatedCredential{Owner: web.ClientID, Name: "pattern", Issuer: issuer, SubjectPattern: "system:serviceaccount:batch:*", Audiences: []string{doctor.Exchange}}
	allowing = directory.Tenant{ID: corp.ID, Domains: corp.Domains, AllowSubjectPatterns: true}
)

func load(t testing.TB, records ...record.Record) doctor.Estate {
	t.Helper()
	all := slices.DeleteFunc(places(), func(p record.Record) bool {
		return slices.ContainsFunc(records, func(r record.Record) bool { return r.Key() == p.Key() })
	})
	// The tenant comes first: what follows refers to it.
	slices.SortStableFunc(records, func(a, b record.Record) int { return rank(a) - rank(b) })
	at := 0
	for at < len(records) && rank(records[at]) == 0 {
		at++
	}
	est, err := estate.Load(1, slices.Values(slices.Concat(records[:at], all, records[at:])))
	if err != nil {
		t.Fatal(err)
	}
	return doctor.Estate{Snapshot: est}
}

func rank(r record.Record) int {
	if r.Key().Kind == record.Tenant {
		return 0
	}
	return 1
}

// find returns the findings of a check.
func find(all []doctor.Finding, check string) (found []doctor.Finding) {
	for _, f := range all {
		if f.Check == check {
			found = append(found, f)
		}
	}
	return found
}

// expect says that a check has a verdict, and a text in what it says.
func expect(t *testing.T, all []doctor.Finding, check string, want doctor.Verdict, says string) {
	t.Helper()
	for _, f := range find(all, check) {
		if f.Verdict == want && strings.Contains(fmt.Sprintf("%s %s %s %v %s", f.What, f.Got, f.Want, f.Differ, f.Fix), says) {
			return
		}
	}
	t.Errorf("no finding %s that is %s and says %q in %+v", check, want, says, all)
}

func TestTokens(t *testing.T) {
	t.Parallel()
	sign := newSigner(t)
	est := load(t, ana, gone, late, cred)
	account := map[string]any{"iss": issuer, "sub": subject, "aud": []string{doctor.Exchange},
		"kubernetes.io": map[string]any{"namespace": "shop", "serviceaccount": map[string]any{"name": "web"}, "pod": map[string]any{"name": "web-1"}}}
	person := func(u directory.User) map[string]any {
		return map[string]any{"iss": "https://gatehouse.example/" + corp.ID.String() + "/", "aud": "x", "tid": corp.ID.String(), "oid": u.ID.String(), "appid": "a", "idtyp": "user"}
	}
	with := func(claims map[string]any, key string, value any) map[string]any {
		out := map[string]any{key: value}
		for k, v := range claims {
			if k != key {
				out[k] = v
			}
		}
		return out
	}
	for _, tt := range []struct {
		law    string
		claims map[string]any
		change func(*doctor.Token)
		check  string
		want   doctor.Verdict
		says   string
		worst  doctor.Verdict
	}{
		{"a service account's token that a credential takes", account, nil, "subject", doctor.Right, "", doctor.Right},
		{"it says for which account and pod", account, nil, "token-issuer", doctor.Right, "service account shop/web, for pod web-1", doctor.Right},
		{"without keys nobody knows who made it", account, func(d *doctor.Token) { d.Keys = doctor.Known[token.ForeignKeys]{} }, "signature", doctor.NotEvaluated, "anybody may have made", doctor.NotEvaluated},
		{"a key that the issuer does not publish", account, func(d *doctor.Token) { d.Keys = doctor.Know(token.ForeignKeys{}) }, "key", doctor.Wrong, "0 keys", doctor.Wrong},
		{"and then the signature is not verified", account, func(d *doctor.Token) { d.Keys = doctor.Know(token.ForeignKeys{}) }, "signature", doctor.NotEvaluated, "", doctor.Wrong},
		{"a token that has expired", account, func(d *doctor.Token) { d.Now = d.Now.Add(2 * time.Hour) }, "time", doctor.Wrong, "it ended at", doctor.Wrong},
		{"a token from the future", account, func(d *doctor.Token) { d.Now = d.Now.Add(-2 * time.Hour) }, "time", doctor.Wrong, "not valid yet", doctor.Wrong},
		{"a token for two", with(account, "aud", []string{doctor.Exchange, "x"}), nil, "token-audience", doctor.Wrong, "2 audiences", doctor.Wrong},
		{"the slash at the end of the issuer", with(account, "iss", strings.TrimSuffix(issuer, "/")), nil, "issuer", doctor.Wrong, "trailing slash", doctor.Wrong},
		{"a slip is mended in the credential", with(account, "iss", strings.TrimSuffix(issuer, "/")), nil, "issuer", doctor.Wrong, "az identity federated-credential update --name shop-web --identity-name web --resource-group rg", doctor.Wrong},
		{"an audience without api://", with(account, "aud", "AzureADTokenExchange"), nil, "audience", doctor.Wrong, "missing prefix", doctor.Wrong},
		{"the audience of API servers", with(account, "aud", "https://kubernetes.default.svc"), nil, "audience", doctor.Wrong, "ask for a token with the audience", doctor.Wrong},
		{"another namespace", with(account, "sub", "system:serviceaccount:test:web"), nil, "subject", doctor.Wrong, "the namespace is test, not shop", doctor.Wrong},
		{"nothing that comes near", with(with(account, "sub", "system:serviceaccount:test:job"), "iss", "https://evil.example/"), nil, "credential", doctor.Wrong, "none comes near", doctor.Wrong},
		{"what may not be read is not missing", with(with(account, "sub", "system:serviceaccount:test:job"), "iss", "https://evil.example/"),
			func(d *doctor.Token) { d.Estate.Unread = "no right" }, "credential", doctor.NotEvaluated, "no right", doctor.NotEvaluated},
		{"a pattern that the tenant does not allow", with(account, "sub", "system:serviceaccount:batch:job"), func(d *doctor.Token) { d.Estate = load(t, cred, pattern) }, "pattern", doctor.Wrong, "does not allow patterns", doctor.Wrong},
		{"a pattern that the tenant allows", with(account, "sub", "system:serviceaccount:batch:job"), func(d *doctor.Token) { d.Estate = load(t, allowing, cred, pattern) }, "subject", doctor.Right, "system:serviceaccount:batch:*", doctor.Right},
		{"a person's token", person(ana), nil, "principal", doctor.Right, "ana@corp.example", doctor.Right},
		{"a token of a person who is disabled", person(gone), nil, "principal", doctor.Wrong, "is disabled", doctor.Wrong},
		{"a token of somebody who is gone", person(directory.User{ID: principal.ID{99}}), nil, "principal", doctor.Wrong, "nobody has the object id", doctor.Wrong},
		{"a token of somebody who may not be read", person(directory.User{ID: principal.ID{99}}), func(d *doctor.Token) { d.Estate.Unread = "no right" }, "principal", doctor.NotEvaluated, "no right", doctor.NotEvaluated},
		{"sessions that were ended", person(late), nil, "sign-in", doctor.Wrong, "were ended at", doctor.Wrong},
		{"a sign-in that was ended", person(ana), func(d *doctor.Token) { d.Stands = doctor.Know(false) }, "sign-in", doctor.Wrong, "was ended", doctor.Wrong},
		{"a sign-in that nobody asked about", person(ana), func(d *doctor.Token) { d.Stands = doctor.Known[bool]{} }, "sign-in", doctor.NotEvaluated, "nobody looked", doctor.NotEvaluated},
		{"an application's token belongs to no sign-in", with(person(ana), "idtyp", "app"), func(d *doctor.Token) { d.Stands = doctor.Known[bool]{} }, "principal", doctor.Right, "", doctor.Right},
		{"a resource that is gone", person(ana), func(d *doctor.Token) { d.Takers = nil }, "token-audience", doctor.Wrong, "no resource", doctor.Wrong},
		{"a token that is bound to a key", with(person(ana), "cnf", map[string]any{"kid": "thumb"}), nil, "bound", doctor.Right, "thumb", doctor.Right},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			says, err := token.Inspect(sign.sign(t, tt.claims))
			if err != nil {
				t.Fatal(err)
			}
			d := doctor.Token{Now: time.Now(), Says: says, House: strings.HasPrefix(says.Issuer, "https://gatehouse"), Keys: doctor.Know(sign.keys),
				Takers: []string{"the vault"}, Stands: doctor.Know(true), Estate: est}
			if tt.change != nil {
				tt.change(&d)
			}
			found := doctor.ExamineToken(d)
			expect(t, found, tt.check, tt.want, tt.says)
			if got := doctor.Worst(found); got != tt.worst {
				t.Errorf("all in all %s, want %s: %+v", got, tt.worst, found)
			}
		})
	}
}

// A token of a stranger must not talk anybody into trusting it: no command is
// proposed that lets in somebody new, and nothing of it reaches a shell unquoted.
func TestNoFixLetsAStrangerIn(t *testing.T) {
	t.Parallel()
	est := load(t, cred)
	for _, claims := range []map[string]any{
		{"iss": "https://evil.example/", "sub": subject, "aud": doctor.Exchange},
		{"iss": issuer, "sub": "system:serviceaccount:shop:'; rm -rf / #", "aud": doctor.Exchange},
		{"iss": issuer, "sub": "system:serviceaccount:evil:web", "aud": doctor.Exchange},
	} {
		says, err := token.Inspect(newSigner(t).sign(t, claims))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range doctor.ExamineToken(doctor.Token{Now: time.Now(), Says: says, Estate: est}) {
			if strings.Contains(f.Fix, "az ") {
				t.Errorf("%v: %s", claims, f.Fix)
			}
		}
	}
	identity, _ := est.Identity(web.ClientID)
	evil := "system:serviceaccount:shop:$(id)'; id #"
	for _, f := range est.Trust(doctor.Presented{Issuer: doctor.Know(issuer), Subject: doctor.Know(evil), Audience: doctor.Know(doctor.Exchange)}, identity, true) {
		if f.Fix != "" && !strings.Contains(f.Fix, `--subject 'system:serviceaccount:shop:$(id)'\''; id #'`) {
			t.Errorf("a text that a shell would read: %s", f.Fix)
		}
	}
}

func TestWhatNobodyLookedAtIsNeverRight(t *testing.T) {
	t.Parallel()
	var f doctor.Finding
	if f.Verdict != doctor.NotEvaluated || doctor.Worst(nil) != doctor.NotEvaluated || doctor.Worst([]doctor.Finding{{Verdict: doctor.Right}, f}) != doctor.NotEvaluated {
		t.Error("a check that nobody made passes for right")
	}
	if doctor.Worst([]doctor.Finding{f, {Verdict: doctor.Wrong}, {Verdict: doctor.Right}}) != doctor.Wrong || doctor.Worst([]doctor.Finding{{Verdict: doctor.Right}}) != doctor.Right {
		t.Error("the worst is not the worst")
	}
	if _, ok := (doctor.Known[int]{}).Get(); ok {
		t.Error("a fact that nobody found out is known")
	}
}
