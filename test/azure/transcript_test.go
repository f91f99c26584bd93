package azure_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/test/azure"
)

var update = flag.Bool("update", false, "write what the transcripts say now")

// A transcript is a session in a terminal, command by command, with what each
// printed and its exit code. Commands are written as the documents write them,
// placeholders and all:
//
//	# a comment, kept as it is
//	@person                     who sits at the desk from here on; operator is the operator of the house
//	=name value                 what the placeholder <name> stands for
//	=name $ command             the same, taken from what a command prints
//	+file                       the lines up to the next empty one are written to a file
//	$ command                   run by a shell; its output follows, up to the next empty line
//	! code                      how it ended, unless by 0
type transcript struct {
	t     *testing.T
	house *azure.House
	desks map[string]*azure.Desk
	who   string
	named map[string]string
	out   strings.Builder
}

// play runs a transcript file and compares it with itself.
func playTranscript(t *testing.T, house *azure.House, file string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &transcript{t: t, house: house, desks: make(map[string]*azure.Desk), named: make(map[string]string)}
	blocks := strings.Split(strings.TrimRight(string(want), "\n"), "\n\n")
	for i, block := range blocks {
		if i > 0 {
			s.out.WriteString("\n")
		}
		s.block(strings.Split(block, "\n"))
	}
	got := s.out.String()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(want), got); diff != "" && !*update {
		t.Errorf("%s is not what happens now; go test -run '%s' -update writes what does (-written +now):\n%s", path, t.Name(), diff)
	}
}

// block plays the lines up to an empty one.
func (s *transcript) block(lines []string) {
	s.t.Helper()
	for i, line := range lines {
		switch mark, rest := mark(line); mark {
		case "@":
			s.sit(rest)
		case "=":
			name, value, _ := strings.Cut(rest, " ")
			if command, ok := strings.CutPrefix(value, "$ "); ok {
				res := s.run(command)
				if res.Code != 0 || strings.TrimSpace(res.Out) == "" {
					s.t.Fatalf("%s: exit code %d\n%s%s", command, res.Code, res.Out, res.Err)
				}
				value = strings.TrimSpace(res.Out)
			}
			s.named["<"+name+">"] = s.fill(value)
		case "+":
			text := s.fill(strings.Join(lines[i+1:], "\n") + "\n")
			if err := os.WriteFile(filepath.Join(s.desks[s.who].Home, rest), []byte(text), 0o600); err != nil {
				s.t.Fatal(err)
			}
			fmt.Fprintln(&s.out, strings.Join(lines[i:], "\n"))
			return
		case "$":
			fmt.Fprintln(&s.out, line)
			s.command(strings.TrimSpace(rest))
			return
		}
		fmt.Fprintln(&s.out, line)
	}
}

func mark(line string) (string, string) {
	if line == "" {
		return "", ""
	}
	return line[:1], line[1:]
}

// sit lets a person take the desk that is his, and sign in the first time.
func (s *transcript) sit(who string) {
	s.t.Helper()
	s.who = who
	if s.desks[who] != nil {
		return
	}
	desk := s.house.Desk(s.t)
	desk.Patience = 3 * time.Minute
	s.desks[who] = desk
	if who == "operator" {
		desk.LoginOperator(s.t)
	} else {
		desk.Login(s.t, who)
	}
}

// fill puts in what the placeholders stand for.
func (s *transcript) fill(text string) string {
	for name, value := range s.named {
		text = strings.ReplaceAll(text, name, value)
	}
	return text
}

var openPage = regexp.MustCompile(`open the page (https://\S+) and enter the code ([A-Z]+) to authenticate`)

// run runs a command line in a shell at the desk. Whoever is asked to sign in
// there does.
func (s *transcript) run(command string) azure.Result {
	s.t.Helper()
	who := s.who
	return s.desks[who].Watched(s.t, func(ctx context.Context, line string) error {
		if m := openPage.FindStringSubmatch(line); m != nil {
			return s.house.Approve(ctx, m[1], m[2], who)
		}
		return nil
	}, "bash", "-c", `k() { kubectl "$@"; }; `+s.fill(command))
}

func (s *transcript) command(command string) {
	s.t.Helper()
	res := s.run(command)
	s.desks[s.who].TriedShell(s.t, s.fill(command))
	for _, text := range []string{res.Err, res.Out} {
		if text = strings.TrimRight(s.tidy(text), "\n"); text != "" {
			// An empty line would end the block.
			fmt.Fprintln(&s.out, strings.ReplaceAll(text, "\n\n", "\n"))
		}
	}
	if res.Code != 0 {
		fmt.Fprintf(&s.out, "! %d\n", res.Code)
	}
}

// changing are what differs from run to run, and what stands for it.
var changing = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`), "{guid}"},
	{regexp.MustCompile(`\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?`), "{time}"},
	{regexp.MustCompile(`ssh-rsa [A-Za-z0-9+/=]+\S*`), "{ssh key}"},
	{regexp.MustCompile(`-[0-9a-z]{8}\.(hcp|portal)\.`), "-{8}.$1."},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "127.0.0.1:{port}"},
	{regexp.MustCompile(`enter the code [A-Z]+`), "enter the code {code}"},
	{regexp.MustCompile(`/tmp/[^\s"']*/(shell|\.ssh)\b`), "{home}/$1"},
	{regexp.MustCompile(`\b\d+(m\d+)?s\b`), "{age}"},
}

var columns = regexp.MustCompile(`(\S) {2,}`)

// fixed are ids of the sample estate and of built-in roles: they are the same in
// every run, and stay in the transcript.
var fixed = regexp.MustCompile(`^(5b|7e4e35|a0|b0|c0|d0)[0-9a-f]*-0000-4000-8000-|^0{8}-`)

// noise are lines of az that say nothing about the house.
var noise = regexp.MustCompile(`(?m)^(WARNING: (SSH key files|The behavior of this command|Argument '|In a future release|.*is in preview|.*experimental).*|.*UserWarning.*|.*pkg_resources.*)\n`)

func (s *transcript) tidy(text string) string {
	text = noise.ReplaceAllString(text, "")
	for _, c := range changing {
		text = c.what.ReplaceAllStringFunc(text, func(m string) string {
			if fixed.MatchString(m) || builtIn(m) {
				return m
			}
			return c.what.ReplaceAllString(m, c.with)
		})
	}
	// The width of a column depends on the ages in it.
	text = columns.ReplaceAllString(text, "$1  ")
	return strings.ReplaceAll(text, s.desks[s.who].Home, "{home}")
}

// builtIn reports whether an id is one that clients have compiled in.
func builtIn(id string) bool {
	switch id {
	case "4abbcc35-e782-43d8-92c5-2d3f1bd2253f", "0ab0b1a8-8aac-4efd-b8c2-3ee1fb270be8", "7f6c6a51-bcf8-42ba-9220-52d62157d7db",
		"a7ffa36f-339b-4b5c-8bdf-e2c188b2c0eb", "acdd72a7-3385-48ef-bd42-f606fba81ae7",
		"6dae42f8-4368-4678-94ff-3960e28e3630", "80faf920-1908-4b52-b5ef-a8e7bedfc67a":
		return true
	}
	return false
}
