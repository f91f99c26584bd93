// Package check holds an estate against what is recommended for identities and access
// on AKS, and against least privilege: rules, each with the document that recommends
// it, and findings, each with the smallest fix.
//
// Run is pure: same facts, same findings, in the same order. A fact that nobody could
// find out makes a finding that is not evaluated, never silence. Who can do something
// is asked of package decide, so that a finding and a decision cannot differ.
package check

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/doctor"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// Facts are everything that findings depend on.
type Facts struct {
	Now    time.Time
	Estate doctor.Estate
	// Read are the clusters whose pods and service accounts were looked at.
	Read []doctor.Swept
	// Secrets are the client secrets of applications: that they are there, not what
	// they are.
	Secrets doctor.Known[[]Secret]
}

// A Secret is what is known of a client secret of an application.
type Secret struct {
	App          directory.AppID
	KeyID        string
	Begins, Ends time.Time
}

// Kinds of things that are no records of an estate.
const (
	ServiceAccount record.Kind = "ServiceAccount" // cluster, namespace, name
	ClientSecret   record.Kind = "ClientSecret"   // client id, key id
	Place          record.Kind = "Place"          // scope
)

// A Finding is one thing that a rule says is wrong, or could not look at. It holds no
// secret.
type Finding struct {
	Rule *Rule
	// About is the thing, by the key of its record or of one of the kinds above, and
	// Name what people call it.
	About record.Key
	Name  string
	// Cluster is the one that the finding concerns; no place if it is none or several.
	Cluster scope.Scope
	// Verdict is Wrong or NotEvaluated.
	Verdict doctor.Verdict
	What    string
	// Evidence are grants and who holds them.
	Evidence []decide.Holder
	Fix      Fix
}

// A Fix is the smallest thing that mends what is wrong.
type Fix struct {
	// Commands do it, one after the other. A word in capital letters is for a person to
	// choose.
	Commands []string
	// Ops are what the commands come to in the estate. They are nil where the estate
	// does not have the thing, or a person has to choose.
	Ops []estate.Op
	// Besides is what the commands take away that is not wrong, in words.
	Besides string
}

// Run asks rules; all of them if none is named. Findings come with the gravest first,
// and within that in order of rule and thing.
func Run(f Facts, rules ...Rule) []Finding {
	if len(rules) == 0 {
		rules = Rules()
	}
	var all []Finding
	shared := newShared(f)
	for i := range rules {
		l := &look{Facts: f, est: f.Estate.Snapshot, rule: &rules[i], shared: shared}
		rules[i].look(l)
		all = append(all, l.found...)
	}
	if f.Estate.Unread != "" {
		all = append(all, Finding{Rule: &everything, About: record.KeyOf(Place, scope.Root.String()), Name: "the estate",
			What: "there may be more than is seen: " + f.Estate.Unread})
	}
	at := func(r *Rule) int { return slices.IndexFunc(rules, func(o Rule) bool { return o.ID == r.ID }) }
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(b.Rule.Severity, a.Rule.Severity), cmp.Compare(at(a.Rule), at(b.Rule)),
			cmp.Compare(a.About.Kind, b.About.Kind), slices.Compare(a.About.Parts[:], b.About.Parts[:]), cmp.Compare(a.What, b.What))
	})
	return all
}

// Worst is the verdict of many findings: that nothing is wrong, if there are none.
func Worst(all []Finding) doctor.Verdict {
	worst := doctor.Right
	for _, f := range all {
		switch {
		case f.Verdict == doctor.Wrong:
			return doctor.Wrong
		case f.Verdict == doctor.NotEvaluated:
			worst = doctor.NotEvaluated
		}
	}
	return worst
}

// everything stands for all rules, where they may not see all that there is.
var everything = Rule{ID: "readable", Title: "What may not be read is not looked at", Severity: High}

// A look is one rule at work.
type look struct {
	Facts
	est    *estate.Snapshot
	rule   *Rule
	shared *shared
	found  []Finding
}

// wrong adds what is wrong.
func (l *look) wrong(f Finding) {
	f.Rule, f.Verdict = l.rule, doctor.Wrong
	l.found = append(l.found, f)
}

// unseen adds what could not be looked at.
func (l *look) unseen(f Finding) {
	f.Rule, f.Verdict = l.rule, doctor.NotEvaluated
	l.found = append(l.found, f)
}

// absent adds a finding that concludes from something that is not there: wrong if all
// was read, else not evaluated.
func (l *look) absent(f Finding) {
	if why := l.Estate.Unread; why != "" {
		f.What, f.Fix = fmt.Sprintf("%s, as far as is seen: %s", f.What, why), Fix{}
		l.unseen(f)
		return
	}
	l.wrong(f)
}

// swept is what was read of a cluster.
func (l *look) swept(c resource.Cluster) (doctor.Swept, bool) {
	i := slices.IndexFunc(l.Read, func(s doctor.Swept) bool { return s.Cluster.Scope == c.Scope })
	if i < 0 {
		return doctor.Swept{}, false
	}
	return l.Read[i], true
}

// onCluster begins a finding about a cluster.
func onCluster(c resource.Cluster, what string, args ...any) Finding {
	return Finding{About: c.Key(), Name: "cluster " + c.Name, Cluster: c.Scope, What: fmt.Sprintf(what, args...)}
}
