package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// What commands of other packages need in order to be like the ones here.

// Run makes the RunE of a command: an error that says no exit code means that
// there is no answer.
func Run(f func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := f(cmd, args)
		if _, ok := errors.AsType[*Exit](err); err == nil || ok {
			return err
		}
		return &Exit{ExitUnanswered, err}
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
