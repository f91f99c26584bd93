package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/inject"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// A Sweep is what is known of all identities, and of the clusters that were read.
type Sweep struct {
	Now    time.Time
	Estate Estate
	Read   []Swept
	// Uses are when identities got their latest token.
	Uses Known[Uses]
}

// Uses are the latest uses of identities. Since an instant, none is missing.
type Uses struct {
	Since  time.Time
	Latest map[principal.ID]time.Time
}

// Swept is what is known of all workloads of a cluster.
type Swept struct {
	Cluster resource.Cluster
	// Issuer is for what its API server signs tokens.
	Issuer   Known[string]
	Accounts Known[[]corev1.ServiceAccount]
	Pods     Known[[]corev1.Pod]
	// MayUse says, by namespace and name of a service account, what Account.MayUse says.
	MayUse map[[2]string]map[string]Known[bool]
}

// account is what a sweep knows of a service account; the object is nil if it is gone.
func (s Sweep) account(c Swept, namespace, name string, object *corev1.ServiceAccount) Account {
	return Account{Namespace: namespace, Name: name, Object: Know(object), Cluster: Cluster{Record: c.Cluster, Issuer: c.Issuer}, Estate: s.Estate, MayUse: c.MayUse[[2]string{namespace, name}]}
}

// A wish is a service account with what it, or a pod of it, asks for.
type wish struct {
	namespace, account, client string
}

// notRight adds what is not right about what somebody asks for.
func (f *findings) notRight(who string, found []Finding) {
	for _, x := range found {
		if x.Verdict == Right {
			continue
		}
		if x.About != who {
			x.About = who + ", " + x.About
		}
		f.add(x)
	}
}

// Bounds of a sweep.
const (
	// MaxCredentials is how many federated credentials Entra ID lets an identity have.
	MaxCredentials = 20
	// NearMaxCredentials is how many are near that.
	NearMaxCredentials = 18
	// unusedFor is for how long an identity must not have been used to be called so: what
	// runs once a month uses its identity.
	unusedFor = 35 * 24 * time.Hour
)

// ExamineAll looks for what is wrong with many pods, service accounts, credentials
// and identities. Of what is right it says how much there is. Where no cluster was
// read at all, it says of each that nobody looked.
func ExamineAll(s Sweep) []Finding {
	var all []Finding
	if len(s.Read) == 0 {
		for c := range s.Estate.Clusters() {
			all = append(all, Finding{Check: "workloads", About: "cluster " + c.Name, What: "its pods and service accounts were not looked at", Fix: "gatehouse doctor --all --cluster " + Quote(c.Name)})
		}
	}
	for _, c := range s.Read {
		pods, asked := s.pods(c)
		all = append(all, pods...)
		all = append(all, s.accounts(c, asked)...)
	}
	all = append(all, s.credentials()...)
	all = append(all, s.identities()...)
	return all
}

// pods looks at the pods of a cluster. It returns as well what was asked for, and
// whether that is right: of many pods that ask for the same, one is spoken of.
func (s Sweep) pods(c Swept) ([]Finding, map[wish]Verdict) {
	f := &findings{about: "cluster " + c.Cluster.Name}
	pods, ok := c.Pods.Get()
	accounts, okAccounts := c.Accounts.Get()
	if !ok || !okAccounts {
		why := c.Pods.Why()
		if ok {
			why = c.Accounts.Why()
		}
		f.unseen("pods", "the pods could not be looked at: %s", why)
		return f.all, nil
	}
	byName := make(map[[2]string]*corev1.ServiceAccount)
	for i, sa := range accounts {
		byName[[2]string{sa.Namespace, sa.Name}] = &accounts[i]
	}
	type question struct {
		wish
		tenant, audience string
		binding          bool
	}
	answers, asked := make(map[question]Verdict), make(map[wish]Verdict)
	fine := 0
	for i := range pods {
		p := &pods[i]
		name := inject.ServiceAccountOf(p)
		sa := byName[[2]string{p.Namespace, name}]
		found := inject.Missing(p, sa)
		for _, x := range found {
			out := Finding{Check: x.ID, About: fmt.Sprintf("pod %s/%s", p.Namespace, p.Name), Verdict: Wrong, What: x.What, Fix: x.Fix}
			if x.ID == inject.NotEvaluated {
				out.Check, out.Verdict = "variable", NotEvaluated
			}
			f.add(out)
		}
		if len(found) > 0 || !inject.Wanted(p) {
			continue
		}
		pod := Pod{Now: s.Now, Pod: p, Account: s.account(c, p.Namespace, name, sa)}
		_, tenant, _ := pod.asks()
		q := question{wish{p.Namespace, name, pod.Client()}, tenant, pod.audience().value, pod.asksBinding()}
		verdict, answered := answers[q]
		if !answered {
			got := pod.identity()
			verdict = Worst(got)
			f.notRight(fmt.Sprintf("pod %s/%s", p.Namespace, p.Name), got)
			answers[q] = verdict
		}
		if was, told := asked[q.wish]; !told || was == Right {
			asked[q.wish] = verdict
		}
		if verdict == Right {
			fine++
		}
	}
	f.right("pods", "%s of %d with the identity that they ask for", count(fine, "pod"), len(pods))
	return f.all, asked
}

