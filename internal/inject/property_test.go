package inject_test

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatehouse-io/gatehouse/internal/inject"
)

// A dice makes pods, most of them near the rules.
type dice struct{ *rand.Rand }

func (d dice) of(texts ...string) string { return texts[d.IntN(len(texts))] }

// one reports whether something that happens once in n times happens.
func (d dice) one(n int) bool { return d.IntN(n) == 0 }

func times[T any](d dice, limit int, f func() T) list {
	var out list
	for range d.IntN(limit + 1) {
		out = append(out, f())
	}
	return out
}

// odd are names that are spelled like pointers into the pod.
var odd = []string{"a/b", "a~1b", "~0", "/spec/containers/0/image", "-", "0", `"`, `\`, "é", ""}

func (d dice) name() string {
	if d.one(4) {
		return d.of(odd...)
	}
	return d.of("app", "log", "mesh", "azwi-proxy", "azwi-proxy-init", "data")
}

func (d dice) volumeName() string {
	return d.of("azure-identity-token", "data", "azure-workload-identity-reserved-x", "azure-workload-identity-reserved-"+
		"1ae6fac6e0a6c45234c7f9a125d492", d.of(odd...))
}

func (d dice) container() any {
	c := obj{"name": d.name(), "image": "registry.example/" + d.of("a", "b")}
	if env := times(d, 3, func() any {
		v := obj{"name": d.of("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST", "AZURE_KUBERNETES_CA_FILE", "COLOUR", d.of(odd...))}
		if d.one(3) {
			v["valueFrom"] = obj{"fieldRef": obj{"fieldPath": "metadata.name"}}
		} else {
			v["value"] = d.of("", "mine")
		}
		return v
	}); env != nil || d.one(4) {
		c["env"] = env
	}
	if mounts := times(d, 2, func() any {
		m := obj{"name": d.volumeName(), "mountPath": d.of("/data", "/token", "/var/run/secrets/azure", "/data", "/token", "/x", "/y", "/z",
			"/var/run/secrets/azure/tokens", "/var/run/secrets/azure/tokens/", "/var/run/secrets/azure/wi")}
		if d.one(2) {
			m["readOnly"] = true
		}
		return m
	}); mounts != nil {
		c["volumeMounts"] = mounts
	}
	if d.one(5) {
		c["fieldOfTheFuture"] = obj{"deep": d.of(odd...)}
	}
	return c
}

func (d dice) annotations(sa bool) map[string]string {
	out := make(map[string]string)
	put := func(n int, key string, values ...string) {
		if d.one(n) {
			out["azure.workload.identity/"+key] = d.of(values...)
		}
	}
	put(3, "service-account-token-expiration", "3600", "7200", "86400", "", "3599", "1h")
	if sa {
		put(2, "client-id", "c", "")
		put(3, "tenant-id", "t", "")
		return out
	}
	put(3, "skip-containers", "app", "log; mesh", "azwi-proxy;azwi-proxy-init", "", ";", "a/b;~0")
	put(3, "inject-proxy-sidecar", "true", "false", "")
	put(5, "proxy-sidecar-port", "8000", "1", "65535", "0", "65536", "x", "")
	put(2, "use-identity-binding", "true", "True", "false", "")
	return out
}

func (d dice) pod() obj {
	meta := obj{"labels": obj{"azure.workload.identity/use": d.of("true", "true", "true", "true", "true", "true", "true", "true", "True", "")}, "annotations": d.annotations(false)}
	if d.one(2) {
		meta["name"] = d.of("web-0", d.of(odd...))
	} else {
		meta["generateName"] = "web-"
	}
	spec := obj{"serviceAccountName": "web", "containers": times(d, 3, d.container)}
	if d.one(2) {
		spec["initContainers"] = times(d, 2, d.container)
	}
	if d.one(4) {
		spec["hostNetwork"] = true
	}
	if volumes := times(d, 2, func() any { return obj{"name": d.volumeName(), d.of("emptyDir", "secret"): obj{}} }); volumes != nil {
		spec["volumes"] = volumes
	}
	return obj{"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
}

func (d dice) config() inject.Config {
	conf := usual()
	conf.NativeSidecar = d.one(2)
	if d.one(2) {
		conf.Layout = inject.LayoutReserved
	}
	switch d.IntN(3) {
	case 0:
		conf.Binding = &inject.Binding{TokenProxy: "https://proxy.example/", CAConfigMap: "ca"}
	case 1:
		conf.Binding = &inject.Binding{TokenProxy: "https://proxy.example/", SNIName: "x", CAData: "pem"}
	}
	return conf
}

func clone(t testing.TB, v any) (text []byte, tree obj) {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	return text, tree
}

// without takes away what the reference does not know about our own containers,
// and lists that are null.
func without(pod obj) obj {
	spec := pod["spec"].(obj)
	for _, which := range []string{"initContainers", "containers", "volumes"} {
		items, _ := spec[which].(list)
		if items == nil {
			delete(spec, which)
		}
		for _, c := range items {
			c := c.(obj)
			if c["env"] == nil {
				delete(c, "env")
			}
			if c["imagePullPolicy"] != nil { // we made it; the dice set none
				for _, field := range []string{"image", "imagePullPolicy", "args", "lifecycle", "securityContext", "resources"} {
					delete(c, field)
				}
			}
		}
	}
	return pod
}

// TestPatchAgreesWithTheReference mutates random pods. AD-09: whatever names are
// in a pod, the patch changes what it should and nothing else. AD-08: the second
// time it changes nothing.
func TestPatchAgreesWithTheReference(t *testing.T) {
	t.Parallel()
	n := 40_000
	if testing.Short() {
		n = 5_000
	}
	d := dice{rand.New(rand.NewPCG(20, 26))}
	seen := map[string]int{}
	for i := range n {
		before, tree := clone(t, d.pod())
		ann, conf := d.annotations(true), d.config()
		sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "web", Annotations: ann}}

		want := reference(tree, ann, conf)
		got, ops, err := mutate(t, before, sa, conf)
		if (want == nil) != (err == nil) {
			t.Fatalf("pod %d: %s\nPatch says %v, the reference %v", i, before, err, want)
		}
		if err != nil {
			seen["refused"]++
			continue
		}
		var after obj
		if err := json.Unmarshal(got, &after); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(without(tree), without(after)) {
			t.Fatalf("pod %d: %s\n(-reference +Patch)\n%s", i, before, cmp.Diff(tree, after))
		}
		for _, again := range [][]byte{got, defaulted(t, got)} {
			if _, more, err := mutate(t, again, sa, conf); err != nil || len(more) > 0 {
				t.Fatalf("pod %d: %s\ncalled again: %v, %v", i, got, more, err)
			}
		}
		if len(ops) == 0 {
			seen["untouched"]++
		} else {
			seen["patched"]++
		}
	}
	for _, what := range []string{"refused", "untouched", "patched"} {
		if seen[what] < n/20 {
			t.Errorf("of %d pods only %d were %s: the dice are loaded", n, seen[what], what)
		}
	}
	t.Log(seen)
}

// FuzzPatch: whatever a pod is, it is mutated or refused, and never both; and
// what was mutated once is not mutated again.
func FuzzPatch(f *testing.F) {
	for _, file := range corpus(f) {
		f.Add(file.pod(f), "3600", true)
	}
	f.Fuzz(func(t *testing.T, text []byte, expiration string, reserved bool) {
		pod := new(corev1.Pod)
		if json.Unmarshal(text, pod) != nil {
			return
		}
		text, err := json.Marshal(pod)
		if err != nil {
			return
		}
		sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: inject.ServiceAccountOf(pod),
			Annotations: map[string]string{inject.ExpirationAnnotation: expiration}}}
		conf := usual()
		if reserved {
			conf.Layout = inject.LayoutReserved
		}
		out, _, err := mutate(t, text, sa, conf)
		if err != nil {
			return
		}
		if _, ops, err := mutate(t, out, sa, conf); err != nil || len(ops) > 0 {
			t.Errorf("%s\ncalled again: %v, %v", out, ops, err)
		}
	})
}
