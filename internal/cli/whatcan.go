package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

func newWhatCan(env *Env, o *options) *cobra.Command {
	var a asked
	cmd := &cobra.Command{
		Use:   "what-can WHO",
		Short: "What may somebody do at a place? Exit code 1 for nothing",
		Long: `What may somebody do, and by which grants?

With --cluster, and perhaps -n, it lists the grants there and what they allow; with
--scope those of an Azure place; without either those of all clusters. What Kubernetes
gives to everybody who signs in is shown with -o wide. WHO is written as with can-i --as.`,
		Example: `  gatehouse what-can leonard@teknews.cloud
  gatehouse what-can leonard@teknews.cloud --cluster aks-1 -n default
  gatehouse what-can penny@teknews.cloud --scope /subscriptions/5b000000-0000-4000-8000-000000000001`,
		GroupID:           questions,
		Args:              exactly("WHO"),
		ValidArgsFunction: completeArgs(env, o, 0, people),
	}
	f := cmd.Flags()
	f.StringArrayVar(&a.groups, "as-group", nil, "`group` of an identity that only Kubernetes knows; may be repeated")
	f.StringVarP(&a.cluster, "cluster", "c", "", "name or scope of the `cluster`")
	f.StringVarP(&a.namespace, "namespace", "n", "", "`namespace` of the cluster")
	f.StringVar(&a.scope, "scope", "", "an Azure `place`")
	f.StringVar(&a.at, "at", "", "`time` to answer for, such as 2026-01-02T15:04:05Z; now if left out")
	cmd.MarkFlagsMutuallyExclusive("cluster", "scope")
	completeFlag(cmd, env, o, "cluster", clusters)
	completeFlag(cmd, env, o, "namespace", namespaces)
	completeFlag(cmd, env, o, "scope", scopes)
	cmd.RunE = run(func(ctx context.Context, args []string) error {
		src, est, err := o.look(ctx, env)
		if err != nil {
			return err
		}
		var q query
		if err := a.readAt(&q); err != nil {
			return err
		}
		if q.who, err = findPerson(est, args[0], a.groups); err != nil {
			return err
		}
		if q.Subject = q.who.subject; q.Subject == nil {
			q.Who = q.who.id.String()
		}
		places, err := a.places(est)
		if err != nil {
			return err
		}
		return whatCan(ctx, env, o, src, est, q, places, a.cluster != "")
	})
	return cmd
}

// places are the places to look at: a cluster comes with the namespaces that
// the estate knows of it.
func (a *asked) places(est *estate.Snapshot) ([]scope.Scope, error) {
	switch {
	case a.cluster != "" && a.namespace == "":
		c, err := findCluster(est, a.cluster)
		return append([]scope.Scope{c.Scope}, namespacesOf(est, c.Scope)...), err
	case a.scope != "" || a.cluster != "" || a.namespace != "":
		at, err := (&where{a.scope, a.cluster, a.namespace}).read(est)
		return []scope.Scope{at}, err
	}
	var all []scope.Scope
	for c := range est.Clusters() {
		all = append(append(all, c.Scope), namespacesOf(est, c.Scope)...)
	}
	return all, nil
}

// namespacesOf returns the namespaces of a cluster in which anything is granted.
func namespacesOf(est *estate.Snapshot, cluster scope.Scope) []scope.Scope {
	set := make(map[scope.Scope]bool)
	for b := range est.KubeBindings(cluster) {
		if at, err := cluster.Namespace(b.Namespace); b.Namespace != "" && err == nil {
			set[at] = true
		}
	}
	for _, a := range allAssignments(est) {
		if c, _, ok := a.Scope.CutNamespace(); ok && c == cluster {
			set[a.Scope] = true
		}
	}
	return slices.SortedFunc(maps.Keys(set), func(a, b scope.Scope) int { return strings.Compare(a.String(), b.String()) })
}

// A placedPortfolio is what somebody can do at one place.
type placedPortfolio struct {
	Scope          string `json:"scope"`
	wire.Portfolio `json:",inline"`
}

