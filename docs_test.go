package gatehouse_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/check"
	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/cli/live"
	"github.com/gatehouse-io/gatehouse/internal/manifest"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

// pages returns the Markdown files of the tree, name to text.
func pages(t *testing.T) map[string]string {
	t.Helper()
	out := make(map[string]string)
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			out[name] = string(text)
		}
	}
	if len(out) < 10 {
		t.Fatalf("only %d pages found", len(out))
	}
	return out
}

var (
	mdLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	mdHeading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	notAnchor = regexp.MustCompile(`[^a-z0-9 _-]`)
	codeBlock = regexp.MustCompile("(?ms)^```[a-z]*\n(.*?)^```$")
	// command is a line that runs gatehouse, behind a prompt, a pipe or variables.
	command = regexp.MustCompile(`(?m)^(?:\$ |sudo |[A-Z_]+=\S+ )*(?:.*\| )?(?:bin/)?gatehouse((?: [a-z][a-z-]*)+)`)
)

func anchors(text string) map[string]bool {
	out := make(map[string]bool)
	for _, m := range mdHeading.FindAllStringSubmatch(text, -1) {
		out[strings.ReplaceAll(notAnchor.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	return out
}

func TestLinksOfThePagesLeadSomewhere(t *testing.T) {
	t.Parallel()
	all := pages(t)
	links := 0
	for name, text := range all {
		for _, m := range mdLink.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			links++
			file, anchor, _ := strings.Cut(m[1], "#")
			target := name
			if file != "" {
				target = filepath.Join(filepath.Dir(name), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: the link %s leads nowhere", name, m[1])
			} else if page, ok := all[target]; ok && anchor != "" && !anchors(page)[anchor] {
				t.Errorf("%s: %s has no heading #%s", name, target, anchor)
			}
		}
	}
	if links == 0 {
		t.Error("no links found")
	}
}

// TestCommandsOfThePagesExist asks the command line for help on every command
// that a page shows.
// A row behind an empty line is no longer in its table: it is shown as it is written.
func TestTablesOfThePagesAreWhole(t *testing.T) {
	t.Parallel()
	rows := 0
	for name, text := range pages(t) {
		lines := strings.Split(codeBlock.ReplaceAllString(text, ""), "\n")
		for i, line := range lines {
			if !strings.HasPrefix(line, "|") {
				continue
			}
			rows++
			first := i == 0 || !strings.HasPrefix(lines[i-1], "|")
			if first && (i+1 == len(lines) || !strings.HasPrefix(lines[i+1], "|-")) {
				t.Errorf("%s: this row is in no table: %.60s", name, line)
			}
		}
	}
	if rows < 200 {
		t.Errorf("only %d rows were looked at", rows)
	}
}

func TestCommandsOfThePagesExist(t *testing.T) {
	t.Parallel()
	shown := 0
	for name, text := range pages(t) {
		for _, block := range codeBlock.FindAllStringSubmatch(text, -1) {
			for _, m := range command.FindAllStringSubmatch(block[1], -1) {
				shown++
				words := strings.Fields(m[1])
				found, parent := help(t, words[:1])
				// A second word is a subcommand if the first has any.
				if found && parent && len(words) > 1 {
					words = words[:2]
					found, _ = help(t, words)
				}
				if !found {
					t.Errorf("%s: there is no command gatehouse %s", name, strings.Join(words, " "))
				}
			}
		}
	}
	if shown == 0 {
		t.Error("no commands found")
	}
}

// help reports whether help shows this command and not another one, and whether
// it has subcommands.
func help(t *testing.T, words []string) (found, parent bool) {
	t.Helper()
	var out bytes.Buffer
	env := cli.Env{Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }}
	code := cli.Main(t.Context(), slices.Concat(words, []string{"--help"}), env, live.Commands()...)
	usage := "\n  gatehouse " + strings.Join(words, " ")
	found = code == cli.ExitYes && (strings.Contains(out.String(), usage+" ") || strings.Contains(out.String(), usage+"\n"))
	return found, strings.Contains(out.String(), "\nAvailable Commands:")
}

// TestTheRulesOfTheGuideAreThoseOfCheck wants the table of docs/guides/check.md to be
// what gatehouse check rules says.
func TestTheRulesOfTheGuideAreThoseOfCheck(t *testing.T) {
	t.Parallel()
	_, table, _ := strings.Cut(pages(t)["docs/guides/check.md"], "\n|---|---|---|---|\n")
	var want strings.Builder
	for _, r := range check.Rules() {
		fmt.Fprintf(&want, "| `%s` | %s | %s | %s |\n", r.ID, r.Severity, r.Title, r.Source)
	}
	if table != want.String() {
		t.Errorf("the table is:\n%s\nthe rules are:\n%s", table, want.String())
	}
}

var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")

// TestTheExamplesOfTheFormatAreAnEstate puts the examples of docs/guides/estate-format.md
// together, loads them, and wants every kind among them.
func TestTheExamplesOfTheFormatAreAnEstate(t *testing.T) {
	t.Parallel()
	var docs []string
	for _, m := range yamlBlock.FindAllStringSubmatch(pages(t)["docs/guides/estate-format.md"], -1) {
		docs = append(docs, m[1])
	}
	est, err := manifest.Load(manifest.Files{{Name: "examples.yaml", Data: []byte(strings.Join(docs, "---\n"))}})
	if err != nil {
		t.Fatal(err)
	}
	missing := slices.Clone(record.Kinds)
	for r := range est.Records() {
		missing = slices.DeleteFunc(missing, func(k record.Kind) bool { return k == r.Key().Kind })
	}
	if len(missing) > 0 {
		t.Errorf("the examples have no %v", missing)
	}
}
