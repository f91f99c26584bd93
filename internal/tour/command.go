package tour

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// An Outcome is what came of a command.
type Outcome struct {
	Text string // what it printed on both streams, without the invitation to sign in
	Exit int
	Took time.Duration
	// Invitation is what it printed to have somebody sign in; "" if it did not.
	Invitation string
}

// A command is a program to run for somebody.
type command struct {
	path  string
	args  []string
	env   []string
	stdin string
	// approve is called, once, with the page and the code of an invitation to sign
	// in; nil leaves it unanswered.
	approve func(ctx context.Context, page, code string) error
}

// invitation matches what programs print to have somebody sign in by device code:
// ours, kubelogin and the Azure tools word it differently.
var invitation = regexp.MustCompile(`(?m)^.*\b(https://\S+?)[,.]?\s.*enter the code (\w[\w-]*).*\n`)

// run runs a command to its end. Only a command that could not be run is an error.
func (c command) run(ctx context.Context) (Outcome, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.path, c.args...)
	cmd.Env = c.env
	// Asked to end first: kubectl and the plugins clean up.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	if c.stdin != "" {
		cmd.Stdin = strings.NewReader(c.stdin)
	}
	w := &watcher{approve: func(page, code string) error {
		err := errors.New("nobody is here to sign in")
		if c.approve != nil {
			err = c.approve(ctx, page, code)
		}
		if err != nil {
			cancel() // else it would wait until the code ends
		}
		return err
	}}
	cmd.Stdout, cmd.Stderr = w, w // the same writer: one stream, in order
	start := time.Now()
	err := cmd.Run()
	w.wg.Wait()
	out := Outcome{Took: time.Since(start)}
	text := w.text.String()
	if at := invitation.FindStringIndex(text); at != nil {
		out.Invitation = strings.TrimSpace(text[at[0]:at[1]])
		text = text[:at[0]] + text[at[1]:]
	}
	out.Text = strings.TrimRight(text, "\n \t")
	if w.err != nil {
		return out, fmt.Errorf("%s: %w", c.path, w.err)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && ctx.Err() == nil {
		out.Exit = exit.ExitCode()
		return out, nil
	}
	if ctx.Err() != nil {
		return out, ctx.Err()
	}
	return out, err
}

// A watcher collects what a command prints and answers its invitation.
type watcher struct {
	approve func(page, code string) error

	text bytes.Buffer // written by one goroutine of os/exec
	once sync.Once
	wg   sync.WaitGroup
	err  error
}

func (w *watcher) Write(p []byte) (int, error) {
	w.text.Write(p)
	if m := invitation.FindSubmatch(w.text.Bytes()); m != nil {
		page, code := string(m[1]), string(m[2])
		w.once.Do(func() { w.wg.Go(func() { w.err = w.approve(page, code) }) })
	}
	return len(p), nil
}
