package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

func newCanI(env *Env, o *options) *cobra.Command {
	var a asked
	cmd := &cobra.Command{
		Use:   "can-i VERB RESOURCE[.GROUP][/SUB] [NAME]",
		Short: "May somebody do something? Yes is exit code 0, no is 1",
		Long: `May somebody do something, on a cluster or to an Azure resource?

The answer joins role assignments of Azure RBAC, deny assignments, and the roles
and bindings of the cluster itself. Groups are resolved, nested ones included.
Without -n the question is about all namespaces at once.`,
		Example: `  gatehouse can-i list pods -n default --as jet@teknews.cloud --cluster aks-1
  gatehouse can-i create pods/exec -n dev --as deploy-pipeline --cluster aks-1
  gatehouse can-i get secrets db-password -n dev --as system:serviceaccount:dev:app --cluster aks-2
  gatehouse can-i get /healthz --as jet@teknews.cloud --cluster aks-1
  gatehouse can-i --action Microsoft.ContainerService/managedClusters/listClusterAdminCredential/action --cluster aks-2 --as penny@teknews.cloud`,
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
		d, err := src.CanI(ctx, q.Question)
		if err != nil {
			return err
		}
		if done, err := o.machine(env, d); done && err != nil {
			return err
		} else if !done {
			fmt.Fprintln(env.Stdout, canILine(env, o, est, q, d))
		}
		return verdict(env, d)
	})
	return cmd
}

// verdict makes the exit code of a decision. A no is none while something that
// may grant was not looked at; a yes and a prohibition stand all the same.
func verdict(env *Env, d wire.Decision) error {
	switch {
	case d.Effect == "allow":
		return nil
	case d.Effect == "deny":
		return &Exit{Code: ExitNo}
	}
	return env.unless(d.NotEvaluated, &Exit{Code: ExitNo})
}

// unless says what was not evaluated, which makes an answer none; otherwise it
// returns what the answer is.
func (e *Env) unless(notEvaluated []string, answer error) error {
	if len(notEvaluated) == 0 {
		return answer
	}
	for _, what := range notEvaluated {
		e.note("not evaluated: %s; what they grant is not in this answer", what)
	}
	return &Exit{Code: ExitUnanswered}
}

func canILine(env *Env, o *options, est *estate.Snapshot, q query, d wire.Decision) string {
	word := env.colour(red, "no")
	if d.Effect == "allow" {
		word = env.colour(green, "yes")
	}
	if o.output == "name" {
		return word
	}
	by := ""
	if d.By != nil {
		by = describeGrant(est, d.By)
		if d.By.Holder.ID != "" && d.By.Holder.ID != q.Who {
			by += " through group " + d.By.Holder.Name
		}
	}
	switch {
	case d.Effect == "allow":
		return word + ": " + printable(by)
	case by != "":
		return word + ": " + printable(d.Reason+": "+by)
	}
	line := word + ": " + d.Reason
	if o.output == "wide" {
		line += fmt.Sprintf(" (%s; asked at revision %d)", printable(q.what), d.Revision)
	}
	return line
}
