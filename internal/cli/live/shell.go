package live

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

func newShell(env *cli.Env) *cobra.Command {
	var folder string
	var identities []string
	cmd := &cobra.Command{
		Use:   "shell [-- COMMAND...]",
		Short: "Open a shell whose Azure clients reach the house and nothing else",
		Long: `Open a shell, or run one command, with the variables of gatehouse env: unmodified az,
kubelogin, kubectl and Azure SDKs reach this house under the names of the public
cloud. What they keep goes into one folder; your own configuration is neither
read nor changed. The exit code is that of the shell or command.

With --identity programs get tokens of managed identities as on a machine that has
them: az login --identity, kubelogin with -l msi, ManagedIdentityCredential. It takes
the right to assign the identity, or for a cluster's own one to write the cluster,
and ends with the shell.`,
		Example: `  gatehouse shell
  gatehouse shell -- az login --use-device-code
  gatehouse shell --dir ./rehearsal -- ./deploy.sh
  gatehouse shell --identity web-identity -- az login --identity`,
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			p, err := point(cmd.Context(), env, folder)
			if err != nil {
				return err
			}
			if len(identities) > 0 {
				end, err := p.use(cmd.Context(), env, identities)
				if err != nil {
					return err
				}
				defer end()
			}
			environ := p.environ(os.Environ())
			if len(args) == 0 {
				if args, environ, err = p.interactive(env, environ); err != nil {
					return err
				}
			}
			return runIn(cmd.Context(), env, args, environ)
		}),
	}
	cmd.Flags().StringVar(&folder, "dir", "", "`folder` for what clients keep (default shell in the data directory)")
	cmd.Flags().StringSliceVar(&identities, "identity", nil, "managed `identities` that programs may use, each by its name, client id or resource id")
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// use begins an identity session, and returns what ends it.
func (p *pointing) use(ctx context.Context, env *cli.Env, identities []string) (end func(), err error) {
	c, err := dial(ctx, env.Getenv, DefaultServer(env.Getenv))
	if err != nil {
		return nil, err
	}
	session, err := c.NewIdentitySession(ctx, wire.NewIdentitySession{Identities: identities, Minutes: int(issue.MaxIdentitySession.Minutes())})
	if err != nil {
		return nil, seek(err, "az identity list, in gatehouse shell without --identity, shows those that you may read")
	}
	p.identity = session.Secret
	return func() {
		// If the house does not run any more, the session ends by itself.
		_ = c.EndIdentitySession(context.WithoutCancel(ctx), session.Secret)
	}, nil
}

// mark begins the prompt, so that nobody takes this shell for another one.
const mark = "(gatehouse) "

// interactive returns the command line of the person's shell with a prompt that
// says where he is. The person's own start files are read first, and what they
// say about proxies does not count.
func (p pointing) interactive(env *cli.Env, environ []string) ([]string, []string, error) {
	shell := env.Getenv("SHELL")
	if shell == "" {
		shell = "/bin/sh"
	}
	start := func(name, text string) (string, error) {
		path := filepath.Join(p.folder, name)
		return path, os.WriteFile(path, []byte(text), 0o600)
	}
	switch filepath.Base(shell) {
	case "bash":
		rc, err := start("bashrc", "[ ! -f ~/.bashrc ] || . ~/.bashrc\n"+p.lines(true)+"PS1='"+mark+"'\"$PS1\"\n")
		return []string{shell, "--rcfile", rc}, environ, err
	case "zsh":
		_, err := start(".zshenv", "[ ! -f ~/.zshenv ] || . ~/.zshenv\nZDOTDIR="+shellQuote(p.folder)+"\n")
		if err != nil {
			return nil, nil, err
		}
		_, err = start(".zshrc", "ZDOTDIR=$HOME\n[ ! -f ~/.zshrc ] || . ~/.zshrc\n"+p.lines(true)+"PROMPT='"+mark+"'\"$PROMPT\"\n")
		return []string{shell}, append(environ, "ZDOTDIR="+p.folder), err
	}
	return []string{shell}, append(environ, "PS1="+mark+"$ "), nil
}

// runIn runs a command to its end and passes on how it ended.
func runIn(ctx context.Context, env *cli.Env, args, environ []string) error {
	path, err := look(args[0])
	if err != nil {
		return &cli.Exit{Code: 127, Cause: err}
	}
	child := exec.Command(path, args[1:]...)
	child.Args[0], child.Env = args[0], environ
	child.Stdin, child.Stdout, child.Stderr = env.Stdin, env.Stdout, env.Stderr
	// What is typed at the terminal reaches the child by itself, and the child
	// decides what it means. To ignore it would be inherited.
	typed := make(chan os.Signal, 1)
	signal.Notify(typed, os.Interrupt, syscall.SIGQUIT)
	defer signal.Stop(typed)
	if err := child.Start(); err != nil {
		return &cli.Exit{Code: 126, Cause: err}
	}
	passed := make(chan os.Signal, 1)
	signal.Notify(passed, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(passed)
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	for {
		select {
		case s := <-passed:
			child.Process.Signal(s)
		case <-ctx.Done():
			child.Process.Signal(syscall.SIGTERM)
			ctx = context.WithoutCancel(ctx)
		case err := <-ended:
			return exitOf(err)
		}
	}
}

// exitOf turns the end of a process into our own, as shells write it.
func exitOf(err error) error {
	failed, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return err
	}
	if status, ok := failed.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return &cli.Exit{Code: 128 + int(status.Signal())}
	}
	return &cli.Exit{Code: failed.ExitCode()}
}

func look(name string) (string, error) {
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("%s: there is no such command", name)
	}
	return path, err
}
