package live

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/vault"
)

func newVaultSecret(env *cli.Env) *cobra.Command {
	return cli.Words("secret", "List, read, write, delete and recover secrets", `Secrets of a vault. A value is read from a file or from standard input, never from
the command line, which other people of the machine could see; it is printed when
--value asks for it, and not otherwise.`,
		"  gatehouse vault secret list web-secrets\n  gatehouse vault secret get web-secrets db --value",
		newSecretList(env), newSecretGet(env), newSecretSet(env), newSecretDelete(env), newSecretRecover(env), newSecretVersions(env))
}

// secretPath is the path of a secret in its vault. Names have letters, digits and
// dashes alone, so nothing in them can be taken for another path.
func secretPath(below, name string, more ...string) (string, error) {
	if _, err := vault.ParseName(name); err != nil {
		return "", cli.Usage("%q is not the name of a secret: it has up to 127 letters, digits and dashes", name)
	}
	return strings.Join(append([]string{below, name}, more...), "/"), nil
}

// completeSecrets completes VAULT and NAME; below is the list that names come from.
func completeSecrets(env *cli.Env, below string) cobra.CompletionFunc {
	first := cli.Complete(env, 0, vaultNames)
	return func(cmd *cobra.Command, args []string, start string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) != 1 || below == "" {
			return first(cmd, args, start)
		}
		var names []cobra.Completion
		if v, err := openVault(cmd, env, args[0]); err == nil {
			all, _ := v.list(cmd.Context(), below, 0) // whatever goes wrong, nothing is offered
			for _, s := range all {
				if strings.HasPrefix(s.Name, start) {
					names = append(names, s.Name)
				}
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// tellSecrets prints a list of secrets or versions.
func tellSecrets(cmd *cobra.Command, env *cli.Env, all []secretShown, versions bool) error {
	if done, err := cli.Machine(cmd, env, struct {
		Secrets []secretShown `json:"secrets"`
	}{all}); done {
		return err
	}
	heading := []string{"NAME", "ENABLED", "UPDATED", "EXPIRES", "CONTENT TYPE", "GONE AFTER"}
	if versions {
		heading[0], heading[5] = "VERSION", "(CREATED)"
	}
	var rows [][]string
	for _, s := range all {
		row := []string{s.Name, strconv.FormatBool(s.Enabled), when(s.Updated), when(s.Expires), s.ContentType, when(s.Purge)}
		if versions {
			row[0], row[5] = s.Version, when(s.Created)
		}
		rows = append(rows, row)
	}
	cli.Table(cmd, env, heading, rows)
	return nil
}

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func tellSecret(cmd *cobra.Command, env *cli.Env, s secretShown) error {
	if done, err := cli.Machine(cmd, env, s); done {
		return err
	}
	facts(env, "Name", s.Name, "Version", s.Version, "Enabled", strconv.FormatBool(s.Enabled), "Content type", cli.Printable(s.ContentType),
		"Created", when(s.Created), "Updated", when(s.Updated), "Not before", when(s.NotBefore), "Expires", when(s.Expires),
		"Deleted", when(s.Deleted), "Gone after", when(s.Purge))
	return nil
}

func newSecretList(env *cli.Env) *cobra.Command {
	var deleted bool
	cmd := &cobra.Command{
		Use: "list VAULT", Short: "List the secrets of a vault, without their values", Args: cli.Exactly("VAULT"),
		Example:           "  gatehouse vault secret list web-secrets\n  gatehouse vault secret list web-secrets --deleted",
		ValidArgsFunction: completeSecrets(env, ""),
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			v, err := openVault(cmd, env, args[0])
			if err != nil {
				return err
			}
			below := map[bool]string{false: "secrets", true: "deletedsecrets"}
			all, err := v.list(cmd.Context(), below[deleted], 0)
			if err != nil {
				return err
			}
			return tellSecrets(cmd, env, all, false)
		}),
	}
	cmd.Flags().BoolVar(&deleted, "deleted", false, "list those that are deleted and can be recovered")
	return cmd
}

func newSecretVersions(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "versions VAULT NAME", Short: "List the versions of a secret, the newest first, without their values", Args: cli.Exactly("VAULT", "NAME"),
		Example:           "  gatehouse vault secret versions web-secrets db",
		ValidArgsFunction: completeSecrets(env, "secrets"),
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			v, err := openVault(cmd, env, args[0])
			if err != nil {
				return err
			}
			path, err := secretPath("secrets", args[1], "versions")
			if err != nil {
				return err
			}
			all, err := v.list(cmd.Context(), path, 0)
			if err != nil {
				return err
			}
			return tellSecrets(cmd, env, all, true)
		}),
	}
}

