package inject_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
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
var odd = []string{"a/b", "a~1b", "~0", "/spec/containers/0/image", "-", "0", `"`, `\`, "é", "", "azure.workload.identity~1use", `","value":"`, "../..", "%2f"}

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
	labels := obj{d.of(odd...): d.of(odd...), "azure.workload.identity/use": d.of("true", "true", "true", "true", "true", "true", "true", "true", "True", "")}
	annotations := d.annotations(false)
	annotations[d.of(odd...)] = d.of(odd...)
	meta := obj{"labels": labels, "annotations": annotations}
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

// TestPatchAgreesWithTheReference mutates random pods. Whatever names are in a pod,
// the patch changes what it should and nothing else. AD-08: the second time it
// changes nothing.
func TestPatchAgreesWithTheReference(t *testing.T) {
	t.Parallel()
	n := 10_000
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

// AD-09: of 100,000 pods whose labels, annotations, containers, variables and volumes
// are named like pointers, quotes and paths, a patch changes what is ours and nothing
// else: what was there before stands where it stood, as it was.
func TestAPatchTouchesOnlyWhatIsOurs(t *testing.T) {
	t.Parallel()
	n := 100_000
	if testing.Short() {
		n = 5_000
	}
	const shards = 4
	var patched atomic.Int64
	var all sync.WaitGroup
	for shard := range shards {
		all.Go(func() {
			d := dice{rand.New(rand.NewPCG(20, uint64(100+shard)))}
			for range n / shards {
				before, err := json.Marshal(d.pod())
				pod := new(corev1.Pod)
				if err := errors.Join(err, json.Unmarshal(before, pod)); err != nil {
					t.Errorf("%v: %s", err, before)
					return
				}
				sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "web", Annotations: d.annotations(true)}}
				ops, err := inject.Patch(pod, sa, d.config())
				if err != nil || len(ops) == 0 {
					continue
				}
				patched.Add(1)
				after, err := applied(before, ops)
				var tree obj
				if err := errors.Join(err, json.Unmarshal(before, &tree)); err != nil {
					t.Errorf("%v: %s", err, before)
					return
				}
				if why := beyondOurs(tree, after); why != "" {
					t.Errorf("%s\n%s\npatched by %+v", why, before, ops)
					return
				}
			}
		})
	}
	all.Wait()
	if got := int(patched.Load()); got < n/3 {
		t.Errorf("of %d pods only %d were patched: the dice are loaded", n, got)
	}
}

// applied is a pod after a patch, as an API server applies it.
func applied(pod []byte, ops []inject.Op) (obj, error) {
	text, err := json.Marshal(ops)
	if err != nil {
		return nil, err
	}
	patch, err := jsonpatch.DecodePatch(text)
	if err != nil {
		return nil, err
	}
	out, err := patch.Apply(pod)
	if err != nil {
		return nil, err
	}
	var tree obj
	return tree, json.Unmarshal(out, &tree)
}

// beyondOurs says what a patch changed that it must not. It takes away what it may.
func beyondOurs(before, after obj) string {
	volume := func(v obj) bool {
		name, _ := v["name"].(string)
		return name == "azure-identity-token" || strings.HasPrefix(name, "azure-workload-identity-reserved-")
	}
	variable := func(v obj) bool { return strings.HasPrefix(v["name"].(string), "AZURE_") }
	never := func(obj) bool { return false }
	was, is := before["spec"].(obj), after["spec"].(obj)
	for _, which := range []string{"initContainers", "containers"} {
		old, _ := was[which].(list)
		next, _ := is[which].(list)
		next = slices.DeleteFunc(next, func(c any) bool { return c.(obj)["imagePullPolicy"] != nil }) // the proxy: the dice give none
		if len(next) != len(old) {
			return fmt.Sprintf("%d %s, and there were %d", len(next), which, len(old))
		}
		for i := range old {
			o, n := old[i].(obj), next[i].(obj)
			extended(o, n, "env", never, variable)
			extended(o, n, "volumeMounts", volume, volume)
		}
		if is[which] = next; len(old) == 0 { // which may not have been there, or null
			delete(was, which)
			delete(is, which)
		}
	}
	extended(was, is, "volumes", volume, volume)
	if !reflect.DeepEqual(before, after) {
		return "(-before +after, without what is ours)\n" + cmp.Diff(before, after)
	}
	return ""
}

// extended takes from a list what may have been added at its end, or put in the place of
// what may be replaced, so that an equal list is left if nothing else happened to it.
func extended(before, after obj, name string, replaced, added func(obj) bool) {
	old, _ := before[name].(list)
	next, _ := after[name].(list)
	for len(next) > len(old) && added(next[len(next)-1].(obj)) {
		next = next[:len(next)-1]
	}
	for i := range min(len(old), len(next)) {
		if replaced(old[i].(obj)) && added(next[i].(obj)) {
			next[i] = old[i]
		}
	}
	before[name], after[name] = list(old), list(next)
	if len(old)+len(next) == 0 {
		delete(before, name)
		delete(after, name)
	}
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
