package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

func auditKey(seq int) string { return fmt.Sprintf("/gatehouse/v1/audit/%020d", seq) }

func TestEveryChangeLeavesOneRecord(t *testing.T) { // ZA-07
	t.Parallel()
	s := open(t, new(store.Memory))
	ana := principal.ID{42}
	changes := []store.Change{
		{By: ana, Why: "start", Ops: put(tenant, user(1, "Ana"))},
		{Why: "by the house", Ops: []estate.Op{{Delete: user(1, "").Key()}}},
		{By: ana, Why: "a password", Private: []store.PrivateOp{{Bucket: "password", ID: []string{"u1"}, Value: []byte("canary")}, {Bucket: "session", ID: []string{"a/b"}}}},
		{By: ana, Why: "asked for a credential and was denied"},
		{Why: "read", Uses: []store.Use{{By: ana, Time: noon, Action: "getSecret", On: []string{"/v", "s/1"}, Request: "r"}, {By: principal.ID{43}, Time: noon, Action: "sign"}}},
	}
	for _, c := range changes {
		if _, err := s.Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Commit(t.Context(), store.Change{Ops: put(user(1, "bad\n"))}); err == nil {
		t.Fatal("a bad change was accepted")
	}
	var got []string
	for r, err := range s.Audit(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%d %s %q", r.Seq, r.By, r.Why)
		for _, c := range r.Changes {
			verb := "put"
			if c.Value == nil {
				verb = "delete"
			}
			line += fmt.Sprintf(" %s %s", verb, c.Kind)
		}
		for _, p := range r.Private {
			line += fmt.Sprintf(" %s%q delete=%t", p.Bucket, p.ID, p.Delete)
		}
		for _, u := range r.Uses {
			line += fmt.Sprintf(" %.2s did %s on %q in %q", u.By, u.Action, u.On, u.Request)
		}
		got = append(got, line)
	}
	want := []string{
		`1 2a000000-0000-0000-0000-000000000000 "start" put Tenant put User`,
		`2  "by the house" delete User`,
		`3 2a000000-0000-0000-0000-000000000000 "a password" password["u1"] delete=false session["a/b"] delete=true`,
		`4 2a000000-0000-0000-0000-000000000000 "asked for a credential and was denied"`,
		`5  "read" 2a did getSecret on ["/v" "s/1"] in "r" 2b did sign on [] in ""`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var from []int64
	for r := range s.Audit(t.Context(), 3) {
		from = append(from, r.Seq)
	}
	if diff := cmp.Diff([]int64{3, 4, 5}, from); diff != "" {
		t.Errorf("from 3 (-want +got):\n%s", diff)
	}
	if n, err := s.VerifyAudit(t.Context()); n != 5 || err != nil {
		t.Errorf("VerifyAudit = %d, %v, want 5", n, err)
	}
}

func TestTamperingIsDetected(t *testing.T) { // ZA-09
	t.Parallel()
	const head = "/gatehouse/v1/estate-head"
	set := func(key, value string) store.Write { return store.Write{Key: key, Value: []byte(value)} }
	tests := []struct {
		name string
		// tamper gets the value of records 1 to 5, and the heads after each.
		tamper func(records, heads []string) []store.Write
	}{
		{"a record is changed", func(r, _ []string) []store.Write {
			return []store.Write{set(auditKey(3), strings.Replace(r[3], "reason 3", "reason 9", 1))}
		}},
		{"a record is spelled otherwise", func(r, _ []string) []store.Write {
			return []store.Write{set(auditKey(5), " "+r[5])}
		}},
		{"a record in the middle is deleted", func(_, _ []string) []store.Write {
			return []store.Write{{Key: auditKey(3), Delete: true}}
		}},
		{"the first record is deleted", func(_, _ []string) []store.Write {
			return []store.Write{{Key: auditKey(1), Delete: true}}
		}},
		{"the tail is cut off", func(_, _ []string) []store.Write {
			return []store.Write{{Key: auditKey(5), Delete: true}}
		}},
		{"two records change places", func(r, _ []string) []store.Write {
			return []store.Write{set(auditKey(3), r[4]), set(auditKey(4), r[3])}
		}},
		{"a record is added", func(r, _ []string) []store.Write {
			return []store.Write{set(auditKey(6), r[5])}
		}},
		{"something else lies between them", func(_, _ []string) []store.Write {
			return []store.Write{set(auditKey(3)+"a", "{}")}
		}},
		{"the head is deleted", func(_, _ []string) []store.Write {
			return []store.Write{{Key: head, Delete: true}}
		}},
		{"the head is forged for a cut tail", func(_, h []string) []store.Write {
			forged := strings.Replace(h[5], `"seq":5`, `"seq":4`, 1)
			return []store.Write{{Key: auditKey(5), Delete: true}, set(head, forged)}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			kv := new(store.Memory)
			s := open(t, kv)
			records, heads := []string{""}, []string{""}
			for i := range 5 {
				if _, err := s.Commit(t.Context(), store.Change{Why: fmt.Sprintf("reason %d", i+1)}); err != nil {
					t.Fatal(err)
				}
				r, _, err1 := kv.Get(t.Context(), auditKey(i+1))
				h, _, err2 := kv.Get(t.Context(), head)
				if err1 != nil || err2 != nil {
					t.Fatal(err1, err2)
				}
				records, heads = append(records, string(r.Value)), append(heads, string(h.Value))
			}
			if n, err := s.VerifyAudit(t.Context()); n != 5 || err != nil {
				t.Fatalf("before: %d, %v", n, err)
			}
			if _, ok, err := kv.Txn(t.Context(), nil, tt.tamper(records, heads)); !ok || err != nil {
				t.Fatal(ok, err)
			}
			if n, err := s.VerifyAudit(t.Context()); !errors.Is(err, store.ErrTampered) {
				t.Errorf("%d records, %v; want ErrTampered", n, err)
			}
		})
	}
}

func FuzzAuditRecordsAreOneRecordEach(f *testing.F) { // ZA-06
	for _, s := range []string{"plain", "new\nline", "\x1b[31mred", `"},{"seq":2`, "\xff\xfe", "\u2028", strings.Repeat("x", 4096)} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, why, id string) {
		kv := new(store.Memory)
		s := open(t, kv)
		_, err := s.Commit(t.Context(), store.Change{Why: why, Private: []store.PrivateOp{{Bucket: "b", ID: []string{id}, Value: []byte("x")}}})
		n, verr := s.VerifyAudit(t.Context())
		if verr != nil || (n == 1) != (err == nil) {
			t.Fatalf("%d records, %v; commit said %v", n, verr, err)
		}
		item, _, err := kv.Get(t.Context(), auditKey(1))
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.IndexFunc(item.Value, func(r rune) bool { return r < ' ' }); i >= 0 {
			t.Fatalf("control character at %d of %q", i, item.Value)
		}
	})
}

