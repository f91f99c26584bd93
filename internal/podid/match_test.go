package podid_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/podid"
)

func identity(t *testing.T, namespace, name, annotations string) podid.AzureIdentity {
	t.Helper()
	id, err := podid.ParseIdentity(object("AzureIdentity", namespace, name, managed))
	if err != nil {
		t.Fatal(err)
	}
	if annotations != "" {
		id.Metadata.Annotations = map[string]string{podid.BehaviorAnnotation: annotations}
	}
	return id
}

func binding(t *testing.T, namespace, name, identity, selector string) podid.AzureIdentityBinding {
	t.Helper()
	b, err := podid.ParseBinding(object("AzureIdentityBinding", namespace, name, `"spec":{"azureIdentity":"`+identity+`","selector":"`+selector+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func exception(t *testing.T, namespace, labels string) podid.AzurePodIdentityException {
	t.Helper()
	e, err := podid.ParseException(object("AzurePodIdentityException", namespace, "e", `"spec":{"podLabels":`+labels+`}`))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// pod is a running pod of namespace web with the label.
func pod(change func(*podid.Pod)) podid.Pod {
	p := podid.Pod{Namespace: "web", Name: "web-0", UID: "uid-0", NodeName: "node-1", Labels: map[string]string{podid.BindingLabel: "web", "app": "web"}}
	if change != nil {
		change(&p)
	}
	return p
}

func TestWhichIdentitiesAPodGets(t *testing.T) {
	t.Parallel()
	objects := func(mode podid.Mode, exceptions ...podid.AzurePodIdentityException) *podid.Rules {
		broken := binding(t, "web", "broken", "web", "web")
		broken.Spec.Selector = ""
		return podid.NewRules(mode,
			slices.Values([]podid.AzureIdentity{
				identity(t, "web", "web", ""), identity(t, "other", "web", ""), identity(t, "other", "own", "NameSpaced"), identity(t, "web", "second", "other words"),
			}),
			slices.Values([]podid.AzureIdentityBinding{
				binding(t, "web", "z", "web", "web"), binding(t, "web", "a", "web", "web"), binding(t, "web", "lost", "gone", "web"), broken,
				binding(t, "web", "second", "second", "two"), binding(t, "web", "first", "web", "two"),
				binding(t, "other", "web", "web", "web"), binding(t, "other", "own", "own", "web"),
			}), slices.Values(exceptions))
	}
	none, own := []string(nil), []string{"web/web by web/a"}
	for _, tt := range []struct {
		law   string
		rules *podid.Rules
		pod   podid.Pod
		want  []string
	}{
		{"that of the binding whose selector its label equals, once", objects(podid.Namespaced), pod(nil), own},
		{"all that bindings with its selector give, by name", objects(podid.Namespaced), pod(func(p *podid.Pod) { p.Labels[podid.BindingLabel] = "two" }), []string{"web/second by web/second", "web/web by web/first"}},
		{"none without the label", objects(podid.Namespaced), pod(func(p *podid.Pod) { delete(p.Labels, podid.BindingLabel) }), none},
		{"none by an empty label, even if a broken binding has no selector", objects(podid.Namespaced), pod(func(p *podid.Pod) { p.Labels[podid.BindingLabel] = "" }), none},
		{"none by a selector in other letters", objects(podid.Namespaced), pod(func(p *podid.Pod) { p.Labels[podid.BindingLabel] = "Web" }), none},
		{"none of another namespace", objects(podid.Namespaced), pod(func(p *podid.Pod) { p.Namespace = "third" }), none},
		{"cluster-wide, those of other namespaces that are not namespaced themselves", objects(podid.ClusterWide), pod(func(p *podid.Pod) { p.Namespace = "third" }), []string{"other/web by other/web", "web/web by web/a"}},
		{"none before it is on a node", objects(podid.Namespaced), pod(func(p *podid.Pod) { p.NodeName = "" }), none},
		{"none without a UID", objects(podid.Namespaced), pod(func(p *podid.Pod) { p.UID = "" }), none},
		{"PI-03: none on its host's network", objects(podid.ClusterWide), pod(func(p *podid.Pod) { p.HostNetwork = true }), none},
		{"PI-08: none once it has ended", objects(podid.ClusterWide), pod(func(p *podid.Pod) { p.Ended = true }), none},
		{"none when an exception leaves it alone", objects(podid.Namespaced, exception(t, "web", `{"app":"web"}`)), pod(nil), none},
		{"its own when the exception is of another namespace", objects(podid.Namespaced, exception(t, "other", `{"app":"web"}`)), pod(nil), own},
		{"its own when the exception wants another label as well", objects(podid.Namespaced, exception(t, "web", `{"app":"web","tier":"front"}`)), pod(nil), own},
		{"its own when the exception is spelled otherwise", objects(podid.Namespaced, exception(t, "web", `{"app":"Web"}`)), pod(nil), own},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, m := range tt.rules.Match(tt.pod) {
				got = append(got, m.Identity.Metadata.Ref().String()+" by "+m.Binding.Metadata.Ref().String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("identities (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnAssignedIdentityIsForOnePod(t *testing.T) {
	t.Parallel()
	rules := podid.NewRules(podid.Namespaced, slices.Values([]podid.AzureIdentity{identity(t, "web", "web", "")}),
		slices.Values([]podid.AzureIdentityBinding{binding(t, "web", "web", "web", "web")}), slices.Values([]podid.AzurePodIdentityException(nil)))
	given := rules.Want(slices.Values([]podid.Pod{pod(nil)}))[0]
	for _, tt := range []struct {
		law  string
		a    func(*podid.AzureAssignedIdentity)
		p    func(*podid.Pod)
		want bool
	}{
		{"it gives it to that pod", nil, nil, true},
		{"PI-07: not to a later pod of the name", nil, func(p *podid.Pod) { p.UID = "uid-1" }, false},
		{"not to a pod of the name in another namespace", nil, func(p *podid.Pod) { p.Namespace = "other" }, false},
		{"not on another node", nil, func(p *podid.Pod) { p.NodeName = "node-2" }, false},
		{"PI-08: not once the pod has ended", nil, func(p *podid.Pod) { p.Ended = true }, false},
		{"not to a pod on its host's network", nil, func(p *podid.Pod) { p.HostNetwork = true }, false},
		{"not before it is assigned", func(a *podid.AzureAssignedIdentity) { a.Status.Status = podid.Created }, nil, false},
		{"not without a state", func(a *podid.AzureAssignedIdentity) { a.Status.Status = "" }, nil, false},
		{"not once it is taken back", func(a *podid.AzureAssignedIdentity) { a.Status.Status = podid.Unassigned }, nil, false},
		{"not when it does not say which pod", func(a *podid.AzureAssignedIdentity) { a.Metadata.Annotations = nil }, func(p *podid.Pod) { p.UID = "" }, false},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			a, p := given, pod(tt.p)
			if tt.a != nil {
				tt.a(&a)
			}
			if got := a.Gives(p); got != tt.want {
				t.Errorf("Gives = %t, want %t", got, tt.want)
			}
		})
	}
}
