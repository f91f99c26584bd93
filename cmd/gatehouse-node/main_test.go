//go:build linux

package main

import (
	"bytes"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// What runs on every node, as root, is small: no database, no engine, no house.
func TestTheNodeAgentLinksNeitherTheDatabaseNorTheEngine(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const module = "github.com/gatehouse-io/gatehouse/internal/"
	deps := strings.Fields(string(out))
	if len(deps) < 100 {
		t.Fatalf("only %d packages: %s", len(deps), out)
	}
	for _, dep := range deps {
		if strings.HasPrefix(dep, "go.etcd.io/") {
			t.Errorf("links %s", dep)
		}
		for _, own := range []string{"estate", "decide", "store", "issue", "keys", "house", "kuberbac", "azurerbac"} {
			if dep == module+own || strings.HasPrefix(dep, module+own+"/") {
				t.Errorf("links %s", dep)
			}
		}
	}
}

func TestWrongCommandsSayWhatToDo(t *testing.T) {
	t.Parallel()
	good := []string{"nmi", "--node", "n", "--house", "https://h", "--kubeconfig", "/nonexistent"}
	for _, tt := range []struct {
		law  string
		args []string
		want string
	}{
		{"the node must be named", []string{"nmi", "--house", "https://h", "--node", ""}, "--node"},
		{"the house must be named", []string{"nmi", "--node", "n"}, "--house"},
		{"a mode is one of two", append(good, "--operation-mode", "free"), "neither standard nor managed"},
		{"an end is one of two", append(good, "--at-stop", "open"), "neither refuse nor remove"},
		{"an address has a port", append(good, "--listen", "169.254.25.79"), "--listen"},
		{"the authority must be there", append(good, "--house-ca", "/nonexistent"), "--house-ca"},
		{"the API server must be known", good, "--kubeconfig"},
		{"who pulls must know the house", []string{"credential-provider"}, "--house"},
		{"a registry has a host and a name", []string{"credential-provider", "--house", "https://h", "--registry", "Images.example=x"}, "the registry's name"},
		{"a version is printed in one of two ways", []string{"version", "-o", "xml"}, "table or json"},
		{"nothing else is a command", []string{"nmj"}, "unknown command"},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			if code := run(t.Context(), tt.args, &out, &errs); code != 1 || !strings.Contains(errs.String(), tt.want) {
				t.Errorf("%v: %d %s, want a word about %s", tt.args, code, errs.String(), tt.want)
			}
		})
	}
}

func TestTheVersionIsSaidAsByTheOtherProgram(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"version"}, `^gatehouse-node \S+ linux/\S+\n$`},
		{[]string{"version", "-o", "json"}, `^{\n  "version": "\S+",\n  "go": "go\S+",\n  "platform": "linux/\S+"\n}\n$`},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), tt.args, &out, &errs); code != 0 || !regexp.MustCompile(tt.want).Match(out.Bytes()) {
			t.Errorf("%v: %d %q %s, want %s", tt.args, code, out.String(), errs.String(), tt.want)
		}
	}
}
