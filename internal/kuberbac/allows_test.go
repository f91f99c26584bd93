package kuberbac_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
)

func list(s ...string) []string { return s }

// rule allows verbs on resources of the core group.
func rule(verbs, resources string, names ...string) kuberbac.Rule {
	return kuberbac.Rule{Verbs: strings.Fields(verbs), APIGroups: list(""), Resources: strings.Fields(resources), ResourceNames: names}
}

func urls(paths ...string) kuberbac.Rule {
	return kuberbac.Rule{Verbs: list("get"), NonResourceURLs: paths}
}

// ask is "verb resource[/subresource] [name]", in the core group.
func ask(s string) kuberbac.Attributes {
	f := append(strings.Fields(s), "", "")
	a := kuberbac.Attributes{Verb: f[0], Name: f[2]}
	a.Resource, a.Subresource, _ = strings.Cut(f[1], "/")
	return a
}

func path(p string) kuberbac.Attributes { return kuberbac.Attributes{Verb: "get", Path: p} }

func group(a kuberbac.Attributes, g string) kuberbac.Attributes {
	a.APIGroup = g
	return a
}

func TestAllows(t *testing.T) {
	t.Parallel()
	everything := kuberbac.Rule{Verbs: list("*"), APIGroups: list("*"), Resources: list("*")}
	wildGroup := rule("get", "pods")
	wildGroup.APIGroups = list("*")
	noGroup := rule("get", "pods")
	noGroup.APIGroups = nil
	apps := rule("get", "deployments")
	apps.APIGroups = list("apps")
	tests := []struct {
		name string
		rule kuberbac.Rule
		ask  kuberbac.Attributes
		want bool
	}{
		{"the zero rule allows nothing", kuberbac.Rule{}, ask("get pods"), false},
		{"zero attributes ask nothing, even of a rule for everything", everything, kuberbac.Attributes{}, false},
		{"a rule for everything is not a rule for paths", everything, path("/healthz"), false},
		{"the verb must be named", rule("get", "pods"), ask("list pods"), false},
		{"a star is every verb", rule("*", "pods"), ask("deletecollection pods"), true},
		{"a star inside a verb is a literal", rule("get*", "pods"), ask("get pods"), false},
		{"verbs are not folded", rule("get", "pods"), ask("GET pods"), false},

		// KR-06
		{"KR-06: a rule with names allows get of that name", rule("get", "pods", "a", "b"), ask("get pods b"), true},
		{"KR-06: and of no other", rule("get", "pods", "a", "b"), ask("get pods c"), false},
		{"KR-06: list without a name selector has no name", rule("list", "pods", "a"), ask("list pods"), false},
		{"KR-06: list with metadata.name=a has one", rule("list", "pods", "a"), ask("list pods a"), true},
		{"KR-06: watch likewise", rule("watch", "pods", "a"), ask("watch pods a"), true},
		{"KR-06: deletecollection of everything is not allowed by name", rule("deletecollection", "pods", "a"), ask("deletecollection pods"), false},
		{"KR-06: create never has a name", rule("create", "pods", "a"), ask("create pods"), false},
		{"KR-06: a star is no wildcard for names", rule("get", "pods", "*"), ask("get pods a"), false},
		{"KR-06: the empty name in a rule is the nameless request", rule("create", "pods", ""), ask("create pods"), true},

		// KR-07
		{"KR-07: a resource does not bring its subresources", rule("create", "pods"), ask("create pods/exec a"), false},
		{"KR-07: nor a subresource its resource", rule("get", "pods/log"), ask("get pods a"), false},
		{"KR-07: pods/* is a literal", rule("get", "pods/*"), ask("get pods/log a"), false},
		{"KR-07: pods/* does not name pods either", rule("get", "pods/*"), ask("get pods a"), false},
		{"KR-07: */log is that subresource of everything", rule("get", "*/log"), ask("get pods/log a"), true},
		{"KR-07: */log is no other subresource", rule("get", "*/log"), ask("get pods/exec a"), false},
		{"KR-07: */log is not a suffix", rule("get", "*/log"), ask("get pods/catalog a"), false},
		{"KR-07: */* is a literal", rule("get", "*/*"), ask("get pods/log a"), false},
		{"KR-07: * is every resource and subresource", rule("get", "*"), ask("get nodes/proxy a"), true},
		{"KR-07: */ names nothing", rule("get", "*/"), ask("get pods a"), false},
		{"KR-07: the slash separates, wherever else it may be", rule("get", "pods/lo"), ask("get pods/log a"), false},
		{"AZ-23: exec is a resource of its own", rule("create", "pods/exec"), ask("create pods/exec a"), true},
		{"AZ-23: tokens of service accounts are, too", rule("create", "serviceaccounts"), ask("create serviceaccounts/token a"), false},

		// KR-08
		{"KR-08: the core group is the empty name", rule("get", "pods"), ask("get pods"), true},
		{"KR-08: it is not every group", rule("get", "pods"), group(ask("get pods"), "metrics.k8s.io"), false},
		{"KR-08: a star is every group", wildGroup, group(ask("get pods"), "metrics.k8s.io"), true},
		{"KR-08: no group is none", noGroup, ask("get pods"), false},
		{"KR-08: a named group is not the core group", apps, ask("get deployments"), false},
		{"AZ-25: a group and a resource of one name are not exchanged", kuberbac.Rule{Verbs: list("get"), APIGroups: list("apps"), Resources: list("deployments")},
			kuberbac.Attributes{Verb: "get", APIGroup: "deployments", Resource: "apps"}, false},

		// KR-09
		{"KR-09: a path is itself", urls("/healthz"), path("/healthz"), true},
		{"KR-09: a path is not its children", urls("/healthz"), path("/healthz/etcd"), false},
		{"KR-09: a trailing star reaches children", urls("/healthz/*"), path("/healthz/etcd"), true},
		{"KR-09: however deep", urls("/healthz/*"), path("/healthz/a/b"), true},
		{"KR-09: but not the parent", urls("/healthz/*"), path("/healthz"), false},
		{"KR-09: a star need not follow a slash", urls("/healthz*"), path("/healthzzz"), true},
		{"KR-09: several stars are one", urls("/api/**"), path("/api/v1"), true},
		{"KR-09: a star alone is every path", urls("*"), path("/metrics"), true},
		{"KR-09: /* is every path", urls("/*"), path("/"), true},
		{"KR-09: a star inside is a literal", urls("/a*b"), path("/axb"), false},
		{"KR-09: which matches itself", urls("/a*b"), path("/a*b"), true},
		{"KR-09: paths are no resources", urls("*"), ask("get pods"), false},

		// AZ-26
		{"AZ-26: a trailing slash is another path", urls("/healthz"), path("/healthz/"), false},
		{"AZ-26: two slashes are not one", urls("/healthz"), path("//healthz"), false},
		{"AZ-26: dot segments are not resolved", urls("/healthz"), path("/x/../healthz"), false},
		{"AZ-26: escapes are not resolved", urls("/healthz"), path("/%68ealthz"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.rule.Allows(&tt.ask); got != tt.want {
				t.Errorf("%+v allows %+v = %t, want %t", tt.rule, tt.ask, got, tt.want)
			}
		})
	}
}