func TestRecordsKeepTheirKeysApart(t *testing.T) {
	t.Parallel()
	parts := []string{"", "a", "a/b", "/", "%2F", "..", ".", "a%", "\u00e4", " ", "estate-head", "~"}
	seen := make(map[string]record.Key)
	for _, a := range parts {
		for _, b := range parts {
			for _, c := range parts {
				k := record.KeyOf(record.Tenant, a, b, c)
				s := store.RecordKey(k)
				if other, taken := seen[s]; taken {
					t.Fatalf("%q and %q share the key %s", k, other, s)
				}
				seen[s] = k
			}
		}
	}
}

func FuzzRecordKey(f *testing.F) {
	f.Add("a", "b", "c")
	f.Add("a/b", "", "%2F")
	f.Add("", "", "")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		k := record.KeyOf(record.KubeBinding, a, b, c)
		again, err := store.ParseRecordKey(store.RecordKey(k))
		if err != nil || again != k {
			t.Fatalf("%q is stored as %s, which is %q, %v", k.Parts, store.RecordKey(k), again.Parts, err)
		}
	})
}

func TestTheAuditLogIsReadBackwards(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	s := open(t, new(store.Memory), func(c *store.Config) {
		c.Now, c.MaxAge = func() time.Time { return noon.Add(time.Duration(ahead.Load())) }, time.Hour
	})
	if got, err := s.AuditUntil(t.Context(), noon); got != 0 || err != nil {
		t.Errorf("the last of none = %d, %v", got, err)
	}
	const n = 120
	for i := range n {
		ahead.Store(int64(i/2) * int64(time.Second)) // two at each instant
		if _, err := s.Commit(t.Context(), store.Change{Why: fmt.Sprint(i + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, from := range []int64{0, 1, 49, 50, 51, n, n + 7} {
		var got, want []int64
		for r, err := range s.AuditBack(t.Context(), from) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, r.Seq)
		}
		for i := min(from, n); i > 0; i-- {
			want = append(want, i)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("from %d (-want +got):\n%s", from, diff)
		}
	}
	for after, want := range map[time.Duration]int64{-time.Second: 0, 0: 2, 999 * time.Millisecond: 2, time.Second: 4, 58 * time.Second: 118, 59 * time.Second: n, time.Hour: n} {
		if got, err := s.AuditUntil(t.Context(), noon.Add(after)); got != want || err != nil {
			t.Errorf("until %s = %d, %v, want %d", after, got, err, want)
		}
	}
}

func TestWhatWasDeletedIsInTheAuditLog(t *testing.T) {
	t.Parallel()
	s := open(t, new(store.Memory))
	for _, ops := range [][]estate.Op{put(tenant, user(1, "Ana")), {{Delete: user(1, "").Key()}}} {
		if _, err := s.Commit(t.Context(), store.Change{Ops: ops}); err != nil {
			t.Fatal(err)
		}
	}
	for r := range s.Audit(t.Context(), 2) {
		was, err := estate.Decode(r.Changes[0].Kind, r.Changes[0].Was)
		if err != nil || !reflect.DeepEqual(was, record.Record(user(1, "Ana"))) || r.Changes[0].Value != nil {
			t.Errorf("%+v, %v", was, err)
		}
	}
	if n, err := s.VerifyAudit(t.Context()); n != 2 || err != nil {
		t.Errorf("VerifyAudit = %d, %v", n, err)
	}
}
