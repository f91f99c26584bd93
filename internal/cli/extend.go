package cli

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

// What commands of other packages need in order to be like the ones here.

// Run makes the RunE of a command: of an error that says no exit code, a server's
// finding that what was asked is wrong is usage, and anything else means that there is
// no answer.
func Run(f func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		return withCode(f(cmd, args))
	}
}

// Usage is the error of a command that is written wrongly.
func Usage(format string, args ...any) error { return &Exit{ExitUsage, fmt.Errorf(format, args...)} }

// Server is the URL of the server that the flags and the environment name, or "".
func Server(cmd *cobra.Command, env *Env) string {
	if f := cmd.Flag("server"); f != nil && f.Value.String() != "" {
		return f.Value.String()
	}
	return env.Getenv("GATEHOUSE_SERVER")
}

// Machine prints a value as JSON or YAML if that is asked for with -o, and
// reports whether it did.
func Machine(cmd *cobra.Command, env *Env, v any) (bool, error) {
	o := options{output: "table"}
	if f := cmd.Flag("output"); f != nil {
		o.output = f.Value.String()
	}
	if err := o.checkOutput(); err != nil {
		return true, err
	}
	return o.machine(env, v)
}

// Source opens the estate that the flags and the environment name.
func Source(cmd *cobra.Command, env *Env) (Looker, error) {
	o := options{}
	if f := cmd.Flag("estate"); f != nil {
		o.estate = f.Value.String()
	}
	if f := cmd.Flag("server"); f != nil {
		o.server = f.Value.String()
	}
	return o.open(cmd.Context(), env)
}

// below is the annotation that names the command that another is a part of.
const below = "below"

// Below makes a command a part of one of this package, such as user.
func Below(parent string, c Command) Command {
	return func(env *Env) *cobra.Command {
		cmd := c(env)
		cmd.Annotations = map[string]string{below: parent}
		return cmd
	}
}

// house is the group of the commands of other packages in --help.
const house = "house"

// extend adds commands of other packages to the root, or to what they are below.
func extend(root *cobra.Command, env *Env, more []Command) {
	if len(more) > 0 {
		root.AddGroup(&cobra.Group{ID: house, Title: "The house:"})
	}
	for _, c := range more {
		cmd := c(env)
		if parent, _, err := root.Find([]string{cmd.Annotations[below]}); err == nil && parent != root {
			parent.AddCommand(cmd)
			continue
		}
		cmd.GroupID = house
		root.AddCommand(cmd)
	}
}

// Words is a command that has only commands below it.
func Words(use, short, long, example string, below ...*cobra.Command) *cobra.Command {
	cmd := words(use, short, long, example, below...)
	cmd.GroupID = ""
	return cmd
}

// Exactly is cobra.ExactArgs with words for what is missing.
func Exactly(names ...string) cobra.PositionalArgs { return exactly(names...) }

// Table prints rows under a heading; a heading in parentheses is for wide only.
func Table(cmd *cobra.Command, env *Env, heading []string, rows [][]string) {
	optionsOf(cmd).table(env.Stdout, heading, rows)
}

// Complete makes the shell complete the argument at a position from the estate
// that is asked.
func Complete(env *Env, at int, names func(*estate.Snapshot) []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, start string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return completeArgs(env, optionsOf(cmd), at, names)(cmd, args, start)
	}
}

// CompleteFlag does the same for a flag.
func CompleteFlag(cmd *cobra.Command, env *Env, flag string, names func(*estate.Snapshot) []string) {
	mustComplete(cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, args []string, start string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return completion(env, optionsOf(cmd), names)(cmd, args, start)
	}))
}

// Names for Complete.
var (
	Groups     = groups
	People     = people
	Clusters   = clusters
	Roles      = roles
	Namespaces = namespaces
	Scopes     = scopes
)

// FindUser looks up a user by name or object id; FindPrincipal anybody, by display
// name as well. Whoever is not found is a mistake in the command.
func FindUser(est *estate.Snapshot, who string) (directory.User, error) { return findUser(est, who) }

// FindPrincipal looks up a principal of any kind.
func FindPrincipal(est *estate.Snapshot, who string) (estate.Principal, error) {
	return findPrincipal(est, who)
}

// FindCluster looks up a cluster by name or scope.
func FindCluster(est *estate.Snapshot, name string) (resource.Cluster, error) {
	return findCluster(est, name)
}

// DescribeHolder says in a line who holds something, through whom and by which grant.
func DescribeHolder(est *estate.Snapshot, h wire.Holder) string {
	return join(" ", orMissing(h.Principal.Name, h.Principal.ID), describeVia(h.Principal, h.Via)) + ": " + describeGrant(est, &h.By)
}

// FindRole looks up a role of Azure by name or id.
func FindRole(est *estate.Snapshot, name string) (*azurerbac.Role, error) {
	return findRole(est, name)
}

// Place names a scope for people.
func Place(est *estate.Snapshot, at string) string { return place(est, at) }

// Confirm asks the person at the terminal to agree.
func Confirm(env *Env, question string) bool {
	fmt.Fprintf(env.Stderr, "%s [y/N] ", question)
	answer, _ := bufio.NewReader(env.Stdin).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true
	}
	return false
}

// Printable keeps what others wrote from moving the cursor of whoever looks at it.
func Printable(s string) string { return printable(s) }

// Colour marks what is good or bad, for a person who has not refused colours.
func Colour(env *Env, good bool, text string) string {
	if good {
		return env.colour(green, text)
	}
	return env.colour(red, text)
}

// optionsOf reads the flags that every command has.
func optionsOf(cmd *cobra.Command) *options {
	o := &options{output: "table"}
	for name, to := range map[string]*string{"estate": &o.estate, "server": &o.server, "output": &o.output} {
		if f := cmd.Flag(name); f != nil {
			*to = f.Value.String()
		}
	}
	return o
}
