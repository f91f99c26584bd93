package azure

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Desk is where one person works: the environment of gatehouse env, with a
// configuration folder and a home directory of its own.
type Desk struct {
	House *House
	Home  string // also the working directory
	// Env are further variables, NAME=value.
	Env []string
	// Patience bounds one command.
	Patience time.Duration

	env  []string // of gatehouse env
	path string   // where programs are looked for
}

// Desk returns a desk at which nobody has signed in yet.
func (h *House) Desk(t *testing.T) *Desk {
	t.Helper()
	home := t.TempDir()
	var vars struct{ Set map[string]string }
	if text := h.Operate(t, "env", "-o", "json", "--dir", filepath.Join(home, "shell")); json.Unmarshal([]byte(text), &vars) != nil {
		t.Fatalf("gatehouse env prints no JSON:\n%s", text)
	}
	d := &Desk{House: h, Home: home, Patience: 5 * time.Minute, path: filepath.Join(h.scratch, "bin") + ":" + os.Getenv("PATH")}
	for name, value := range vars.Set {
		d.env = append(d.env, name+"="+value)
	}
	// Nothing of the test's own environment is on the desk, but for where programs are.
	d.env = append(d.env, "HOME="+home, "PATH="+d.path, "PYTHONPATH="+azfix(t), "LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1")
	return d
}

// azfix is the folder that repairs Debian's az.
func azfix(t *testing.T) string {
	t.Helper()
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("where is this file?")
	}
	return filepath.Join(filepath.Dir(file), "azfix")
}

// A Result is how a command ended.
type Result struct {
	Out, Err string
	Code     int
}

// Run runs a program to its end.
func (d *Desk) Run(t *testing.T, name string, args ...string) Result {
	t.Helper()
	return d.Watched(t, nil, name, args...)
}

// Watched runs a program and shows its output, both streams together, to watch,
// which is called in turn for each line. It ends when watch and program have.
func (d *Desk) Watched(t *testing.T, watch func(ctx context.Context, line string) error, name string, args ...string) Result {
	t.Helper()
	environ := append(append([]string{}, d.env...), d.Env...)
	path, err := find(name, environ)
	if err != nil {
		t.Skipf("%v: run make test, which builds what the tests need", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), d.Patience)
	defer cancel()
	var out, complaint bytes.Buffer
	lines := &lineWatcher{ctx: ctx, watch: watch}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Env = d.Home, environ
	cmd.Stdout, cmd.Stderr = tee{&out, lines}, tee{&complaint, lines}
	cmd.WaitDelay = 5 * time.Second
	err = cmd.Run()
	if failed := lines.end(); failed != nil {
		t.Errorf("%s %s: %v", name, strings.Join(args, " "), failed)
	}
	tried(t, path, args)
	res := Result{Out: out.String(), Err: complaint.String(), Code: cmd.ProcessState.ExitCode()}
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited || ctx.Err() != nil {
		t.Fatalf("%s %s: %v (%v)\n%s%s", name, strings.Join(args, " "), err, ctx.Err(), res.Out, res.Err)
	}
	return res
}

