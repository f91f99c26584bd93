package live

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/podid"
	"github.com/gatehouse-io/gatehouse/internal/podid/migrate"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/serve/nodes"
)

func newMigrate(env *cli.Env) *cobra.Command {
	return cli.Words("migrate", "Plan the way from pod identity to workload identity", "What workloads have by an older way, they get by a newer one.",
		"  gatehouse migrate pod-identity --cluster aks-1 --check", newMigratePodIdentity(env))
}

// migrateFlags are the flags of gatehouse migrate pod-identity.
type migrateFlags struct {
	cluster, kubeconfig, context string
	check, apply, finish, yes    bool
	clusterWide                  bool
	why                          string
}

func newMigratePodIdentity(env *cli.Env) *cobra.Command {
	var f migrateFlags
	cmd := &cobra.Command{
		Use:   "pod-identity",
		Short: "Plan, check and carry out the way of a cluster's workloads to workload identity (on a server)",
		Long: `Say for each workload that has an identity by AAD Pod Identity what it takes to have it
by workload identity: a federated credential, an annotation of its service account and
a label of its pods; or what is in the way. Without a flag nothing is changed.

With --apply that is done. New pods then have both; when they are seen to work,
--finish takes the label of pod identity away from them. What is in the way of one
workload keeps no other from its way.

The cluster is reached as a kubeconfig says, and the directory is that of the house.

The exit code of --check is 1 while a workload is blocked or has something to do.`,
		Example: `  gatehouse migrate pod-identity --cluster aks-1
  gatehouse migrate pod-identity --cluster aks-1 --check -o json
  gatehouse migrate pod-identity --cluster aks-1 --apply --why "pod identity ends"
  gatehouse migrate pod-identity --cluster aks-1 --finish`,
		Args: cobra.NoArgs,
		RunE: cli.Run(func(cmd *cobra.Command, _ []string) error { return f.run(cmd, env) }),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.cluster, "cluster", "", "`cluster` of the house")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "`file` that says how to reach the cluster (default: KUBECONFIG, as kubectl)")
	flags.StringVar(&f.context, "context", "", "`name` of the context in it")
	flags.BoolVar(&f.check, "check", false, "change nothing, and end with 1 while something is left to do")
	flags.BoolVar(&f.apply, "apply", false, "bring the workloads with nothing in their way to having both")
	flags.BoolVar(&f.finish, "finish", false, "take pod identity away from the workloads that have both")
	flags.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	flags.BoolVar(&f.clusterWide, "cluster-wide", false, "as the controller is told: pods have identities of other namespaces too")
	flags.StringVar(&f.why, "why", "gatehouse migrate pod-identity", "`reason`, for the audit log")
	cmd.MarkFlagsMutuallyExclusive("check", "apply", "finish")
	cli.CompleteFlag(cmd, env, "cluster", clusterNames)
	return cmd
}

func clusterNames(est *estate.Snapshot) []string {
	var names []string
	for c := range est.Clusters() {
		names = append(names, c.Name)
	}
	return names
}

func (f *migrateFlags) run(cmd *cobra.Command, env *cli.Env) error {
	if f.cluster == "" {
		return cli.Usage("--cluster is missing: gatehouse cluster list shows the clusters of the house")
	}
	house, err := reach(cmd, env)
	if err != nil {
		return err
	}
	m := &migration{flags: f, house: &remote{house}}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	conf, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: f.context}).ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return cli.Usage("there is no kubeconfig that leads to cluster %s: write one with gatehouse kubeconfig %[1]s --file FILE and give it with --kubeconfig FILE", f.cluster)
	}
	if err != nil {
		return fmt.Errorf("the way to the cluster: %w", err)
	}
	conf.UserAgent = "gatehouse-migrate"
	if m.cluster, err = newWorkloads(conf); err != nil {
		return err
	}
	plan, err := m.plan(cmd.Context(), env.Now())
	if err != nil {
		return err
	}
	if f.apply || f.finish {
		if plan, err = m.carryOut(cmd.Context(), env, plan); err != nil {
			return err
		}
	}
	if done, err := cli.Machine(cmd, env, plan); err != nil {
		return err
	} else if !done {
		printPlan(env.Stdout, plan)
	}
	if left := left(plan); f.check && left > 0 || (f.apply || f.finish) && blocked(plan) > 0 {
		return &cli.Exit{Code: cli.ExitNo}
	}
	return nil
}

// A migration is a house and a cluster, and the way between.
type migration struct {
	flags   *migrateFlags
	house   *remote
	cluster *workloads
	est     *estate.Snapshot
}

