package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/identityrequest"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// Presented is what a token says that is to be exchanged.
type Presented struct{ Issuer, Subject, Audience Known[string] }

// The checks of a token against federated credentials.
const (
	CheckCredential = "credential"
	CheckIssuer     = "issuer"
	CheckSubject    = "subject"
	CheckAudience   = "audience"
	// CheckPattern is that of a pattern that the tenant does not let count.
	CheckPattern = "pattern"
)

// CheckRequest is the check of a request that was answered.
const CheckRequest = "request"

// Trust compares what a token says with the federated credentials of one identity:
// with the one that takes it, or else with the one that comes nearest. All is right
// if and only if the exchange accepts it.
//
// Own is set for a token that is known to be the asker's, such as that of a pod of
// his cluster. For others, nothing is proposed that would let somebody new in.
func (e Estate) Trust(p Presented, of Identity, own bool) []Finding {
	all, unread := e.FederatedCredentials(of.Client), ""
	if len(all) == 0 { // whoever may read one of an identity may read all of them
		unread = e.Unread
	}
	for _, c := range all {
		of.credentials = append(of.credentials, c.Name)
	}
	// Nobody signs tokens for the credential of identity bindings.
	counting := slices.DeleteFunc(slices.Clone(e.TrustsOf(of.Client, e.Now)), func(c directory.FederatedCredential) bool {
		m, ok := e.ManagedIdentityByClient(of.Client)
		return ok && c.SameTrust(directory.BindingCredential(m))
	})
	found := trust(p, counting, of, unread, own)
	if Worst(found) == Right {
		return found
	}
	for _, c := range all {
		if e.counts(c) || !token.WantOf(c).Compare(p.Issuer.value, p.Subject.value, p.Audience.value).Whole() {
			continue
		}
		idle := e.idle(c)
		idle.About, idle.What = "credential "+c.Name+" of "+of.String(), "it would take the token, but "+idle.What
		found = append(found, idle)
	}
	return found
}

// idle says why a credential does not count.
func (e Estate) idle(c directory.FederatedCredential) Finding {
	if r, ok := e.IdentityRequest(c.Request); ok {
		return Finding{Check: "request", Verdict: Wrong, What: "the request for an identity that it was made for is not active: " + r.ID.String(), Got: string(e.RequestStatus(r, e.Now)),
			Want: string(identityrequest.IsActive), Fix: "gatehouse identity-request retire " + r.ID.String() + ", and ask again with gatehouse identity-request create"}
	}
	return Finding{Check: CheckPattern, Verdict: Wrong, What: "it has a pattern, and the tenant does not allow patterns: it takes no token", Got: string(c.SubjectPattern), Fix: allowPatterns}
}

// allowPatterns is what a tenant's record must have.
const allowPatterns = "allowSubjectPatterns: true in the record of the tenant, or a credential with the subject itself"

// counts reports whether the exchange looks at a credential.
func (e Estate) counts(c directory.FederatedCredential) bool {
	return slices.ContainsFunc(e.TrustsOf(c.Owner, e.Now), func(o directory.FederatedCredential) bool { return o.Name == c.Name })
}

// trust compares with the credentials that count. unread, if it is not empty, says
// why there may be more.
func trust(p Presented, creds []directory.FederatedCredential, of Identity, unread string, own bool) []Finding {
	f := findings{about: of.String()}
	if len(creds) == 0 {
		if unread != "" {
			f.unseen(CheckCredential, "no federated credential is seen, and there may be some: %s", unread)
			return f.all
		}
		f.wrong(CheckCredential, of.create(p, own), "it has no federated credential that counts: no token of another issuer speaks for it")
		return f.all
	}
	at := nearest(p, creds)
	cred := creds[at]
	f.about = "credential " + cred.Name + " of " + of.String()
	want := token.WantOf(cred)
	if want.Subject == "" {
		want.Subject = string(cred.SubjectPattern) // to be shown
	}
	fit := token.WantOf(cred).Compare(p.Issuer.value, p.Subject.value, p.Audience.value)
	// Of several audiences, which are never stored, the first would be shown.
	parts := []part{
		{CheckIssuer, p.Issuer, want.Issuer, fit.Issuer},
		{CheckSubject, p.Subject, want.Subject, fit.Subject},
		{CheckAudience, p.Audience, strings.Join(want.Audiences, " "), fit.Audience},
	}
	all := allKnown(parts)
	slips := true
	for _, x := range parts {
		slips = slips && (x.fits || cred.SubjectPattern == "" && Compare(x.got.value, x.want).Slip())
	}
	for _, x := range parts {
		switch {
		case !x.got.known:
			f.unseen(x.check, "the %s of the token is not known, the credential's is %s: %s", x.check, x.want, x.got.Why())
		case x.fits:
			f.add(Finding{Check: x.check, Verdict: Right, What: fmt.Sprintf("the %s is the credential's", x.check), Got: x.got.value, Want: x.want})
		default:
			f.add(Finding{Check: x.check, Verdict: Wrong, What: fmt.Sprintf("the %s of the token is not the credential's, which comes nearest of %d", x.check, len(creds)),
				Got: x.got.value, Want: x.want, Differ: Compare(x.got.value, x.want), Fix: of.mend(p, cred, parts, all && slips, own)})
		}
	}
	return f.all
}