func newSecretGet(env *cli.Env) *cobra.Command {
	var version string
	var value bool
	cmd := &cobra.Command{
		Use:   "get VAULT NAME",
		Short: "Show a secret; with --value its value, and nothing else",
		Long: `Show what is known of a secret: the newest version, or the one that --version names.
Its value is neither read nor printed without --value. With it, the value is written
to standard output byte for byte, with a line end behind it only for a person at a
terminal; with -o json it is a member. The vault writes down who read it.`,
		Example: "  gatehouse vault secret get web-secrets db\n  gatehouse vault secret get web-secrets db --value > password.txt",
		Args:    cli.Exactly("VAULT", "NAME"), ValidArgsFunction: completeSecrets(env, "secrets"),
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			v, err := openVault(cmd, env, args[0])
			if err != nil {
				return err
			}
			if version != "" {
				if _, err := vault.ParseID(version); err != nil {
					return cli.Usage("%q is not a version: gatehouse vault secret versions %s %s shows them", version, args[0], args[1])
				}
			}
			if !value {
				s, err := v.describe(cmd, args[1], version)
				if err != nil {
					return err
				}
				return tellSecret(cmd, env, s)
			}
			path, err := secretPath("secrets", args[1], version)
			if err != nil {
				return err
			}
			var item secretItem
			if err := v.ask(cmd.Context(), http.MethodGet, path, nil, nil, &item); err != nil {
				return err
			}
			if item.Value == nil {
				return fmt.Errorf("vault %s: the answer has no value", v.name)
			}
			if done, err := cli.Machine(cmd, env, item.shown()); done {
				return err
			}
			if env.Terminal && !strings.HasSuffix(*item.Value, "\n") {
				*item.Value += "\n"
			}
			_, err = io.WriteString(env.Stdout, *item.Value)
			return err
		}),
	}
	cmd.Flags().StringVar(&version, "version", "", "this `version`, not the newest")
	cmd.Flags().BoolVar(&value, "value", false, "read the value and print it")
	return cmd
}

// describe finds a version among those of a secret, which tells no value.
func (v *vaultDoor) describe(cmd *cobra.Command, name, version string) (secretShown, error) {
	path, err := secretPath("secrets", name, "versions")
	if err != nil {
		return secretShown{}, err
	}
	limit := 1 // the newest comes first
	if version != "" {
		limit = 0
	}
	all, err := v.list(cmd.Context(), path, limit)
	if err != nil {
		return secretShown{}, err
	}
	for _, s := range all {
		if version == "" || strings.EqualFold(s.Version, version) {
			return s, nil
		}
	}
	return secretShown{}, fmt.Errorf("vault %s: secret %s has no version %s: gatehouse vault secret versions %s %s shows them", v.name, name, version, v.name, name)
}

func newSecretSet(env *cli.Env) *cobra.Command {
	var file, contentType, expires string
	var tags map[string]string
	cmd := &cobra.Command{
		Use:   "set VAULT NAME",
		Short: "Give a secret a value, as its newest version",
		Long: `Give a secret a value, as its newest version; older versions stay. The value is read
from standard input or from --file, byte for byte, and is text of up to 25 KiB. At a
terminal it is asked for without an echo.`,
		Example: "  gatehouse vault secret set web-secrets db < password.txt\n  gatehouse vault secret set web-secrets tls --file key.pem --content-type application/x-pem-file",
		Args:    noValue, ValidArgsFunction: completeSecrets(env, "secrets"),
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			v, err := openVault(cmd, env, args[0])
			if err != nil {
				return err
			}
			path, err := secretPath("secrets", args[1])
			if err != nil {
				return err
			}
			attributes := map[string]int64{}
			if expires != "" {
				at, err := time.Parse(time.RFC3339, expires)
				if err != nil {
					return cli.Usage("--expires %q is not an instant such as 2027-01-31T12:00:00Z", expires)
				}
				attributes["exp"] = at.Unix()
			}
			value, err := readSecret(env, file, args[1])
			if err != nil {
				return err
			}
			body := map[string]any{"value": value, "attributes": attributes}
			if contentType != "" {
				body["contentType"] = contentType
			}
			if len(tags) > 0 {
				body["tags"] = tags
			}
			var item secretItem
			if err := v.ask(cmd.Context(), http.MethodPut, path, nil, body, &item); err != nil {
				return err
			}
			item.Value = nil // who wrote it knows it
			return tellSecret(cmd, env, item.shown())
		}),
	}
	f := cmd.Flags()
	f.StringVar(&file, "file", "", "read the value from this `file`, not from standard input")
	f.StringVar(&contentType, "content-type", "", "what the value is, a `text`")
	f.StringVar(&expires, "expires", "", "the `instant` after which it should not be used, such as 2027-01-31T12:00:00Z")
	f.StringToStringVar(&tags, "tag", nil, "a `name=text` to find it by; may be given again")
	must(cmd.RegisterFlagCompletionFunc("file", func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveDefault
	}))
	return cmd
}