func (m *migration) plan(ctx context.Context, now time.Time) (plan migrate.Plan, err error) {
	if m.est, err = m.house.Snapshot(ctx); err != nil {
		return plan, err
	}
	rec, err := cli.FindCluster(m.est, m.flags.cluster)
	if err != nil {
		return plan, err
	}
	c, err := m.cluster.read(ctx)
	if err != nil {
		return plan, err
	}
	if rec.OIDCIssuer {
		c.Issuer = rec.IssuerURL
	}
	c.Webhook = c.Webhook || rec.WorkloadIdentity
	if m.flags.clusterWide {
		c.Mode = podid.ClusterWide
	}
	c.Known, c.Over, c.Assignable = make(map[directory.AppID][]directory.FederatedCredential), make(map[record.Key]bool), make(map[directory.AppID]bool)
	for _, id := range c.Identities {
		// The identity that the object says, and no other with that client id.
		known, ok := m.est.ManagedIdentityByClient(id.Spec.ClientID)
		if !ok || known.SystemAssigned || known.Resource != id.Spec.ResourceID {
			continue
		}
		c.Known[known.ClientID] = m.est.FederatedCredentials(known.ClientID)
		count := m.est.TrustsOf(known.ClientID, now)
		for _, f := range c.Known[known.ClientID] {
			if !slices.ContainsFunc(count, func(g directory.FederatedCredential) bool { return g.Key() == f.Key() }) {
				c.Over[f.Key()] = true
			}
		}
		c.Assignable[known.ClientID] = nodes.MayAssign(m.est, m.est, rec, known, now) == nil
	}
	return migrate.Make(c), nil
}

// carryOut does what the plan says, and returns the plan of afterwards.
func (m *migration) carryOut(ctx context.Context, env *cli.Env, plan migrate.Plan) (migrate.Plan, error) {
	for _, way := range plan.Workloads {
		steps := way.Steps
		if m.flags.finish {
			steps = nil
			if way.State == migrate.Ready {
				steps = way.Last
			}
		}
		if len(steps) == 0 {
			continue
		}
		if m.flags.finish && !m.flags.yes && !cli.Confirm(env, fmt.Sprintf("Take pod identity away from %s? Its new pods have workload identity alone.", way.Workload)) {
			continue
		}
		for _, s := range steps {
			if err := m.do(ctx, way.Workload, s); err != nil {
				return plan, fmt.Errorf("%s: %s: %w; what was done before stays, and the same command goes on from there", way.Workload, s, err)
			}
			fmt.Fprintf(env.Stderr, "%s: %s\n", way.Workload, s)
		}
	}
	return m.plan(ctx, env.Now())
}

func (m *migration) do(ctx context.Context, w migrate.Workload, s migrate.Step) error {
	switch s.Do {
	case migrate.AddCredential:
		_, err := m.house.Commit(ctx, m.flags.why, []estate.Op{{Put: *s.Credential}}, m.est.Revision())
		if err == nil {
			m.est, err = m.house.Snapshot(ctx)
		}
		return err
	case migrate.AnnotateAccount:
		return m.cluster.annotate(ctx, s.Account, s.Name, s.Value)
	case migrate.LabelPods:
		return m.cluster.label(ctx, w, s.Name, s.Value)
	case migrate.UnlabelPods:
		return m.cluster.label(ctx, w, s.Name, nil)
	}
	return fmt.Errorf("a step that does nothing: %s", s.Do)
}

func left(plan migrate.Plan) (n int) {
	for _, way := range plan.Workloads {
		if way.State != migrate.Ready {
			n++
		}
	}
	return n
}

func blocked(plan migrate.Plan) (n int) {
	for _, way := range plan.Workloads {
		if way.State == migrate.Blocked {
			n++
		}
	}
	return n
}

func printPlan(w io.Writer, plan migrate.Plan) {
	if len(plan.Workloads) == 0 {
		fmt.Fprintln(w, "no workload has an identity by pod identity, or is left alone by it")
	}
	for _, way := range plan.Workloads {
		fmt.Fprintf(w, "%s   %s", way.State, way.Workload)
		if way.Identity != "" {
			fmt.Fprintf(w, "   AzureIdentity %s", way.Identity)
		}
		fmt.Fprintln(w)
		for _, b := range way.Blocks {
			fmt.Fprintf(w, "  in the way: %s\n", b)
		}
		for _, s := range way.Steps {
			fmt.Fprintf(w, "  %s\n", s)
		}
		for _, s := range way.Last {
			fmt.Fprintf(w, "  at the end: %s\n", s)
		}
		for _, n := range way.Notes {
			fmt.Fprintf(w, "  note: %s\n", n)
		}
	}
	if len(plan.Unneeded) > 0 {
		fmt.Fprintf(w, "\nNo workload needs\n  %s\n", strings.Join(plan.Unneeded, "\n  "))
	}
	fmt.Fprintf(w, "\nNot evaluated\n  %s\n", strings.Join(plan.NotEvaluated, "\n  "))
}
