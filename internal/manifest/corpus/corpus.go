// Package corpus reads decision scenarios: small estates with questions and the
// answers that they must get. The tests of every part that decides, or that asks
// one that does, run the same files, test/scenarios.
//
// A scenario is a txtar archive. Its comment says what it is about; its *.yaml
// files are an estate, together with the files that all scenarios share; its
// file "questions" has one question a line, in one of these forms:
//
//	WHO VERB RESOURCE[.GROUP][/SUB] [NAME] @CLUSTER[/NAMESPACE] => ANSWER
//	WHO VERB /path @CLUSTER => ANSWER
//	WHO action OPERATION at PLACE => ANSWER
//	WHO data OPERATION at PLACE => ANSWER
//
// WHO is a user principal name, an object id, a display name without blanks, or
// an identity that only Kubernetes knows: NAME+GROUP+GROUP, or
// system:serviceaccount:NAMESPACE:NAME. PLACE is a scope, a cluster's name, or
// CLUSTER/NAMESPACE. Before the arrow may stand "when" and an instant, "with"
// and NAME=VALUE of a request attribute, "only" and a plane.
//
// ANSWER is "allow by GRANT", "deny by GRANT", "deny because REASON", or "none".
// GRANT is the name of the role that is assigned, of the deny assignment, or of
// the binding. Empty lines and what follows a # are comments.
package corpus

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/tools/txtar"

	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/manifest"
)

// questionsFile holds the questions of a scenario.
const questionsFile = "questions"

// A Scenario is an estate and what is asked about it.
type Scenario struct {
	Name      string
	Estate    *estate.Snapshot
	Questions []Question
}

// A Question is one line of a scenario.
type Question struct {
	Line    int // of the file "questions", counted from 1
	Text    string
	Request decide.Request
	Want    decide.Effect
	By      string // the grant that decides; "" when none does
	Because string // the reason of a refusal that no grant makes
}

// Read returns the scenarios of a folder, *.txtar, in the order of their names.
// The files of base belong to every one of them.
func Read(fsys fs.FS, base manifest.Files) ([]Scenario, error) {
	names, err := fs.Glob(fsys, "*.txtar")
	if err != nil {
		return nil, err
	}
	var all []Scenario
	for _, name := range names {
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		s, err := Parse(strings.TrimSuffix(name, ".txtar"), data, base)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	if len(all) == 0 {
		return nil, errors.New("no scenario in the folder")
	}
	return all, nil
}

// Parse reads one scenario.
func Parse(name string, data []byte, base manifest.Files) (Scenario, error) {
	s := Scenario{Name: name}
	files := base[:len(base):len(base)]
	var questions []byte
	for _, f := range txtar.Parse(data).Files {
		switch {
		case f.Name == questionsFile:
			questions = f.Data
		case path.Ext(f.Name) == ".yaml":
			files = append(files, manifest.File{Name: f.Name, Data: f.Data})
		default:
			return s, fmt.Errorf("%s: file %s is neither *.yaml nor %s", name, f.Name, questionsFile)
		}
	}
	est, err := manifest.Load(files)
	if err != nil {
		return s, fmt.Errorf("%s: %w", name, err)
	}
	s.Estate = est
	line := 0
	for text := range strings.Lines(string(questions)) {
		line++
		text, _, _ = strings.Cut(text, "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		q, err := parseQuestion(est, text)
		if err != nil {
			return s, fmt.Errorf("%s: question %d: %q: %w", name, line, text, err)
		}
		q.Line, q.Text = line, text
		s.Questions = append(s.Questions, q)
	}
	if len(s.Questions) == 0 {
		return s, fmt.Errorf("%s: no questions", name)
	}
	return s, nil
}

// Check compares a decision with the answer that is wanted.
func (q Question) Check(dec decide.Decision) error {
	if dec.Effect != q.Want {
		return fmt.Errorf("%s: %s (%s, by %s), want %s", q.Text, dec.Effect, dec.Reason, orNobody(GrantName(dec.By)), q.Want)
	}
	if by := GrantName(dec.By); by != q.By {
		return fmt.Errorf("%s: by %s, want by %s", q.Text, orNobody(by), orNobody(q.By))
	}
	if q.Because != "" && dec.Reason.String() != q.Because {
		return fmt.Errorf("%s: because %s, want because %s", q.Text, dec.Reason, q.Because)
	}
	return nil
}

// GrantName is the name by which answers call a grant; "" for none.
func GrantName(g *estate.Grant) string {
	switch {
	case g == nil:
		return ""
	case g.Role != nil:
		return g.Role.RoleName
	case g.Deny != nil:
		return g.Deny.DenyAssignment.Name
	case g.Binding != nil:
		return g.Binding.Name
	}
	return ""
}

func orNobody(s string) string {
	if s == "" {
		return "no grant"
	}
	return fmt.Sprintf("%q", s)
}
