package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

func newWhy(env *Env, o *options) *cobra.Command {
	var a asked
	cmd := &cobra.Command{
		Use:   "why VERB RESOURCE[.GROUP][/SUB] [NAME]",
		Short: "Why may somebody do something, or why not, and what would help?",
		Long: `Why may somebody do something, or why not?

Every grant that could matter is shown with what it had to say: through which
groups it is held, whether its condition holds and its time has come. A refusal
comes with the nearest miss and the smallest change that would help. The exit
code is that of can-i.`,
		Example: `  gatehouse why list namespaces --as faye@teknews.cloud --cluster aks-1
  gatehouse why get pods -n dev-namespace --as raj@teknews.cloud --cluster aks-2
  gatehouse why --action Microsoft.ContainerService/managedClusters/listClusterAdminCredential/action --cluster aks-2 --as penny@teknews.cloud`,
		GroupID:           questions,
		Args:              cobra.MaximumNArgs(3),
		ValidArgsFunction: completeKube,
	}
	a.flags(cmd, env, o, true)
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		src, est, q, err := a.ask(ctx, env, o, args, true)
		if err != nil {
			return err
		}
		e, err := src.Why(ctx, q.Question)
		if err != nil {
			return err
		}
		if done, err := o.machine(env, e); done && err != nil {
			return err
		} else if !done {
			explain(env, o, env.Stdout, est, q, e)
		}
		return verdict(env, e.Decision)
	})
	return cmd
}

// explain prints an explanation for people.
func explain(env *Env, o *options, w io.Writer, est *estate.Snapshot, q query, e wire.Explanation) {
	word, may := env.colour(red, "no"), "may not"
	if e.Effect == "allow" {
		word, may = env.colour(green, "yes"), "may"
	}
	// The line breaks are ours: describe functions return none that was stored.
	line := func(format string, args ...any) {
		for l := range strings.SplitSeq(fmt.Sprintf(format, args...), "\n") {
			fmt.Fprintln(w, printable(l))
		}
	}
	fmt.Fprintf(w, "%s: %s\n", word, printable(fmt.Sprintf("%s %s %s", q.who.label, may, q.what)))
	if o.output == "name" {
		return
	}
	line("")
	line("Reason      %s", e.Reason)
	if e.By != nil {
		line("Grant       %s", describeGrant(est, e.By))
	}
	if e.Operation != "" {
		line("Operation   %s", e.Operation)
	}
	if e.Principal.ID != "" {
		line("Groups      %s", groupNames(e.Groups))
	}
	if q.Kube != nil {
		line("Asked       %s", planes(e))
	}
	shown := 0
	for i := range e.Considered {
		c := &e.Considered[i]
		if !c.Applies && c.Outcome == "does not cover the operation" && o.output != "wide" {
			continue
		}
		if shown++; shown == 1 {
			line("\nConsidered")
		}
		line("  %s", describeConsidered(est, c))
	}
	if left := len(e.Considered) - shown; left > 0 {
		line("\n%s that %s not cover the operation; -o wide shows them", plural(left, "more grant"), does(left))
	}
	if e.Nearest != nil {
		line("\nNearest miss\n  %s", describeConsidered(est, e.Nearest))
	}
	if e.Fix != nil {
		line("\nSmallest fix\n  %s\n    %s", describeFix(est, q, e.Fix), fixCommand(q, e.Fix))
	}
}

func does(n int) string {
	if n == 1 {
		return "does"
	}
	return "do"
}

func planes(e wire.Explanation) string {
	switch {
	case e.Azure && e.Kubernetes:
		return "Azure RBAC and Kubernetes RBAC"
	case e.Azure:
		return "Azure RBAC"
	case e.Kubernetes:
		return "Kubernetes RBAC; Azure RBAC does not count here"
	}
	return "nobody"
}

func groupNames(groups []wire.Principal) string {
	if len(groups) == 0 {
		return "none"
	}
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = orMissing(g.Name, g.ID)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func describeConsidered(est *estate.Snapshot, c *wire.Considered) string {
	text := join(", ", describeGrant(est, &c.Grant), describeVia(c.Grant.Holder, c.Via), timeFrame(&c.Grant))
	text += ":\n    " + c.Outcome
	if c.Grant.Condition != "" {
		text += "\n    condition: " + strings.Join(strings.Fields(c.Grant.Condition), " ")
	}
	return text
}

func describeFix(est *estate.Snapshot, q query, fix *wire.Fix) string {
	if fix.Role != "" {
		return fmt.Sprintf("assign the role %q at %s", fix.Role, place(est, fix.Scope))
	}
	if q.Kube.Namespace == "" {
		return fmt.Sprintf("bind ClusterRole %s on %s", fix.ClusterRole, place(est, q.Scope))
	}
	return fmt.Sprintf("bind ClusterRole %s in %s", fix.ClusterRole, place(est, fix.Scope))
}
