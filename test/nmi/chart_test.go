package nmi_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/test/plane"
)

const (
	chartDir = "../../deploy/helm/gatehouse-node"
	plainDir = "../../deploy/kustomize"
	// The chart installs where the house expects agents, whatever the release says.
	release = "elsewhere"
)

type values = map[string]any

// ofHouse are the values that are needed, and others.
func ofHouse(more values) values {
	all := values{"house": values{"url": "https://gatehouse.invalid:8443", "ca": "the authority of the house, in PEM"}}
	for name, v := range more {
		all[name] = v
	}
	return all
}

// rights are what the chart installs of a node agent, without the agent.
func rights(t testing.TB) string {
	t.Helper()
	text, err := plane.Render(t, chartDir, release, ofHouse(nil))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for doc := range strings.SplitSeq(text, "---\n") {
		if !strings.Contains(doc, "kind: DaemonSet") {
			all = append(all, doc)
		}
	}
	return strings.Join(all, "---\n")
}

var onlyCSI = values{"nmi": values{"enabled": false}, "csi": values{"enabled": true}}

func TestThePlainManifestsAreTheChart(t *testing.T) {
	t.Parallel()
	want := make(map[string]string)
	for name, more := range map[string]values{"node/nmi.yaml": nil, "csi/csi.yaml": onlyCSI} {
		text, err := plane.Render(t, chartDir, release, ofHouse(more))
		if err != nil {
			t.Fatal(err)
		}
		want[filepath.Join(plainDir, name)] = text
	}
	plane.SameManifests(t, want)
}

func TestTheChartKnowsItsValues(t *testing.T) {
	t.Parallel()
	nmi := func(name string, v any) values { return ofHouse(values{"nmi": values{name: v}}) }
	plane.CheckValues(t, chartDir, release, []plane.Rendering{
		{Law: "the house is enough", Values: ofHouse(nil), Has: []string{`audience: "https://gatehouse.invalid:8443/gatehouse/nodes/token"`, "hostPID: true", "add: [NET_ADMIN, SYS_PTRACE]",
			"--host-token-socket=/run/gatehouse/nmi.sock", "- operator: Exists", "--operation-mode=standard", "--at-stop=refuse", `"ghcr.io/gatehouse-io/gatehouse-node:0.1.0"`},
			HasNot: []string{"gatehouse-csi", "--cluster-wide", "--block-node", "elsewhere", "privileged", "verbs: [get"}},
		{Law: "the house is needed", Values: values{}, Refused: "house.url"},
		{Law: "its authority is needed", Values: values{"house": values{"url": "https://h"}}, Refused: "house.ca"},
		{Law: "tokens are not sent in the clear", Values: values{"house": values{"url": "http://h", "ca": "x"}}, Refused: "url"},
		{Law: "a slash at the end would make another audience", Values: values{"house": values{"url": "https://h/", "ca": "x"}}, Refused: "url"},
		{Law: "the provider of vaults alone", Values: ofHouse(onlyCSI), Has: []string{"gatehouse-csi", "automountServiceAccountToken: false", "drop: [ALL]", `path: "/etc/kubernetes/secrets-store-csi-providers"`},
			HasNot: []string{"NET_ADMIN", "ClusterRole", "hostPID", "--nmi-socket", "serviceAccountToken:"}},
		{Law: "both, and pod identity for the provider", Values: ofHouse(values{"csi": values{"enabled": true}}), Has: []string{"--nmi-socket=/run/gatehouse/nmi.sock", "hostPID: true"}},
		{Law: "nothing at all is a mistake", Values: ofHouse(values{"nmi": values{"enabled": false}}), Refused: "there is nothing to install"},
		{Law: "no socket", Values: nmi("hostFolder", ""), HasNot: []string{"nmi.sock", "hostPath"}},
		{Law: "a folder is a path", Values: nmi("hostFolder", "run"), Refused: "hostFolder"},
		{Law: "managed mode", Values: nmi("mode", "managed"), Has: []string{"--operation-mode=managed"}},
		{Law: "a mode is one of two", Values: nmi("mode", "free"), Refused: "mode"},
		{Law: "a misspelt value is found", Values: nmi("atstop", "remove"), Refused: "atstop"},
		{Law: "own images and places", Values: ofHouse(values{"image": values{"repository": "r.example/g", "tag": "7"}, "tolerations": []any{}, "imagePullSecrets": []any{values{"name": "s"}}}),
			Has: []string{`"r.example/g:7"`, "- name: s"}, HasNot: []string{"operator: Exists"}},
	})
}
