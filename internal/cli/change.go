package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/estate"
)

// A change is what the flags of a command that changes something have in common.
type change struct {
	why string
}

func (c *change) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.why, "why", "", "`reason`, for the audit log")
}

// commit makes changes on the server and says at which revision they are in force.
func (c *change) commit(ctx context.Context, env *Env, o *options, what string, plan func(est *estate.Snapshot) ([]estate.Op, string, error)) error {
	r, err := o.remote(ctx, env, what)
	if err != nil {
		return err
	}
	est, err := r.Snapshot(ctx)
	if err != nil {
		return err
	}
	warnRehearsal(env, r)
	ops, done, err := plan(est)
	if err != nil {
		return err
	}
	why := c.why
	if why == "" {
		why = what
	}
	rev, err := r.Commit(ctx, why, ops, est.Revision())
	if err != nil {
		return err
	}
	if rev == 0 {
		fmt.Fprintln(env.Stdout, done)
		return nil
	}
	fmt.Fprintf(env.Stdout, "%s, in force at revision %d\n", done, rev)
	return nil
}

// changing makes of cmd a command that changes what plan says, on the server. A plan
// is the ops and what to say when they are done.
func changing(env *Env, o *options, cmd *cobra.Command, plan func(est *estate.Snapshot, args []string) ([]estate.Op, string, error)) *cobra.Command {
	var c change
	c.flags(cmd)
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		return c.commit(ctx, env, o, cmd.CommandPath(), func(est *estate.Snapshot) ([]estate.Op, string, error) { return plan(est, args) })
	})
	return cmd
}

// withDependents are the ops that delete a record and what makes no sense without it.
func withDependents(est *estate.Snapshot, op estate.Op) []estate.Op {
	var ops []estate.Op
	for _, key := range est.Dependents(op.Delete) {
		ops = append(ops, estate.Op{Delete: key})
	}
	return append(ops, op)
}

// words is a command that has only commands below it.
func words(use, short, long, example string, below ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Long: long, Example: example, GroupID: things, Args: cobra.ArbitraryArgs, RunE: group}
	cmd.AddCommand(below...)
	return cmd
}
