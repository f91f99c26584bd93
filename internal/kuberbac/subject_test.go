package kuberbac_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
)

func TestServiceAccountOf(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, user string
		want       kuberbac.Subject
	}{
		{"a service account", "system:serviceaccount:kube-system:dns", account("kube-system", "dns")},
		{"a name may have dots", "system:serviceaccount:a:b.c", account("a", "b.c")},
		{"a name has no colons", "system:serviceaccount:a:b:c", kuberbac.Subject{}},
		{"a namespace has no dots", "system:serviceaccount:a.b:c", kuberbac.Subject{}},
		{"there is a namespace", "system:serviceaccount::c", kuberbac.Subject{}},
		{"there is a name", "system:serviceaccount:a:", kuberbac.Subject{}},
		{"there are both", "system:serviceaccount:a", kuberbac.Subject{}},
		{"the prefix is not folded", "System:serviceaccount:a:b", kuberbac.Subject{}},
		{"a group is no user", "system:serviceaccounts:a", kuberbac.Subject{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, ok := kuberbac.ServiceAccountOf(tt.user)
			if got != tt.want || ok != (tt.want != kuberbac.Subject{}) {
				t.Errorf("%q is %+v, %t, want %+v", tt.user, got, ok, tt.want)
			}
		})
	}
}

func TestSubjectGroups(t *testing.T) {
	t.Parallel()
	want := list("system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated")
	if diff := cmp.Diff(want, account("a", "b").Groups()); diff != "" {
		t.Errorf("groups of a service account (-want +got):\n%s", diff)
	}
	if got := user("ann").Groups(); got != nil {
		t.Errorf("groups of a user = %q, want none", got)
	}
}

func TestSubjectIs(t *testing.T) {
	t.Parallel()
	groups := list("dev", "system:authenticated")
	tests := []struct {
		name    string
		subject kuberbac.Subject
		user    string
		want    bool
	}{
		{"a user is known by name", user("ann"), "ann", true},
		{"letters are not folded", user("Ann"), "ann", false},
		{"a group is not a user", user("dev"), "ann", false},
		{"a group has its members", kuberbac.Subject{Kind: kuberbac.Group, Name: "dev"}, "ann", true},
		{"and no others", kuberbac.Subject{Kind: kuberbac.Group, Name: "ops"}, "ann", false},
		{"a user is not a group", kuberbac.Subject{Kind: kuberbac.Group, Name: "ann"}, "ann", false},
		{"a service account is known by its user name", account("a", "b"), "system:serviceaccount:a:b", true},
		{"a user of that name is the service account", user("system:serviceaccount:a:b"), "system:serviceaccount:a:b", true},
		{"a service account of another namespace is another", account("a", "b"), "system:serviceaccount:c:b", false},
		{"a longer name is another", account("a", "b"), "system:serviceaccount:a:bb", false},
		{"the colon cannot be moved", account("a", "b"), "system:serviceaccount:a-b", false},
		{"a service account without a namespace is nobody", account("", "a:b"), "system:serviceaccount::a:b", false},
		{"the zero subject is nobody", kuberbac.Subject{}, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.subject.Is(tt.user, groups); got != tt.want {
				t.Errorf("%+v is %q = %t, want %t", tt.subject, tt.user, got, tt.want)
			}
		})
	}
}

// FuzzServiceAccountOf: a name that parses is the name that is written again,
// speaks of itself, and passes as the subject of a binding.
func FuzzServiceAccountOf(f *testing.F) {
	for _, s := range []string{"", "system:serviceaccount:a:b", "system:serviceaccount:a:b:c", "system:serviceaccount:a:b.c-d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		s, ok := kuberbac.ServiceAccountOf(name)
		if !ok {
			if s != (kuberbac.Subject{}) {
				t.Fatalf("%q is refused as %+v", name, s)
			}
			return
		}
		if s.UserName() != name || !s.Is(name, nil) {
			t.Fatalf("%q parses as %+v, whose name is %q", name, s, s.UserName())
		}
		if err := binding("", "view", true, s).Validate(); err != nil {
			t.Fatal(err)
		}
	})
}
