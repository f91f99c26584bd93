package check

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/doctor"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// Rules about how workloads and programs prove who they are.
var credentialRules = []Rule{
	{
		ID: "credential-pattern", Title: "A federated credential is for whole clusters", Severity: High,
		Source: bestPractices + ", Use workload identity; " + zeroToHero + ", section 6",
		Explain: `A pattern whose namespace is a star takes the tokens of service accounts of every namespace: whoever
may run pods anywhere in the cluster has the identity.`,
		look: func(l *look) {
			l.credentials(func(f Finding, i doctor.Identity, c directory.FederatedCredential) {
				if a, ok := accountOf(c); ok && strings.Contains(a.Namespace, "*") && strings.Trim(a.Namespace, "*?") == "" {
					f.What = fmt.Sprintf("its pattern %s stands for every namespace", c.SubjectPattern)
					l.takeAway(f, i, c)
				}
			})
		},
	},
	{
		ID: "credential-default-account", Title: "A federated credential is for a default service account", Severity: Medium,
		Source: bestPractices + ", Use workload identity",
		Explain: `Every pod that names no service account runs as default: all of them have the identity, also
those that nobody thought of. Give the workload a service account of its own.`,
		look: func(l *look) {
			l.credentials(func(f Finding, i doctor.Identity, c directory.FederatedCredential) {
				// A name is a pattern that stands for itself.
				if a, ok := accountOf(c); ok && directory.SubjectPattern(a.Name).Matches("default") {
					f.What = fmt.Sprintf("it is for the service account default of namespace %s, as which every pod runs that names none", a.Namespace)
					if a.Name != "default" {
						f.What += ": it fits " + a.Name
					}
					l.takeAway(f, i, c)
				}
			})
		},
	},
	{
		ID: "credential-issuer", Title: "A federated credential is for a cluster that is not known", Severity: Medium,
		Source: enterpriseScale + ", Design considerations for workload identities",
		Explain: `Its issuer is that of no cluster of the directory: the cluster was deleted or made again, or is
somebody else's. Whoever has the keys of that issuer has the identity. Accept it for clusters
that are not in the estate.`,
		look: func(l *look) {
			issuers := make(map[string]bool)
			for _, c := range l.shared.clusters {
				issuers[c.IssuerURL] = true
			}
			l.credentials(func(f Finding, i doctor.Identity, c directory.FederatedCredential) {
				if _, ok := accountOf(c); ok && !issuers[c.Issuer] {
					f.What = "its issuer " + c.Issuer + " is that of no cluster that is known"
					f.Fix = takeAway(i, c)
					l.absent(f)
				}
			})
		},
	},
	{
		ID: "credential-twice", Title: "Two federated credentials differ in a slip of the pen", Severity: Low,
		Source: enterpriseScale + ", Design recommendations for workload identities",
		Explain: `Issuer and subject are compared byte for byte: one of the two takes no token, and hides which
one it is that counts.`,
		look: func(l *look) {
			l.credentials(func(f Finding, i doctor.Identity, c directory.FederatedCredential) {
				for at, other := range l.est.FederatedCredentials(i.Client) {
					if other.Name != c.Name {
						continue
					}
					if twin, ok := doctor.Twin(c, l.est.FederatedCredentials(i.Client)[:at]); ok {
						f.What = fmt.Sprintf("it differs from %s in a slip of the pen alone", twin.Name)
						l.takeAway(f, i, c)
					}
				}
			})
		},
	},
	{
		ID: "credential-limit", Title: "An identity has nearly as many federated credentials as it may", Severity: Low,
		Source: enterpriseScale + ", Design recommendations for workload identities",
		Explain: `Entra ID lets an identity have 20. Take away those that nobody uses, give some workloads another
identity, or use an identity binding, which is one credential for any number of service accounts.`,
		look: func(l *look) {
			for _, i := range l.Estate.TokenHolders() {
				if n := len(l.est.FederatedCredentials(i.Client)); n >= doctor.NearMaxCredentials {
					l.wrong(Finding{About: holderKey(i), Name: i.String(), What: fmt.Sprintf("it has %d federated credentials of %d", n, doctor.MaxCredentials),
						Fix: Fix{Commands: []string{i.RemoveCredential("NAME")}}})
				}
			}
		},
	},
	{
		ID: "client-secret", Title: "A program has a secret", Severity: Low,
		Source: bestPractices + ", Use workload identity; " + bestPractices2019 + ", Use pod identities; " + zeroToHero + ", section 8.4",
		Explain: `A secret works for whoever has it, and lies in a pipeline, an image or a cluster. A workload of a
cluster, and most pipelines, can have a federated credential instead.`,
		look: func(l *look) {
			l.secrets(func(f Finding, s Secret) {
				if !s.Ends.After(l.Now) {
					return
				}
				f.What = "it has a client secret, until " + s.Ends.UTC().Format(time.DateOnly)
				if n := len(l.est.TrustsOf(s.App, l.Now)); n > 0 {
					f.What += fmt.Sprintf(", beside %s", count(n, "federated credential"))
				}
				l.wrong(f)
			})
		},
	},
	{
		ID: "client-secret-life", Title: "A secret lives too long, or is left over", Severity: Medium,
		Source: bestPractices2019 + ", Use pod identities; " + bestPractices + ", Use workload identity",
		Explain: `A secret that is not renewed for half a year is known to more people each day. One that has ended
says that nobody looks after the program.`,
		look: func(l *look) {
			l.secrets(func(f Finding, s Secret) {
				switch life := s.Ends.Sub(s.Begins); {
				case !s.Ends.After(l.Now):
					f.What = "its client secret ended on " + s.Ends.UTC().Format(time.DateOnly)
				case s.Begins.IsZero() || life > longLife:
					f.What = fmt.Sprintf("its client secret lives %d days, until %s", int(life/(24*time.Hour)), s.Ends.UTC().Format(time.DateOnly))
				default:
					return
				}
				l.wrong(f)
			})
		},
	},
}