// accounts looks at the service accounts of a cluster. What their pods ask for has
// been spoken of.
func (s Sweep) accounts(c Swept, asked map[wish]Verdict) []Finding {
	f := &findings{about: "cluster " + c.Cluster.Name}
	accounts, ok := c.Accounts.Get()
	if !ok {
		f.unseen("service-accounts", "the service accounts could not be read: %s", c.Accounts.Why())
		return f.all
	}
	fine := 0
	for i := range accounts {
		sa := &accounts[i]
		client := sa.Annotations[inject.ClientIDAnnotation]
		if client == "" {
			continue
		}
		verdict, told := asked[wish{sa.Namespace, sa.Name, client}]
		if !told {
			found := s.account(c, sa.Namespace, sa.Name, sa).identity(client, sa.Annotations[inject.TenantIDAnnotation], nil)
			verdict = Worst(found)
			f.notRight(fmt.Sprintf("service account %s/%s", sa.Namespace, sa.Name), found)
		}
		if verdict == Right {
			fine++
		}
	}
	f.right("service-accounts", "%s of %d whose tokens buy those of the identity that they name", count(fine, "service account"), len(accounts))
	return f.all
}

// credentials looks at all federated credentials.
func (s Sweep) credentials() []Finding {
	f := &findings{about: "federated credentials"}
	if s.Estate.Unread != "" {
		f.unseen("credentials", "there may be more than are seen: %s", s.Estate.Unread)
	}
	fine, elsewhere := 0, make(map[string]int)
	for _, i := range s.Estate.TokenHolders() {
		creds := s.Estate.FederatedCredentials(i.Client)
		if len(creds) >= NearMaxCredentials {
			f.add(Finding{Check: "limit", About: i.String(), Verdict: Wrong, What: fmt.Sprintf("it has %d federated credentials, and Entra ID lets it have %d", len(creds), MaxCredentials),
				Fix: "take away those that nobody uses, or give some workloads another identity"})
		}
		for at, c := range creds {
			one := &findings{about: "credential " + c.Name + " of " + i.String()}
			s.twice(one, i, c, creds[:at])
			if cluster := s.leads(one, i, c); cluster != "" {
				elsewhere[cluster]++
				continue
			}
			if len(one.all) == 0 {
				fine++
			}
			f.all = append(f.all, one.all...)
		}
	}
	for _, name := range sorted(elsewhere) {
		f.add(Finding{Check: "subject-exists", About: "cluster " + name, What: fmt.Sprintf("whether the service accounts of %s exist is not known: the cluster was not read", count(elsewhere[name], "credential"))})
	}
	f.right("credentials", "%s with nothing wrong", count(fine, "federated credential"))
	return f.all
}

