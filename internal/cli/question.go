package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

// asked are the flags of a question.
type asked struct {
	as         string
	groups     []string
	cluster    string
	namespace  string
	action     string
	scope      string
	data       bool
	attributes []string
	at         string
	only       string
}

// askFlags adds the flags of a question; who says whether it is about somebody.
func (a *asked) flags(cmd *cobra.Command, env *Env, o *options, who bool) {
	f := cmd.Flags()
	if who {
		f.StringVar(&a.as, "as", "", "`who` asks: a user principal name, object id, name of a service principal, or system:serviceaccount:NS:NAME")
		f.StringArrayVar(&a.groups, "as-group", nil, "`group` of an identity that only Kubernetes knows; may be repeated")
		completeFlag(cmd, env, o, "as", people)
	}
	f.StringVarP(&a.cluster, "cluster", "c", "", "name or scope of the `cluster`")
	f.StringVarP(&a.namespace, "namespace", "n", "", "`namespace`; without it the question is about all of them")
	f.StringVar(&a.action, "action", "", "Azure `operation`, such as Microsoft.ContainerService/managedClusters/read")
	f.StringVar(&a.scope, "scope", "", "`place` that the operation is about, with --action; in a directory a domain or the name of a user will do")
	f.BoolVar(&a.data, "data", false, "the operation is a data action, with --action")
	f.StringArrayVar(&a.attributes, "attribute", nil, "`NAME=VALUE` that conditions may ask about the request; may be repeated")
	f.StringVar(&a.at, "at", "", "`time` to answer for, such as 2026-01-02T15:04:05Z; now if left out")
	f.StringVar(&a.only, "only", "", "one `plane` alone: azure or kubernetes")
	cmd.MarkFlagsMutuallyExclusive("scope", "cluster")
	completeFlag(cmd, env, o, "cluster", clusters)
	completeFlag(cmd, env, o, "namespace", namespaces)
	completeFlag(cmd, env, o, "scope", scopes)
	mustComplete(cmd.RegisterFlagCompletionFunc("only", cobra.FixedCompletions([]string{"azure", "kubernetes"}, cobra.ShellCompDirectiveNoFileComp)))
}

// A query is a question ready to be asked, and its words.
type query struct {
	wire.Question
	who  person
	what string // "list pods in namespace default of aks-1"
}

// read makes a query of the arguments and flags.
func (a *asked) read(env *Env, est *estate.Snapshot, args []string, who bool) (query, error) {
	var q query
	if err := a.readAt(&q); err != nil {
		return q, err
	}
	if who {
		if a.as == "" && len(a.groups) == 0 {
			return q, usage("say who asks, with --as")
		}
		p, err := findPerson(est, a.as, a.groups)
		if err != nil {
			return q, err
		}
		q.who, q.Subject = p, p.subject
		if p.subject == nil {
			q.Who = p.id.String()
		}
	}
	if a.only != "" && a.only != "azure" && a.only != "kubernetes" {
		return q, usage("--only %s is no plane: azure or kubernetes", a.only)
	}
	q.Only = a.only
	for _, pair := range a.attributes {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return q, usage("--attribute %q is not of the form NAME=VALUE", pair)
		}
		if q.Attributes == nil {
			q.Attributes = make(map[string]string)
		}
		q.Attributes[name] = value
	}
	if a.action != "" {
		return q, a.readAction(est, args, &q)
	}
	if a.data || a.scope != "" {
		return q, usage("--data and --scope go with --action; a question to a cluster takes --cluster and -n")
	}
	return q, a.readKube(env, est, args, &q)
}

func (a *asked) readAt(q *query) error {
	if a.at == "" {
		return nil
	}
	at, err := time.Parse(time.RFC3339, a.at)
	if err != nil {
		return usage("--at %q is no time: write it like 2026-01-02T15:04:05Z", a.at)
	}
	q.At = at
	return nil
}

func (a *asked) readAction(est *estate.Snapshot, args []string, q *query) error {
	if len(args) > 0 {
		return usage("%q is one word too many: with --action there is neither verb nor resource", args[0])
	}
	if !strings.Contains(a.action, "/") && a.action != "*" {
		return usage("--action %q is no Azure operation: those look like Microsoft.ContainerService/managedClusters/read", a.action)
	}
	q.Action, q.Data = a.action, a.data
	at, err := (&where{a.scope, a.cluster, a.namespace}).read(est)
	if err != nil {
		return err
	}
	if at.IsZero() {
		return usage("say where, with --scope or --cluster")
	}
	q.Scope = at.String()
	q.what = fmt.Sprintf("%s at %s", a.action, place(est, q.Scope))
	if a.data {
		q.what = "data action " + q.what
	}
	return nil
}

func (a *asked) readKube(env *Env, est *estate.Snapshot, args []string, q *query) error {
	kube, err := parseKube(env, args, a.namespace)
	if err != nil {
		return err
	}
	name := a.cluster
	if name == "" {
		var only []string
		for c := range est.Clusters() {
			only = append(only, c.Scope.String())
		}
		if len(only) != 1 {
			return usage("say which cluster, with --cluster: %s", nameClusters(est))
		}
		name = only[0]
	}
	c, err := findCluster(est, name)
	if err != nil {
		return err
	}
	q.Kube, q.Scope = kube, c.Scope.String()
	q.what = describeKube(kube, clusterName(c))
	return nil
}

func nameClusters(est *estate.Snapshot) string {
	var names []string
	for c := range est.Clusters() {
		names = append(names, clusterName(c))
	}
	if names == nil {
		return "the estate has none"
	}
	return "there are " + strings.Join(names, ", ")
}

// ask opens the source and reads the question.
func (a *asked) ask(ctx context.Context, env *Env, o *options, args []string, who bool) (source, *estate.Snapshot, query, error) {
	src, est, err := o.look(ctx, env)
	if err != nil {
		return nil, nil, query{}, err
	}
	q, err := a.read(env, est, args, who)
	return src, est, q, err
}