// find looks for a program in the PATH of an environment, whose last entry counts.
// A path names the program itself.
func find(name string, environ []string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	var path string
	for _, kv := range environ {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("%s is not installed", name)
}

// Az runs az, which must succeed, and returns what it printed.
func (d *Desk) Az(t *testing.T, args ...string) string {
	t.Helper()
	res := d.Run(t, "az", args...)
	if res.Code != 0 {
		t.Fatalf("az %s: exit code %d\n%s%s", strings.Join(args, " "), res.Code, res.Out, res.Err)
	}
	return strings.TrimSpace(res.Out)
}

// AzJSON runs az and decodes what it prints.
func (d *Desk) AzJSON(t *testing.T, into any, args ...string) {
	t.Helper()
	if text := d.Az(t, append(args, "-o", "json")...); json.Unmarshal([]byte(text), into) != nil {
		t.Fatalf("az %s prints no JSON for a %T:\n%s", strings.Join(args, " "), into, text)
	}
}

// Login signs a person of the sample in, by password.
func (d *Desk) Login(t *testing.T, user string) {
	t.Helper()
	d.Az(t, "login", "--username", user, "--password", d.House.Password, "--allow-no-subscriptions", "-o", "none")
}

// LoginApp signs an application in, by secret.
func (d *Desk) LoginApp(t *testing.T, app App) {
	t.Helper()
	d.loginSecret(t, app.AppID.String(), app.Secret)
}

// LoginOperator signs in as the operator of the house, who is Owner of everything.
func (d *Desk) LoginOperator(t *testing.T) {
	t.Helper()
	d.loginSecret(t, d.House.Operator.ClientID.String(), d.House.Operator.Secret)
}

func (d *Desk) loginSecret(t *testing.T, id, secret string) {
	t.Helper()
	d.Az(t, "login", "--service-principal", "--username", id, "--password", secret, "--tenant", d.House.Operator.Tenant.String(), "--allow-no-subscriptions", "-o", "none")
}

var invitation = regexp.MustCompile(`open the page (https://\S+) and enter the code ([A-Z]+) to authenticate`)

// ByDevice runs a program that asks for a sign-in by device code, and signs a
// person in at the page that it names.
func (d *Desk) ByDevice(t *testing.T, user, name string, args ...string) Result {
	t.Helper()
	invited := false
	res := d.Watched(t, func(ctx context.Context, line string) error {
		m := invitation.FindStringSubmatch(line)
		if m == nil || invited {
			return nil
		}
		invited = true
		return d.House.Approve(ctx, m[1], m[2], user)
	}, name, args...)
	if !invited {
		t.Errorf("%s %s: nobody was asked to sign in\n%s%s", name, strings.Join(args, " "), res.Out, res.Err)
	}
	return res
}

var opened = regexp.MustCompile(`^BROWSE (https://\S+)`)

// ByBrowser runs a program that opens a sign-in page in the browser, and signs a
// person in there.
func (d *Desk) ByBrowser(t *testing.T, user, name string, args ...string) Result {
	t.Helper()
	bin := t.TempDir()
	// az asks BROWSER, kubelogin looks for xdg-open.
	for _, browser := range []string{"browser", "xdg-open"} {
		if err := os.WriteFile(filepath.Join(bin, browser), []byte("#!/bin/sh\necho \"BROWSE $1\" >&2\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	at := *d
	at.Env = append(append([]string{}, d.Env...), "BROWSER="+filepath.Join(bin, "browser"), "PATH="+bin+":"+d.path)
	shown := false
	res := at.Watched(t, func(ctx context.Context, line string) error {
		m := opened.FindStringSubmatch(line)
		if m == nil || shown {
			return nil
		}
		shown = true
		return d.House.Browse(ctx, m[1], user)
	}, name, args...)
	if !shown {
		t.Errorf("%s %s: no page was opened\n%s%s", name, strings.Join(args, " "), res.Out, res.Err)
	}
	return res
}

// tee writes to a buffer and to the watcher.
type tee struct {
	to    *bytes.Buffer
	lines *lineWatcher
}

func (w tee) Write(p []byte) (int, error) {
	w.to.Write(p)
	w.lines.add(p)
	return len(p), nil
}

// A lineWatcher calls watch for each line, one after the other, beside the program.
type lineWatcher struct {
	ctx   context.Context
	watch func(context.Context, string) error

	mu   sync.Mutex
	part []byte
	wg   sync.WaitGroup
	turn sync.Mutex
	err  error
}

func (l *lineWatcher) add(p []byte) {
	if l.watch == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part = append(l.part, p...)
	for {
		line, rest, found := bytes.Cut(l.part, []byte("\n"))
		if !found {
			return
		}
		text := string(line)
		l.part = rest
		l.wg.Go(func() {
			l.turn.Lock()
			defer l.turn.Unlock()
			if err := l.watch(l.ctx, text); err != nil && l.err == nil {
				l.err = fmt.Errorf("at %q: %w", text, err)
			}
		})
	}
}

func (l *lineWatcher) end() error {
	l.wg.Wait()
	return l.err
}