func whatCan(ctx context.Context, env *Env, o *options, src source, est *estate.Snapshot, q query, places []scope.Scope, detail bool) error {
	var (
		all    []placedPortfolio
		unread []string
	)
	something := false
	for _, at := range places {
		q.Scope = at.String()
		p, err := src.WhatCan(ctx, q.Question)
		if err != nil {
			return err
		}
		for _, what := range p.NotEvaluated {
			if !slices.Contains(unread, what) {
				unread = append(unread, what)
			}
		}
		if len(p.Held) > 0 || len(p.Abilities) > 0 {
			all = append(all, placedPortfolio{q.Scope, p})
		}
		something = something || slices.ContainsFunc(p.Held, func(h wire.Considered) bool { return !everybodys(&h.Grant) })
	}
	if done, err := o.machine(env, struct {
		Who    string            `json:"who"`
		Places []placedPortfolio `json:"places"`
	}{q.who.label, all}); done && err != nil {
		return err
	} else if !done {
		printed := 0
		for i, p := range all {
			// Below a cluster that is shown, only what is granted there is news.
			below := i > 0 && strings.HasPrefix(p.Scope, all[0].Scope+"/") || strings.Contains(p.Scope, "/namespaces/") && len(places) > 1
			printed += printPortfolio(env, o, est, p, below, detail && !below, printed > 0)
		}
	}
	if !something {
		env.note("%s has nothing there but what everybody has", q.who.label)
		return env.unless(unread, &Exit{Code: ExitNo})
	}
	return env.unless(unread, nil)
}

// everybodys reports whether a grant is one that Kubernetes gives to everybody
// who signs in, such as system:discovery.
func everybodys(g *wire.Grant) bool {
	return g.Source == "binding" && g.Holder.Name == kuberbac.AllAuthenticated && strings.HasPrefix(g.Name, "system:")
}

// printPortfolio prints what is held at one place, and, in detail, what it
// covers. It returns 0 if there was nothing to print.
func printPortfolio(env *Env, o *options, est *estate.Snapshot, p placedPortfolio, below, detail, more bool) int {
	if o.output == "name" {
		if detail {
			for _, a := range p.Abilities {
				fmt.Fprintf(env.Stdout, "%s %s\n", qualified(a), strings.Join(a.Verbs, ","))
			}
		}
		return 1
	}
	var rows [][]string
	for i := range p.Held {
		h := &p.Held[i]
		if o.output != "wide" && everybodys(&h.Grant) || below && h.Grant.Namespace == "" && h.Grant.Scope != p.Scope {
			continue
		}
		via := chain(h.Via)
		if via == "" && h.Grant.Holder.ID == "" {
			via = h.Grant.Holder.Name
		}
		state := join(", ", inForce(h.Outcome), timeFrame(&h.Grant))
		if h.Grant.Condition != "" {
			state += ", under a condition"
		}
		rows = append(rows, []string{describeGrant(est, &h.Grant), via, state, strings.Join(strings.Fields(h.Grant.Condition), " ")})
	}
	if len(rows) == 0 {
		return 0
	}
	if more {
		fmt.Fprintln(env.Stdout)
	}
	at := "at or above"
	if below {
		at = "in"
	}
	fmt.Fprintf(env.Stdout, "Grants %s %s\n", at, printable(place(est, p.Scope)))
	o.table(env.Stdout, []string{"GRANT", "THROUGH", "STATE", "(CONDITION)"}, rows)
	if !detail || len(p.Abilities) == 0 {
		return 1
	}
	fmt.Fprintln(env.Stdout)
	rows = nil
	for _, a := range p.Abilities {
		rows = append(rows, []string{qualified(a), strings.Join(a.Verbs, " ")})
	}
	o.table(env.Stdout, []string{"RESOURCE", "VERBS"}, rows)
	return 1
}

// inForce puts the outcome of a grant that was not asked about one operation.
func inForce(outcome string) string {
	switch outcome {
	case "covers it":
		return "in force"
	case "would cover it, but begins later":
		return "not yet in force"
	case "would cover it, but has ended":
		return "ended"
	}
	return outcome
}

func qualified(a wire.Ability) string { return join(".", a.Resource, a.APIGroup) }
