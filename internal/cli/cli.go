// Package cli is the command line: one file a command, each a function of its
// arguments and of an Env. Questions (can-i, why, who-can, what-can) and looks
// (list, show, export) are answered by a server, or from a folder of estate
// files with no server at all.
//
// Exit codes are part of the contract: 0 for yes and for done, 1 for no and
// for findings, 2 for a command that is written wrongly, 3 for what could not be
// answered.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/manifest/nearest"
)

// The exit codes.
const (
	ExitYes        = 0 // yes, or done
	ExitNo         = 1 // no, or something was found
	ExitUsage      = 2 // the command or a name in it is wrong
	ExitUnanswered = 3 // there is no answer: the estate or server could not be read, or refuses
)

// An Env is everything a command takes from outside. The zero Env works: it is
// that of the process.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Now            func() time.Time
	// Terminal is set when a person looks at Stdout.
	Terminal bool
	// OpenDir opens a folder for reading; links must not lead out of it.
	OpenDir func(dir string) (fs.FS, error)
	// Dial reaches a server; nil when the program has none to reach.
	Dial func(ctx context.Context, url string) (Remote, error)
	// Version is printed by the command version.
	Version string
}

// A Command makes one command. Programs that do more than ask, such as the
// server itself, hand theirs to Main.
type Command func(env *Env) *cobra.Command

func (e *Env) fill() {
	if e.Stdin == nil {
		e.Stdin = os.Stdin
	}
	if e.Stdout == nil {
		e.Stdout = os.Stdout
	}
	if e.Stderr == nil {
		e.Stderr = os.Stderr
	}
	if e.Getenv == nil {
		e.Getenv = os.Getenv
	}
	if e.Now == nil {
		e.Now = time.Now
	}
	if e.OpenDir == nil {
		e.OpenDir = openDir
	}
	if e.Version == "" {
		e.Version = "devel"
	}
}

// openDir opens a folder that links cannot leave.
func openDir(dir string) (fs.FS, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return root.FS(), nil
}

// Main runs one command line, without the program's name, and returns its exit code.
func Main(ctx context.Context, args []string, env Env, more ...Command) int {
	env.fill()
	root := newRoot(&env)
	extend(root, &env, more)
	root.SetArgs(args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	return env.report(root.ExecuteContext(ctx))
}

// Exit is an error that sets the exit code. Without a cause it says nothing: the
// answer has been printed.
type Exit struct {
	Code  int
	Cause error
}

func (e *Exit) Error() string {
	if e.Cause == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Cause.Error()
}

func (e *Exit) Unwrap() error { return e.Cause }

// usage is the error of a command that is written wrongly.
func usage(format string, args ...any) error {
	return &Exit{ExitUsage, fmt.Errorf(format, args...)}
}

// report prints an error and returns its exit code. What comes from a command
// itself and says no code could not be answered; what comes from the parsing of
// the line is usage.
func (e *Env) report(err error) int {
	if err == nil {
		return ExitYes
	}
	code := ExitUsage
	if exit, ok := errors.AsType[*Exit](err); ok {
		if code = exit.Code; exit.Cause == nil {
			return code
		}
		err = exit.Cause
	}
	text := strings.TrimSpace(err.Error())
	fmt.Fprintf(e.Stderr, "gatehouse: %s\n", text)
	// What a server found says itself what is wrong; the help knows nothing of it.
	if _, found := errors.AsType[mistaken](err); code == ExitUsage && !found && !strings.Contains(text, "--help") {
		fmt.Fprintln(e.Stderr, "See gatehouse --help, or --help behind any command.")
	}
	return code
}

// run makes the RunE of a command; withCode says what its errors mean.
func run(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		return withCode(f(cmd.Context(), args))
	}
}

// mistaken is an error of a server that can say that what was asked is wrong.
type mistaken interface {
	error
	Mistaken() bool
}

// withCode gives an error that says no exit code one: a mistake is one whoever finds
// it, and anything else, a refusal too, means that there is no answer.
func withCode(err error) error {
	if _, ok := errors.AsType[*Exit](err); err == nil || ok {
		return err
	}
	if m, ok := errors.AsType[mistaken](err); ok && m.Mistaken() {
		return &Exit{ExitUsage, err}
	}
	return &Exit{ExitUnanswered, err}
}

const rootLong = `Gatehouse says who may do what on Kubernetes clusters, and why: Entra sign-in,
Azure RBAC and Kubernetes RBAC as one system.

The same questions are answered by a server (--server) and from a folder of
estate files with no server at all (--estate).

Exit codes:
  0  yes, or done
  1  no, or something was found
  2  the command, or a name in it, is wrong
  3  there is no answer: the estate or the server could not be read, or refuses

Environment:
  GATEHOUSE_ESTATE  the folder, when --estate is not given
  GATEHOUSE_SERVER  the server, when --server is not given
  NO_COLOR          no colours, also on a terminal`

func newRoot(env *Env) *cobra.Command {
	o := new(options)
	root := &cobra.Command{
		Use:   "gatehouse",
		Short: "Identity and access for Kubernetes, as AKS does it",
		Long:  rootLong,
		Example: `  gatehouse sample ./teknews
  gatehouse can-i list pods --as jet@teknews.cloud --cluster aks-1 --estate ./teknews
  gatehouse why create pods -n default --as faye@teknews.cloud --cluster aks-1 --estate ./teknews`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		RunE:          group,
	}
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%w: see %s --help", err, cmd.CommandPath())
	})
	o.register(root, env)
	root.AddGroup(&cobra.Group{ID: questions, Title: "Questions:"}, &cobra.Group{ID: things, Title: "Things:"}, &cobra.Group{ID: files, Title: "Estate files:"})
	root.AddCommand(
		newCanI(env, o), newWhy(env, o), newWhoCan(env, o), newWhatCan(env, o),
		newUser(env, o), newGroup(env, o), newRole(env, o), newAssignment(env, o), newEligibility(env, o), newDirectoryRole(env, o), newOwner(env, o), newCluster(env, o),
		newExport(env, o), newApply(env, o), newSample(env),
		newVersion(env, o),
	)
	return root
}

// The groups of commands in --help.
const (
	questions = "questions"
	things    = "things"
	files     = "files"
)

// group is what a command that only has commands below it does by itself: it
// shows its help, or says which command was meant.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	hint := fmt.Sprintf("see %s --help", cmd.CommandPath())
	if near := nearest.Names(args[0], values(names), 1); near != nil {
		hint = fmt.Sprintf("did you mean %q? %s", near[0], hint)
	}
	return usage("%q is no command of %s: %s", args[0], cmd.CommandPath(), hint)
}

// exactly is cobra.ExactArgs with words for what is missing.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return usage("%s is missing: see %s --help", names[len(args)], cmd.CommandPath())
		}
		if len(args) > len(names) {
			return usage("%q is one word too many: see %s --help", args[len(names)], cmd.CommandPath())
		}
		return nil
	}
}