func sorted(m map[string]int) []string {
	var names []string
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// twice finds a credential that differs from another one of the identity in a slip.
func (s Sweep) twice(f *findings, i Identity, c directory.FederatedCredential, others []directory.FederatedCredential) {
	if o, ok := Twin(c, others); ok {
		f.wrong("twice", i.RemoveCredential(c.Name), "it differs from %s in a slip of the pen alone, and one of the two takes no token", o.Name)
	}
}

// Twin returns the first of other credentials that a credential differs from in a
// slip of the pen alone.
func Twin(c directory.FederatedCredential, others []directory.FederatedCredential) (directory.FederatedCredential, bool) {
	same := func(a, b string) bool { return a == b || Compare(a, b).Slip() }
	for _, o := range others {
		if c.SubjectPattern == "" && o.SubjectPattern == "" && same(c.Issuer, o.Issuer) && same(c.Subject, o.Subject) {
			return o, true
		}
	}
	return directory.FederatedCredential{}, false
}

// RemoveCredential is the command that takes a federated credential away.
func (i Identity) RemoveCredential(name string) string {
	if !i.Managed {
		return fmt.Sprintf("az ad app federated-credential delete --id %s --federated-credential-id %s", i.Client, Quote(name))
	}
	group, _ := i.Resource.ResourceGroup()
	return fmt.Sprintf("az identity federated-credential delete --name %s --identity-name %s --resource-group %s", Quote(name), Quote(i.Resource.Name()), Quote(group.Name()))
}

// leads says whether a credential leads to a service account that is there. It
// returns the name of its cluster if that was not read.
func (s Sweep) leads(f *findings, i Identity, c directory.FederatedCredential) (unread string) {
	if !s.Estate.counts(c) {
		f.add(s.Estate.idle(c))
		return ""
	}
	subject := cmp.Or(c.Subject, string(c.SubjectPattern))
	_, _, account := cutAccount(subject)
	for cluster := range s.Estate.Clusters() {
		switch {
		case cluster.IssuerURL == "" || cluster.IssuerURL != c.Issuer:
		case !account:
			f.add(Finding{Check: "subject-exists", Verdict: Wrong, What: "tokens of cluster " + cluster.Name + " are of service accounts, and the subject is none", Got: subject,
				Want: accountPrefix + "NAMESPACE:NAME", Fix: i.RemoveCredential(c.Name)})
			return ""
		default:
			return s.exists(f, i, c, cluster)
		}
	}
	for cluster := range s.Estate.Clusters() {
		if d := Compare(c.Issuer, cluster.IssuerURL); cluster.IssuerURL != "" && d.Slip() {
			out := Finding{Check: "issuer-known", Verdict: Wrong, What: "the issuer is nearly that of cluster " + cluster.Name, Got: c.Issuer, Want: cluster.IssuerURL, Differ: d}
			if c.Subject != "" {
				out.Fix = i.write("update", c.Name, Presented{Know(cluster.IssuerURL), Know(c.Subject), Know(strings.Join(c.Audiences, " "))})
			}
			f.add(out)
			return ""
		}
	}
	switch {
	case !account: // somebody else's, such as a pipeline's
	case s.Estate.Unread != "":
		f.add(Finding{Check: "issuer-known", What: "no cluster with this issuer is seen, and there may be one: " + s.Estate.Unread, Got: c.Issuer})
	default:
		f.add(Finding{Check: "issuer-known", Verdict: Wrong, What: "no cluster of the directory has this issuer: it was deleted or made again, or is one that the directory does not know", Got: c.Issuer, Fix: i.RemoveCredential(c.Name)})
	}
	return ""
}

// exists says whether a cluster has a service account that a credential is for. It
// returns the name of the cluster if that was not read.
func (s Sweep) exists(f *findings, i Identity, c directory.FederatedCredential, cluster resource.Cluster) (unread string) {
	at := slices.IndexFunc(s.Read, func(x Swept) bool { return x.Cluster.Scope == cluster.Scope })
	if at < 0 {
		return cluster.Name
	}
	accounts, ok := s.Read[at].Accounts.Get()
	if !ok {
		return cluster.Name
	}
	want := token.WantOf(c)
	namespace, name, _ := cutAccount(c.Subject)
	inNamespace := false
	for _, sa := range accounts {
		inNamespace = inNamespace || sa.Namespace == namespace
		if want.Compare("", accountPrefix+sa.Namespace+":"+sa.Name, "").Subject {
			return ""
		}
	}
	what := fmt.Sprintf("cluster %s has no service account %s in namespace %s", cluster.Name, name, namespace)
	switch {
	case c.Subject == "":
		what = fmt.Sprintf("cluster %s has no service account that fits the pattern", cluster.Name)
	case !inNamespace:
		what = fmt.Sprintf("cluster %s has no namespace %s", cluster.Name, namespace)
	}
	f.add(Finding{Check: "subject-exists", Verdict: Wrong, What: what + ": whoever makes it gets the identity", Got: cmp.Or(c.Subject, string(c.SubjectPattern)), Fix: i.RemoveCredential(c.Name)})
	return ""
}

// identities finds managed identities that nobody needs: a workload that needs
// nothing outside its cluster needs none.
func (s Sweep) identities() []Finding {
	f := &findings{about: "managed identities"}
	needed, unread := 0, ""
	for c := range s.Estate.Clusters() {
		if s.Estate.KubeUnread(c.Scope) {
			unread = c.Name
		}
	}
	for m := range s.Estate.Identities() {
		i := managed(m)
		if m.SystemAssigned || s.Estate.Given(m.ID) {
			needed++
			continue
		}
		uses, known := s.Uses.Get()
		used, ever := uses.Latest[m.ID]
		out := Finding{Check: "needed", About: i.String()}
		last := "no token since " + uses.Since.UTC().Format(time.RFC3339)
		if ever {
			last = "no token since " + used.UTC().Format(time.RFC3339) + ", when it got its latest"
		}
		switch long := s.Now.Sub(uses.Since) >= unusedFor; {
		case ever && s.Now.Sub(used) < unusedFor:
			needed++
			continue
		case s.Estate.Unread != "":
			out.What = "it is seen to have no role, and may have one: " + s.Estate.Unread
		case unread != "":
			out.What = "it is seen to have no role, and may have one in cluster " + unread + ", whose own bindings nobody has read"
		case !known:
			out.What = "it has no role; whether it is used is not known: " + s.Uses.Why()
		case !long:
			out.What = fmt.Sprintf("it has no role, and %s; uses are known since %s, and that is too short a time to say that nobody uses it", last, uses.Since.UTC().Format(time.RFC3339))
		default:
			group, _ := m.Resource.ResourceGroup()
			out.Verdict = Wrong
			out.What = fmt.Sprintf("it has no role and %s: a workload that needs nothing outside its cluster needs no identity", last)
			out.Fix = fmt.Sprintf("az identity delete --name %s --resource-group %s", Quote(m.Resource.Name()), Quote(group.Name()))
		}
		f.add(out)
	}
	slices.SortFunc(f.all, func(a, b Finding) int { return strings.Compare(a.About, b.About) })
	f.right("needed", "%d managed identities are the system's, have a role, or got a token lately", needed)
	return f.all
}