// A part is one of the three that a credential compares.
type part struct {
	check string
	got   Known[string]
	want  string
	fits  bool
}

func allKnown(parts []part) bool {
	return !slices.ContainsFunc(parts, func(x part) bool { return !x.got.known })
}

// nearest is the credential that takes a token, or the one that misses it least: in
// the fewest parts, and in those by the least. Parts that are not known count
// nowhere.
func nearest(p Presented, creds []directory.FederatedCredential) int {
	type score struct{ misses, far int }
	of := func(c directory.FederatedCredential) (s score) {
		subject := c.Subject
		if c.SubjectPattern.Matches(p.Subject.value) {
			subject = p.Subject.value
		}
		for _, x := range [][2]string{{p.Issuer.value, c.Issuer}, {p.Subject.value, subject}, {p.Audience.value, strings.Join(c.Audiences, " ")}} {
			if x[0] == "" {
				continue
			}
			if far := distance(x[0], x[1]); far > 0 {
				s.misses++
				s.far += far
			}
		}
		return s
	}
	best, at := of(creds[0]), 0
	for i, c := range creds {
		if s := of(c); cmp.Or(cmp.Compare(s.misses, best.misses), cmp.Compare(s.far, best.far)) < 0 {
			best, at = s, i
		}
	}
	return at
}

// mend is the smallest fix: of a slip, to write the credential again; else one more.
func (i Identity) mend(p Presented, c directory.FederatedCredential, parts []part, slip, own bool) string {
	// The usual audience is right: then it is the token that was asked for wrongly. So it
	// was if it is for somebody else, who could use it as well.
	if a := parts[2]; !a.fits && (a.want == Exchange || !toExchange(p.Audience.value)) && parts[0].fits && parts[1].fits {
		return "ask for a token with the audience " + a.want + ": let the webhook mount it, or set audience in the volume of the pod's template"
	}
	switch {
	case slip, own && parts[0].fits && parts[1].fits && c.SubjectPattern == "":
		return i.write("update", c.Name, p)
	case own:
		return i.create(p, own)
	}
	return ""
}

func (i Identity) create(p Presented, own bool) string {
	if !own || !p.Issuer.known || !p.Subject.known || !p.Audience.known {
		return ""
	}
	name := "workload"
	if ns, sa, ok := cutAccount(p.Subject.value); ok {
		name = strings.ReplaceAll(ns+"-"+sa, ".", "-") // names of credentials have no dots
	}
	if !toExchange(p.Audience.value) {
		p.Audience = Know(Exchange)
	}
	return i.write("create", free(name, 120, func(name string) bool {
		return slices.ContainsFunc(i.credentials, func(c string) bool { return strings.EqualFold(c, name) })
	}), p)
}

// toExchange reports whether tokens for an audience are made to be exchanged, in this
// cloud or another one. A credential for any other audience would let whoever is sent
// such a token be the identity.
func toExchange(audience string) bool {
	return strings.HasPrefix(audience, Exchange)
}

// write is the command that writes a credential.
func (i Identity) write(verb, name string, p Presented) string {
	if i.Managed {
		group, _ := i.Resource.ResourceGroup()
		return fmt.Sprintf("az identity federated-credential %s --name %s --identity-name %s --resource-group %s --issuer %s --subject %s --audiences %s",
			verb, Quote(name), Quote(i.Resource.Name()), Quote(group.Name()), Quote(p.Issuer.value), Quote(p.Subject.value), Quote(p.Audience.value))
	}
	body := fmt.Sprintf(`{"name":%q,"issuer":%q,"subject":%q,"audiences":[%q]}`, name, p.Issuer.value, p.Subject.value, p.Audience.value)
	if verb == "update" {
		return fmt.Sprintf("az ad app federated-credential update --id %s --federated-credential-id %s --parameters %s", i.Client, Quote(name), Quote(body))
	}
	return fmt.Sprintf("az ad app federated-credential create --id %s --parameters %s", i.Client, Quote(body))
}

// Quote writes a text so that a shell takes it as it is, because what a token says
// was chosen by whoever made it.
func Quote(s string) string {
	plain := s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_./:@", r))
	}) < 0
	if plain {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
