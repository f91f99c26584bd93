package authn_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/gatehouse-io/gatehouse/internal/serve/authn"
)

// FuzzReaders: what our reader accepts, encoding/json reads into the type of
// k8s.io/api as the same question. An error comes with the empty question.
func FuzzReaders(f *testing.F) {
	f.Add([]byte(`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","metadata":{"creationTimestamp":null},"spec":{"token":"a.b.c","audiences":["x"]},"status":{"user":{}}}`))
	f.Add([]byte(`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","spec":{"t\u006fken":"","audiences":null}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		raw, audiences, err := authn.ReadForTest(body)
		if err != nil {
			if raw != "" || audiences != nil {
				t.Fatalf("a question together with %v", err)
			}
			return
		}
		var other authenticationv1.TokenReview
		if err := json.Unmarshal(body, &other); err != nil {
			return // a type that we do not look at, such as metadata
		}
		if diff := cmp.Diff(other.Spec.Audiences, audiences, cmpopts.EquateEmpty()); diff != "" || raw != other.Spec.Token {
			t.Fatalf("token %q and %q, audiences (-json +ours)\n%s", other.Spec.Token, raw, diff)
		}
	})
}

func TestNoSystemNameLeaves(t *testing.T) { // DIR-08
	t.Parallel()
	for _, tt := range []struct {
		law    string
		name   string
		groups []string
		ok     bool
	}{
		{"names of people leave", "faye@teknews.cloud", []string{"30000000-0000-4000-8000-000000000001"}, true},
		{"a user of the control plane does not", "system:admin", nil, false},
		{"nor in another case", "System:Masters", nil, false},
		{"nor in full width", "ｓystem：masters", nil, false},
		{"nor behind a blank", " system:masters", nil, false},
		{"nor with something invisible in it", "sys\u200btem:masters", nil, false},
		{"nor does a group", "faye@teknews.cloud", []string{"a", "system:masters"}, false},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			if err := authn.NoSystemForTest(tt.name, tt.groups...); (err == nil) != tt.ok {
				t.Errorf("%q %q: %v", tt.name, tt.groups, err)
			}
		})
	}
}