// longLife is for how long a secret may live. It is what the house gives a new one.
const longLife = 181 * 24 * time.Hour

// holderKey is the key of a managed identity or application.
func holderKey(i doctor.Identity) record.Key {
	if i.Managed {
		return keyOf(i.Object)
	}
	return record.KeyOf(record.Application, i.Client.String())
}

// credentials calls f for each federated credential that counts, with the beginning of
// a finding about it.
func (l *look) credentials(f func(Finding, doctor.Identity, directory.FederatedCredential)) {
	for _, i := range l.Estate.TokenHolders() {
		for _, c := range l.est.TrustsOf(i.Client, l.Now) {
			f(Finding{About: c.Key(), Name: fmt.Sprintf("credential %s of %s", c.Name, i), Cluster: l.shared.issuers[c.Issuer]}, i, c)
		}
	}
}

// takeAway adds a finding that is mended by taking a federated credential away.
func (l *look) takeAway(f Finding, i doctor.Identity, c directory.FederatedCredential) {
	f.Fix = takeAway(i, c)
	l.wrong(f)
}

func takeAway(i doctor.Identity, c directory.FederatedCredential) Fix {
	return Fix{Commands: []string{i.RemoveCredential(c.Name)}, Ops: []estate.Op{{Delete: c.Key()}}}
}

// accountOf is the service account that a federated credential is for, whose
// namespace and name may be patterns.
func accountOf(c directory.FederatedCredential) (kuberbac.Subject, bool) {
	rest, ok := strings.CutPrefix(cmp.Or(c.Subject, string(c.SubjectPattern)), "system:serviceaccount:")
	namespace, name, two := strings.Cut(rest, ":")
	return kuberbac.Subject{Kind: kuberbac.ServiceAccount, Namespace: namespace, Name: name}, ok && two && namespace != ""
}

// secrets calls f for each client secret that is known of.
func (l *look) secrets(f func(Finding, Secret)) {
	all, ok := l.Secrets.Get()
	if !ok {
		l.unseen(Finding{About: record.KeyOf(Place, scope.Root.String()), Name: "applications", What: "which secrets they have is not known: " + l.Secrets.Why()})
		return
	}
	for _, s := range all {
		i, ok := l.Estate.Identity(s.App)
		if !ok {
			continue
		}
		f(Finding{About: record.KeyOf(ClientSecret, s.App.String(), s.KeyID), Name: i.String(),
			Fix: Fix{Commands: []string{words("az", "ad", "app", "credential", "delete", "--id", s.App.String(), "--key-id", s.KeyID)}}}, s)
	}
}
