package azure

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A Note says that a call of a client was made in a test that passed. They are
// what docs/compatibility.md is made from.
type Note struct {
	Client, Version, Call string
}

// notes is the file that GATEHOUSE_COMPAT names; without it nothing is noted.
var notes struct {
	sync.Mutex
	file *os.File
	seen map[Note]bool
}

// Tried notes calls of a client, once the test has passed.
func Tried(t testing.TB, client, version string, calls ...string) {
	path := os.Getenv("GATEHOUSE_COMPAT")
	if path == "" {
		return
	}
	t.Cleanup(func() {
		if t.Failed() || t.Skipped() {
			return
		}
		notes.Lock()
		defer notes.Unlock()
		if notes.file == nil {
			f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			if err != nil {
				t.Errorf("GATEHOUSE_COMPAT: %v", err)
				return
			}
			notes.file, notes.seen = f, make(map[Note]bool)
		}
		for _, call := range calls {
			n := Note{client, version, call}
			if notes.seen[n] {
				continue
			}
			notes.seen[n] = true
			line, err := json.Marshal(n)
			if err == nil {
				_, err = notes.file.Write(append(line, '\n'))
			}
			if err != nil {
				t.Errorf("GATEHOUSE_COMPAT: %v", err)
			}
		}
	})
}

// word is a part of a command's name, and no name of a thing.
var word = regexp.MustCompile(`^[a-z][a-z-]*$`)

// tried notes a command of a program that people use, named by its path.
func tried(t testing.TB, program string, args []string) {
	name := filepath.Base(program)
	ask, ok := map[string][]string{
		"az": {"version", "--query", `"azure-cli"`, "-o", "tsv"}, "kubelogin": {"--version"}, "kubectl": {"version", "--client"},
	}[name]
	if !ok || os.Getenv("GATEHOUSE_COMPAT") == "" {
		return
	}
	call := name
	flags := false
	for i, arg := range args {
		switch {
		case name == "kubelogin" && arg == "-l" && i+1 < len(args): // the way to sign in
			flags = true
			call += " -l " + args[i+1]
		case strings.HasPrefix(arg, "-"):
			flags = true
			flag, _, _ := strings.Cut(arg, "=")
			if flag != "-o" && flag != "--output" && flag != "--query" && strings.HasPrefix(flag, "--") {
				call += " " + flag
			}
		case !flags && word.MatchString(arg):
			call += " " + arg
		}
	}
	Tried(t, name, versionOf(program, ask), call)
}

var (
	versions sync.Map // by program
	number   = regexp.MustCompile(`v?\d+\.\d+\.\d+`)
)

func versionOf(program string, ask []string) string {
	if v, ok := versions.Load(program); ok {
		return v.(string)
	}
	out, _ := exec.Command(program, ask...).CombinedOutput()
	v := number.FindString(string(out))
	versions.Store(program, v)
	return v
}

// TriedShell notes a command line that a shell at the desk ran, if it is one
// program's.
func (d *Desk) TriedShell(t testing.TB, line string) {
	if strings.ContainsAny(line, "|;&<>`") {
		return
	}
	fields := strings.Fields(line)
	if path, err := find(fields[0], append(slices.Clone(d.env), d.Env...)); err == nil {
		tried(t, path, fields[1:])
	}
}
