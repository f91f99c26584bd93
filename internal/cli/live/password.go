package live

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/gatehouse-io/gatehouse/internal/cli"
)

func newSetPassword(env *cli.Env) *cobra.Command {
	var stdin bool
	cmd := &cobra.Command{
		Use:   "set-password WHO",
		Short: "Give a user a password, and end his sessions (on a server)",
		Long: `Give a user a password. It is asked for at the terminal, twice and without an echo,
or read from standard input with --stdin; it is never an argument, which other
people of the machine could see. All sessions and refresh tokens of the user end.`,
		Example: "  gatehouse user set-password faye@teknews.cloud\n  pass show faye | gatehouse user set-password faye@teknews.cloud --stdin",
		Args:    cli.Exactly("WHO"), ValidArgsFunction: cli.Complete(env, 0, cli.People),
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			c, err := reach(cmd, env)
			if err != nil {
				return err
			}
			est, err := (&remote{c}).Snapshot(cmd.Context())
			if err != nil {
				return err
			}
			u, err := cli.FindUser(est, args[0])
			if err != nil {
				return err
			}
			password, err := readPassword(env, stdin, u.UserPrincipalName)
			if err != nil {
				return err
			}
			if err := c.SetPassword(cmd.Context(), u.ID.String(), password); err != nil {
				return err
			}
			fmt.Fprintf(env.Stdout, "password of %s set; his sessions have ended\n", u.UserPrincipalName)
			return nil
		}),
	}
	cmd.Flags().BoolVar(&stdin, "stdin", false, "read the password from the first line of standard input")
	return cmd
}

// maxLine bounds what is read as a password, in bytes.
const maxLine = 4096

func readPassword(env *cli.Env, stdin bool, whose string) (string, error) {
	if stdin {
		line, err := bufio.NewReader(io.LimitReader(env.Stdin, maxLine)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the password: %w", err)
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			return "", cli.Usage("standard input has no password")
		}
		return line, nil
	}
	file, ok := env.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return "", cli.Usage("there is no terminal to ask for the password: give it on standard input, with --stdin")
	}
	var typed [2]string
	for i, prompt := range []string{"New password of " + whose + ": ", "The same again: "} {
		fmt.Fprint(env.Stderr, prompt)
		text, err := term.ReadPassword(int(file.Fd()))
		fmt.Fprintln(env.Stderr)
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
		typed[i] = string(text)
	}
	if typed[0] != typed[1] {
		return "", cli.Usage("the two passwords differ; nothing was changed")
	}
	return typed[0], nil
}
