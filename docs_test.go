package gatehouse_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
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

// TestCommandsOfThePagesExist asks the built program for help on every command
// that a page shows.
func TestCommandsOfThePagesExist(t *testing.T) {
	t.Parallel()
	bin := os.Getenv("GATEHOUSE_BIN")
	if _, err := os.Stat(bin); err != nil {
		t.Skip("GATEHOUSE_BIN names no program; make build")
	}
	known := make(map[string]bool)
	for name, text := range pages(t) {
		for _, block := range codeBlock.FindAllStringSubmatch(text, -1) {
			for _, m := range command.FindAllStringSubmatch(block[1], -1) {
				words := strings.Fields(m[1])
				if !exists(t, bin, known, words[:1]) {
					t.Errorf("%s: there is no command gatehouse %s", name, words[0])
				}
				// A second word is a subcommand if the first has any.
				if len(words) > 1 && known[words[0]+" *"] && !exists(t, bin, known, words[:2]) {
					t.Errorf("%s: there is no command gatehouse %s %s", name, words[0], words[1])
				}
			}
		}
	}
	if len(known) == 0 {
		t.Error("no commands found")
	}
}

// exists reports whether help shows this command and not another one, and
// remembers that; also, under its name and a star, whether it has subcommands.
func exists(t *testing.T, bin string, known map[string]bool, words []string) bool {
	t.Helper()
	name := strings.Join(words, " ")
	if found, asked := known[name]; asked {
		return found
	}
	out, err := exec.Command(bin, slices.Concat(words, []string{"--help"})...).Output()
	known[name] = err == nil && strings.Contains(string(out), "\n  gatehouse "+name+" ")
	known[name+" *"] = strings.Contains(string(out), "\nAvailable Commands:")
	return known[name]
}
