package stories_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/tour"
)

var update = flag.Bool("update", false, "write what came out into testdata; read the difference before you believe it")

// TestStory plays every story of the tour and holds its transcript, to the last
// word that kubectl prints, against the one in testdata.
func TestStory(t *testing.T) {
	stage := onStage(t)
	for _, s := range tour.Stories() {
		t.Run(fmt.Sprintf("%d %s", s.Number, s.Title), func(t *testing.T) {
			var text strings.Builder
			tour.Heading(&text, s, nil)
			r := s.Play(t.Context(), stage, func(step tour.Step) { tour.Print(&text, step, nil) })
			if !r.OK {
				t.Errorf("story %d did not end as it should: %s\n%s", s.Number, r.Failure, text.String())
			}
			golden := filepath.Join("testdata", fmt.Sprintf("story-%02d.txt", s.Number))
			got := timeless(text.String())
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("the transcript changed (-want +got); run with -update if that is right:\n%s", diff)
			}
		})
	}
}

// moments are the parts of a transcript that differ from run to run.
var moments = []struct {
	find *regexp.Regexp
	put  string
}{
	{regexp.MustCompile(`https://127\.0\.0\.1:\d+`), "https://127.0.0.1:PORT"},
	{regexp.MustCompile(`enter the code \w+`), "enter the code CODE"},
	{regexp.MustCompile(`(?m)(Active|Pending|Running)( +\d*)? +\d+[smh][\dsmh]*$`), "$1 AGE"},
	{regexp.MustCompile(`NAME +STATUS +AGE`), "NAME STATUS AGE"},
	{regexp.MustCompile(`creationTimestamp: "[^"]*"`), `creationTimestamp: "TIME"`},
	{regexp.MustCompile(`resourceVersion: "\d+"`), `resourceVersion: "REVISION"`},
	{regexp.MustCompile(`revision \d+`), "revision REVISION"},
	// A token that an API server refused while it started anew was renewed.
	{regexp.MustCompile(`by (device code|refresh token) for`), "by SIGN-IN for"},
	{regexp.MustCompile(`\d\d:\d\d:\d\d\.\d\d\d`), "TIME"},
	{regexp.MustCompile(`(decided|checked) in [\d.]+(µs|ms|s)`), "$1 in TOOK"},
	{regexp.MustCompile(`; audit id \S+`), ""},
	{regexp.MustCompile(`publishes the key \S+`), "publishes the key KEY"},
	{regexp.MustCompile(`valid for \S+ more, until \S+`), "valid for SPAN more, until TIME"},
	{regexp.MustCompile(`(?m)(Version +)[0-9a-f]{32}$`), "${1}VERSION"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`), "TIME"},
	{regexp.MustCompile(`--since \d+`), "--since NUMBER"},
	{regexp.MustCompile(`SEQ +TIME`), "SEQ TIME"},
	{regexp.MustCompile(`(?m)^    \d+ +TIME`), "    NUMBER TIME"},
	// The API server asks again or still remembers; both are right.
	{regexp.MustCompile(`are in order \(checked in TOOK\)|were checked; the API server remembers that for up to 10 s`), "CHECKED"},
	{regexp.MustCompile(`error: You must be logged in to the server \(Unauthorized\)|Error from server \(Forbidden\): .*Access denied: the account is disabled\.`), "REFUSED FOR A DISABLED ACCOUNT"},
	{regexp.MustCompile(`(in the namespace "dev-namespace"): Access denied: the account is no longer in group b0000000-0000-4000-8000-000000000002\.`), "$1"},
}

var (
	ids = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	// fixed are the ids that are the same in each run: those of the sample and of the
	// tour, an application and a role of Azure, and an assignment of the sample, whose
	// id follows from what it says.
	fixed = regexp.MustCompile(`-0000-4000-8000-|^6dae42f8-|^7f6c6a51-|^111a36b5-`)
)

func timeless(text string) string {
	text = ids.ReplaceAllStringFunc(text, func(id string) string {
		if fixed.MatchString(id) {
			return id
		}
		return "UID"
	})
	for _, m := range moments {
		text = m.find.ReplaceAllString(text, m.put)
	}
	return text
}

// TestSentences holds the sentences that the documents quote, in one place and
// without the tour's own idea of them.
func TestSentences(t *testing.T) {
	stage := onStage(t)
	for _, tt := range []struct{ law, who, on, command, want string }{
		{"story 2: Cluster User Role alone opens nothing", "faye", "aks-1", "get ns",
			`Error from server (Forbidden): namespaces is forbidden: User "faye@teknews.cloud" cannot list resource "namespaces" in API group "" at the cluster scope: User does not have access to the resource in Azure. Update role assignment to allow access.`},
		{"story 3: a cluster without Azure RBAC says nothing about Azure", "jet", "aks-2", "get ns",
			`Error from server (Forbidden): namespaces is forbidden: User "jet@teknews.cloud" cannot list resource "namespaces" in API group "" at the cluster scope`},
		{"story 4: Kubernetes RBAC grants nothing on another cluster", "leonard", "aks-2", "run testnginx --image=nginx",
			`Error from server (Forbidden): pods is forbidden: User "leonard@teknews.cloud" cannot create resource "pods" in API group "" in the namespace "default"`},
	} {
		t.Run(tt.law, func(t *testing.T) {
			p, err := stage.Person(tt.who)
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.Kubectl(t.Context(), tt.on, strings.Fields(tt.command)...)
			if err != nil {
				t.Fatal(err)
			}
			if got.Text != tt.want || got.Exit != 1 {
				t.Errorf("kubectl %s of %s: exit code %d\ngot  %s\nwant %s", tt.command, tt.who, got.Exit, got.Text, tt.want)
			}
		})
	}
}