// noValue takes VAULT and NAME. What stands behind them is a value, and is in no error.
func noValue(cmd *cobra.Command, args []string) error {
	if len(args) > 2 {
		return cli.Usage("a value does not belong on the command line, where others could read it: give it on standard input, or with --file")
	}
	return cli.Exactly("VAULT", "NAME")(cmd, args)
}

// maxSecret is what a vault takes as a value, in bytes.
const maxSecret = 25 << 10

// readSecret reads a value. No error repeats any of it.
func readSecret(env *cli.Env, file, name string) (string, error) {
	from := env.Stdin
	if tty, ok := env.Stdin.(*os.File); ok && file == "" && term.IsTerminal(int(tty.Fd())) {
		fmt.Fprintf(env.Stderr, "Value of %s: ", name)
		text, err := term.ReadPassword(int(tty.Fd()))
		fmt.Fprintln(env.Stderr)
		from = strings.NewReader(string(text))
		if err != nil {
			return "", fmt.Errorf("read the value: %w", err)
		}
	}
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			// A value that was written in the place of the file's name is not repeated.
			if errors.Is(err, os.ErrNotExist) {
				return "", cli.Usage("there is no file with the name that --file was given")
			}
			return "", fmt.Errorf("read the file that --file names: %w", errors.Unwrap(err))
		}
		defer f.Close()
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, maxSecret+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("read the value: %w", err)
	case len(text) > maxSecret:
		return "", cli.Usage("the value has more than %d bytes", maxSecret)
	case len(text) == 0:
		return "", cli.Usage("there is no value: give it on standard input, or with --file")
	case !utf8.Valid(text):
		return "", cli.Usage("the value is not text in UTF-8: write it in base64, and say so with --content-type")
	}
	if file == "" && strings.HasSuffix(string(text), "\n") {
		fmt.Fprintln(env.Stderr, "The value ends with a line end, which is a part of it.")
	}
	return string(text), nil
}

func newSecretDelete(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "delete VAULT NAME", Short: "Delete a secret with all its versions, so that it can be recovered", Args: cli.Exactly("VAULT", "NAME"),
		Example: "  gatehouse vault secret delete web-secrets db", ValidArgsFunction: completeSecrets(env, "secrets"),
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			return changeSecret(cmd, env, args, http.MethodDelete, "secrets")
		}),
	}
}

func newSecretRecover(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "recover VAULT NAME", Short: "Recover a secret that was deleted, with all its versions", Args: cli.Exactly("VAULT", "NAME"),
		Example: "  gatehouse vault secret recover web-secrets db", ValidArgsFunction: completeSecrets(env, "deletedsecrets"),
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			return changeSecret(cmd, env, args, http.MethodPost, "deletedsecrets", "recover")
		}),
	}
}

func changeSecret(cmd *cobra.Command, env *cli.Env, args []string, method, below string, more ...string) error {
	v, err := openVault(cmd, env, args[0])
	if err != nil {
		return err
	}
	path, err := secretPath(below, args[1], more...)
	if err != nil {
		return err
	}
	var item secretItem
	if err := v.ask(cmd.Context(), method, path, url.Values{}, nil, &item); err != nil {
		return err
	}
	return tellSecret(cmd, env, item.shown())
}
