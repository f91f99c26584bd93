package check_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatehouse-io/gatehouse/internal/check"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/doctor"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/inject"
	"github.com/gatehouse-io/gatehouse/internal/manifest"
)

var update = flag.Bool("update", false, "rewrite what is wanted of each rule")

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// base is the estate with which nothing is wrong.
func base(t testing.TB) *estate.Snapshot {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "base.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	est, err := manifest.Load(manifest.Files{{Name: "base.yaml", Data: text}})
	if err != nil {
		t.Fatal(err)
	}
	return est
}

// with returns an estate with more documents, which stand for those of the same key.
func with(t testing.TB, est *estate.Snapshot, text []byte) *estate.Snapshot {
	t.Helper()
	if len(text) == 0 {
		return est
	}
	recs, err := manifest.Decode(maps.All(map[string][]byte{"more.yaml": text}), est)
	if err != nil {
		t.Fatal(err)
	}
	var ops []estate.Op
	for _, r := range recs {
		ops = append(ops, estate.Op{Put: r})
	}
	next, err := est.Apply(1, ops...)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// facts are those of an estate all of whose clusters were read: aks-1 has the pods and
// accounts of a file, and the others have none.
func facts(t testing.TB, est *estate.Snapshot, file map[string]string, secrets string) check.Facts {
	t.Helper()
	f := check.Facts{Now: now, Estate: doctor.Estate{Snapshot: est}, Secrets: doctor.Know(readSecrets(t, secrets))}
	for c := range est.Clusters() {
		read := doctor.Swept{Cluster: c, Accounts: doctor.Know[[]corev1.ServiceAccount](nil), Pods: doctor.Know[[]corev1.Pod](nil)}
		if c.Name == "aks-1" {
			var accounts []corev1.ServiceAccount
			for fields := range fieldsOf(file["accounts"]) {
				ns, name, _ := strings.Cut(fields[0], "/")
				accounts = append(accounts, corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Annotations: map[string]string{inject.ClientIDAnnotation: fields[1]}}})
			}
			var pods []corev1.Pod
			for fields := range fieldsOf(file["pods"]) {
				ns, name, _ := strings.Cut(fields[0], "/")
				label, value, _ := strings.Cut(fields[1], "=")
				pods = append(pods, corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Labels: map[string]string{label: value}}})
			}
			read.Accounts, read.Pods = doctor.Know(accounts), doctor.Know(pods)
		}
		f.Read = append(f.Read, read)
	}
	return f
}

func readSecrets(t testing.TB, text string) []check.Secret {
	t.Helper()
	var all []check.Secret
	for fields := range fieldsOf(text) {
		app, err := guid.Parse[directory.AppID](fields[0])
		begins, err1 := time.Parse(time.DateOnly, fields[2])
		ends, err2 := time.Parse(time.DateOnly, fields[3])
		if err := cmp.Or(err, err1, err2); err != nil {
			t.Fatal(err)
		}
		all = append(all, check.Secret{App: directory.AppID(app), KeyID: fields[1], Begins: begins, Ends: ends})
	}
	return all
}

func fieldsOf(text string) func(func([]string) bool) {
	return func(yield func([]string) bool) {
		for line := range strings.Lines(text) {
			if !yield(strings.Fields(line)) {
				return
			}
		}
	}
}

// tell writes findings for a person who reviews what a rule says.
func tell(all []check.Finding) string {
	var b strings.Builder
	for _, f := range all {
		fmt.Fprintf(&b, "%s: %s\n", f.Verdict, f.Name)
		fmt.Fprintf(&b, "  %s\n", f.What)
		for _, e := range f.Evidence {
			fmt.Fprintf(&b, "  by %s %s: %s\n", e.Principal.Name, e.Subject.Name, e.By.Record().Key())
		}
		for _, c := range f.Fix.Commands {
			fmt.Fprintf(&b, "  $ %s\n", c)
		}
		if f.Fix.Besides != "" {
			fmt.Fprintf(&b, "  more than is wrong: %s\n", f.Fix.Besides)
		}
	}
	return b.String()
}

func TestNothingIsWrongWithTheBase(t *testing.T) {
	t.Parallel()
	if found := check.Run(facts(t, base(t), nil, "")); len(found) > 0 {
		t.Errorf("in an estate with which nothing is wrong:\n%s", tell(found))
	}
}

// TestRules breaks each rule, comes near to breaking it, and mends what is broken.
// open-binding.txtar has KR-15.
func TestRules(t *testing.T) {
	t.Parallel()
	for _, rule := range check.Rules() {
		t.Run(rule.ID, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join("testdata", "rules", rule.ID+".txtar")
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			arc := txtar.Parse(text)
			file := make(map[string]string)
			for _, f := range arc.Files {
				file[f.Name] = string(f.Data)
			}
			est := with(t, base(t), []byte(file["broken.yaml"]))
			broken := facts(t, est, file, file["secrets"])
			found := check.Run(broken, rule)
			if check.Worst(found) != doctor.Wrong {
				t.Fatalf("it is broken, and not found:\n%s", tell(found))
			}
			if got := tell(found); *update {
				file["want"] = got
				arc.Files = slices.DeleteFunc(arc.Files, func(f txtar.File) bool { return f.Name == "want" })
				arc.Files = append(arc.Files, txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(path, txtar.Format(arc), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if diff := gocmp.Diff(file["want"], got); diff != "" {
				t.Errorf("what it says changed (-want +got); run with -update if that is right:\n%s", diff)
			}
			if again := tell(check.Run(broken, rule)); again != tell(found) {
				t.Errorf("asked twice, it says two things:\n%s\n%s", tell(found), again)
			}
			near := check.Run(facts(t, with(t, base(t), []byte(file["near.yaml"])), nil, file["nearsecrets"]), rule)
			if len(near) > 0 {
				t.Errorf("what is nearly broken is found:\n%s", tell(near))
			}
			for _, f := range found {
				mend(t, rule, broken, f)
			}
		})
	}
}

// mend carries a fix out and wants the finding to be gone, and no other there.
func mend(t *testing.T, rule check.Rule, broken check.Facts, f check.Finding) {
	t.Helper()
	if f.Fix.Ops == nil {
		return
	}
	next, err := broken.Estate.Apply(2, f.Fix.Ops...)
	if err != nil {
		t.Errorf("%s: its fix cannot be carried out: %v", f.Name, err)
		return
	}
	mended := broken
	mended.Estate.Snapshot = next
	before := check.Run(broken, rule)
	for _, left := range check.Run(mended, rule) {
		if left.About == f.About && left.What == f.What {
			t.Errorf("%s: after the fix it is still there: %s", f.Name, f.What)
		}
		if !slices.ContainsFunc(before, func(b check.Finding) bool { return b.About == left.About }) {
			t.Errorf("%s: the fix makes another finding: %s: %s", f.Name, left.Name, left.What)
		}
	}
}

func TestRulesAreWhole(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, r := range check.Rules() {
		if seen[r.ID] || r.ID == "" || r.Title == "" || r.Source == "" || r.Explain == "" || r.Severity < check.Low || r.Severity > check.High {
			t.Errorf("rule %q is there twice, or lacks something", r.ID)
		}
		seen[r.ID] = true
	}
	files, err := filepath.Glob(filepath.Join("testdata", "rules", "*.txtar"))
	if err != nil || len(files) != len(seen) {
		t.Errorf("%d files for %d rules, %v", len(files), len(seen), err)
	}
}
