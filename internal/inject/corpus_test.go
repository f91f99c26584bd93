package inject_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/gatehouse-io/gatehouse/internal/inject"
)

var update = flag.Bool("update", false, "write the golden parts of testdata/pods anew")

// A file of testdata/pods is one pod: what config.yaml changes in the usual
// configuration, serviceaccount.yaml and pod.yaml go in; want.yaml is the pod as
// it comes out, or refused says why none does.
type file struct {
	name string
	*txtar.Archive
}

func corpus(t testing.TB) []file {
	t.Helper()
	names, err := filepath.Glob("testdata/pods/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var all []file
	for _, name := range names {
		ar, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, file{name, ar})
	}
	if len(all) < 60 {
		t.Fatalf("only %d pods", len(all))
	}
	return all
}

func (f file) part(name string) []byte {
	for _, p := range f.Files {
		if p.Name == name {
			return p.Data
		}
	}
	return nil
}

// sentence is the comment of the file, and the name of its test.
func (f file) sentence() string { return strings.TrimSpace(string(f.Comment)) }

// usual is the configuration of a cluster that has nothing special.
func usual() inject.Config {
	return inject.Config{Tenant: "00000000-0000-4000-8000-00000000000a", AuthorityHost: "https://login.microsoftonline.com/"}
}

func (f file) config(t testing.TB) inject.Config {
	t.Helper()
	var in struct {
		Audience, AuthorityHost, Layout string
		NativeSidecar                   bool
		Proxy                           inject.Images
		Binding                         *inject.Binding
	}
	if err := yaml.UnmarshalStrict(f.part("config.yaml"), &in); err != nil {
		t.Fatal(err)
	}
	conf := usual()
	conf.Audience, conf.NativeSidecar, conf.Proxy, conf.Binding = in.Audience, in.NativeSidecar, in.Proxy, in.Binding
	if in.AuthorityHost != "" {
		conf.AuthorityHost = in.AuthorityHost
	}
	if in.Layout == "reserved" {
		conf.Layout = inject.LayoutReserved
	}
	if err := conf.Check(); err != nil {
		t.Fatal(err)
	}
	return conf
}

func (f file) serviceAccount(t testing.TB) *corev1.ServiceAccount {
	t.Helper()
	sa := new(corev1.ServiceAccount)
	if err := yaml.UnmarshalStrict(f.part("serviceaccount.yaml"), sa); err != nil {
		t.Fatal(err)
	}
	return sa
}

// pod is the pod as JSON.
func (f file) pod(t testing.TB) []byte {
	t.Helper()
	text, err := yaml.YAMLToJSONStrict(f.part("pod.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// mutate does to a pod in JSON what an API server does that calls the webhook.
func mutate(t testing.TB, pod []byte, sa *corev1.ServiceAccount, conf inject.Config) ([]byte, []inject.Op, error) {
	t.Helper()
	typed := new(corev1.Pod)
	if err := json.Unmarshal(pod, typed); err != nil {
		t.Fatalf("%v in %s", err, pod)
	}
	before := typed.DeepCopy()
	ops, err := inject.Patch(typed, sa, conf)
	if !reflect.DeepEqual(before, typed) {
		t.Fatalf("Patch changed its argument:\n%s", cmp.Diff(before, typed))
	}
	if err != nil {
		if ops != nil {
			t.Errorf("a patch came with the error %v", err)
		}
		return nil, nil, err
	}
	if len(ops) == 0 {
		return pod, nil, nil
	}
	text, err := json.Marshal(ops)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := jsonpatch.DecodePatch(text)
	if err != nil {
		t.Fatal(err)
	}
	out, err := patch.Apply(pod)
	if err != nil {
		t.Fatalf("%v: %s does not fit %s", err, text, pod)
	}
	return out, ops, nil
}

// TestPods holds the mutations of the corpus: AD-02, which labels count; AD-03, init
// containers and native sidecars; AD-05 and AD-06, volumes and mounts in our place.
// AD-08: called again, also behind an API server that filled in its defaults,
// nothing changes.
func TestPods(t *testing.T) {
	t.Parallel()
	for _, f := range corpus(t) {
		t.Run(f.sentence(), func(t *testing.T) {
			t.Parallel()
			sa, conf := f.serviceAccount(t), f.config(t)
			out, _, err := mutate(t, f.pod(t), sa, conf)
			got := txtar.File{Name: "want.yaml"}
			if err != nil {
				got = txtar.File{Name: "refused", Data: []byte(err.Error() + "\n")}
			} else if got.Data, err = yaml.JSONToYAML(out); err != nil {
				t.Fatal(err)
			}
			if *update {
				f.write(t, got)
			}
			if diff := cmp.Diff(string(f.part(got.Name)), string(got.Data)); diff != "" {
				t.Errorf("%s changed (-want +got); run with -update if that is right:\n%s", got.Name, diff)
			}
			if out == nil {
				return
			}
			for _, again := range [][]byte{out, defaulted(t, out)} {
				if _, ops, err := mutate(t, again, sa, conf); err != nil || len(ops) > 0 {
					t.Errorf("called again: %v, %v", ops, err)
				}
			}
		})
	}
}

func (f file) write(t *testing.T, golden txtar.File) {
	var parts []txtar.File
	for _, p := range f.Files {
		if p.Name != "want.yaml" && p.Name != "refused" {
			parts = append(parts, p)
		}
	}
	f.Files = append(parts, golden)
	if err := os.WriteFile(f.name, txtar.Format(f.Archive), 0o644); err != nil {
		t.Fatal(err)
	}
}

// defaulted fills in what an API server does in the fields of our volume.
func defaulted(t testing.TB, pod []byte) []byte {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal(pod, &out); err != nil {
		t.Fatal(err)
	}
	spec, _ := out["spec"].(map[string]any)
	volumes, _ := spec["volumes"].([]any)
	for _, v := range volumes {
		if p, ok := v.(map[string]any)["projected"].(map[string]any); ok && p["defaultMode"] == nil {
			p["defaultMode"] = 420
		}
	}
	text, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