// FuzzAllows holds Allows against the definition in its plainest words, which
// builds the texts that Allows does not.
func FuzzAllows(f *testing.F) {
	f.Add("get list", "apps *", "pods pods/log */scale", "a b", "", "get", "apps", "pods", "scale", "a", "")
	f.Add("*", "", "*", "", "/api/* /x**", "get", "", "pods", "", "", "/api/v1")
	f.Add("get", "", "pods/*", "", "", "get", "", "pods", "*", "", "")
	f.Fuzz(func(t *testing.T, verbs, groups, resources, names, paths, verb, apiGroup, resource, sub, name, url string) {
		r := kuberbac.Rule{
			Verbs: strings.Fields(verbs), APIGroups: strings.Split(groups, " "), Resources: strings.Fields(resources),
			ResourceNames: strings.Fields(names), NonResourceURLs: strings.Fields(paths),
		}
		a := kuberbac.Attributes{Verb: verb, APIGroup: apiGroup, Resource: resource, Subresource: sub, Name: name, Path: url}
		if got, want := r.Allows(&a), plainly(r, a); got != want {
			t.Fatalf("%+q allows %+q = %t, want %t", r, a, got, want)
		}
	})
}

func plainly(r kuberbac.Rule, a kuberbac.Attributes) bool {
	contains := func(set []string, wants ...string) bool {
		for _, s := range set {
			for _, w := range wants {
				if s == w {
					return true
				}
			}
		}
		return false
	}
	if a == (kuberbac.Attributes{}) || !contains(r.Verbs, "*", a.Verb) {
		return false
	}
	if a.Path != "" {
		for _, p := range r.NonResourceURLs {
			prefix := strings.TrimRight(p, "*")
			if p == a.Path || prefix != p && strings.HasPrefix(a.Path, prefix) {
				return true
			}
		}
		return false
	}
	wild := list("*", a.Resource)
	if a.Subresource != "" {
		wild = list("*", a.Resource+"/"+a.Subresource, "*/"+a.Subresource)
	}
	return contains(r.APIGroups, "*", a.APIGroup) && contains(r.Resources, wild...) &&
		(len(r.ResourceNames) == 0 || contains(r.ResourceNames, a.Name))
}

func TestAllowsDoesNotAllocate(t *testing.T) {
	r, a := rule("get list", "nodes pods/log */exec", "a", "b"), ask("get pods/exec b")
	if n := testing.AllocsPerRun(100, func() {
		if !r.Allows(&a) {
			t.Error("not allowed")
		}
	}); n != 0 {
		t.Errorf("Allows makes %v allocations, want none", n)
	}
}

func BenchmarkAllows(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		rules := make([]kuberbac.Rule, n)
		for i := range rules {
			rules[i] = rule("get list watch", fmt.Sprintf("r%d r%d/status", i, i))
		}
		a := ask(fmt.Sprintf("get r%d/status x", n-1))
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for i := range rules {
					if rules[i].Allows(&a) {
						break
					}
				}
			}
		})
	}
}
