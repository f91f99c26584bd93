package live

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/check"
	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/doctor"
	"github.com/gatehouse-io/gatehouse/internal/manifest/nearest"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

// checkFlags are the flags of gatehouse check.
type checkFlags struct {
	ward
	rules            []string
	severity, accept string
	workloads        bool
}

func newCheck(env *cli.Env) *cobra.Command {
	f := new(checkFlags)
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say what is wrong with clusters, identities and access, and the smallest fix",
		Long: `Hold clusters, identities, credentials, role assignments and bindings against what is
recommended for AKS and against least privilege: what is wrong, who has what he should
not have and by which grant, and the smallest fix. Nothing is changed.

The estate is that of a house, as far as you may read it, or a folder of estate files.
What could not be looked at is "not evaluated", and never fine: so are pods and service
accounts unless --workloads reads those of a cluster, with your kubeconfig.

The exit code is 0 when all is right, 1 when something is wrong, 2 when the command is,
and 3 when nothing is wrong but something could not be evaluated.`,
		Example: `  gatehouse check
  gatehouse check --severity high -o wide
  gatehouse check --cluster aks-1 --workloads
  gatehouse check --rule local-admin-escalation --estate ./teknews -o json
  gatehouse check --accept accepted.yaml`,
		Args: cobra.NoArgs,
		RunE: cli.Run(func(cmd *cobra.Command, _ []string) error { return f.run(cmd, env) }),
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.cluster, "cluster", "c", "", "name or scope of the one `cluster` whose findings are told")
	flags.StringSliceVar(&f.rules, "rule", nil, "`id` of a rule to ask; may be repeated (default all)")
	flags.StringVar(&f.severity, "severity", "low", "the least `severity` that is told: low, medium or high")
	flags.StringVar(&f.accept, "accept", "", "`file` of findings that are accepted, each with a reason and an end")
	flags.BoolVar(&f.workloads, "workloads", false, "read the pods and service accounts of the cluster, with a kubeconfig")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig `file` (default that of kubectl)")
	flags.StringVar(&f.context, "context", "", "`context` of the kubeconfig (default the one that leads to the cluster)")
	cli.CompleteFlag(cmd, env, "cluster", cli.Clusters)
	complete := func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return ruleNames(), cobra.ShellCompDirectiveNoFileComp
	}
	_ = cmd.RegisterFlagCompletionFunc("rule", complete)
	_ = cmd.RegisterFlagCompletionFunc("severity", cobra.FixedCompletions([]cobra.Completion{"low", "medium", "high"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.AddCommand(newCheckRules(env), newCheckExplain(env, complete))
	return cmd
}

func ruleNames() []cobra.Completion {
	var all []cobra.Completion
	for _, r := range check.Rules() {
		all = append(all, cobra.CompletionWithDesc(r.ID, r.Title))
	}
	return all
}

func newCheckRules(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "rules", Short: "List the rules, and which document recommends what", Example: "  gatehouse check rules -o wide", Args: cli.Exactly(),
		RunE: cli.Run(func(cmd *cobra.Command, _ []string) error {
			rules := check.Rules()
			if done, err := cli.Machine(cmd, env, struct {
				Rules []check.Rule `json:"rules"`
			}{rules}); done {
				return err
			}
			var rows [][]string
			for _, r := range rules {
				rows = append(rows, []string{r.ID, r.Severity.String(), r.Title, r.Source})
			}
			cli.Table(cmd, env, []string{"RULE", "SEVERITY", "WHAT IT FINDS", "(SOURCE)"}, rows)
			return nil
		}),
	}
}

func newCheckExplain(env *cli.Env, complete cobra.CompletionFunc) *cobra.Command {
	return &cobra.Command{
		Use: "explain RULE", Short: "Say why a rule is there", Example: "  gatehouse check explain local-admin-escalation", Args: cli.Exactly("RULE"), ValidArgsFunction: complete,
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			r, err := findRule(args[0])
			if err != nil {
				return err
			}
			if done, err := cli.Machine(cmd, env, r); done {
				return err
			}
			facts(env, "Rule", r.ID, "Finds", r.Title, "Severity", r.Severity.String(), "Source", r.Source)
			fmt.Fprintf(env.Stdout, "\n%s\n", r.Explain)
			return nil
		}),
	}
}

func findRule(id string) (check.Rule, error) {
	r, ok := check.FindRule(id)
	if !ok {
		var ids []string
		for _, r := range check.Rules() {
			ids = append(ids, r.ID)
		}
		hint := "gatehouse check rules lists them"
		if near := nearest.Names(id, slices.Values(ids), 1); near != nil {
			hint = fmt.Sprintf("did you mean %q? %s", near[0], hint)
		}
		return r, cli.Usage("%q is no rule: %s", id, hint)
	}
	return r, nil
}

// wanted are the rules that are asked.
func (f *checkFlags) wanted() ([]check.Rule, error) {
	var least check.Severity
	if err := least.UnmarshalText([]byte(f.severity)); err != nil {
		return nil, cli.Usage("--severity: %w", err)
	}
	rules := check.Rules()
	if len(f.rules) > 0 {
		rules = nil
		for _, id := range f.rules {
			r, err := findRule(id)
			if err != nil {
				return nil, err
			}
			rules = append(rules, r)
		}
	}
	rules = slices.DeleteFunc(rules, func(r check.Rule) bool { return r.Severity < least })
	if len(rules) == 0 {
		return nil, cli.Usage("none of the rules that are named is of the severity %s", f.severity)
	}
	return rules, nil
}

func (f *checkFlags) run(cmd *cobra.Command, env *cli.Env) error {
	rules, err := f.wanted()
	if err != nil {
		return err
	}
	list, err := readAcceptances(f.accept)
	if err != nil {
		return err
	}
	if (f.kubeconfig != "" || f.context != "") && !f.workloads {
		return cli.Usage("--kubeconfig and --context are for --workloads")
	}
	k, found, err := f.ask(cmd, env, rules)
	if err != nil {
		return err
	}
	open, accepted, unused := check.Accept(found, list, env.Now())
	for _, a := range unused {
		why := "nothing like it is found"
		if a.EndedAt(env.Now()) {
			why = "it ended"
		}
		fmt.Fprintf(env.Stderr, "%s: the acceptance of %s for %s counts for nothing: %s\n", f.accept, a.Rule, a.About, why)
	}
	out := checked{Verdict: check.Worst(open), Revision: k.Revision(), Findings: []finding{}}
	for _, x := range open {
		out.Findings = append(out.Findings, findingOf(k, x))
	}
	for _, x := range accepted {
		one := findingOf(k, x.Finding)
		one.Accepted = &acceptance{Reason: x.By.Reason, Until: x.By.Until.Format(untilForm)}
		out.Accepted = append(out.Accepted, one)
	}
	done, err := cli.Machine(cmd, env, out)
	if err != nil {
		return err
	}
	if !done {
		out.print(env, cmd.Flag("output").Value.String() == "wide")
	}
	switch out.Verdict {
	case doctor.Wrong:
		return &cli.Exit{Code: cli.ExitNo}
	case doctor.NotEvaluated:
		return &cli.Exit{Code: cli.ExitUnanswered}
	}
	return nil
}

// ask gathers the facts and asks the rules.
func (f *checkFlags) ask(cmd *cobra.Command, env *cli.Env, rules []check.Rule) (known, []check.Finding, error) {
	facts := check.Facts{Now: env.Now()}
	var k known
	if f.workloads {
		p, err := f.visit(cmd, env)
		if err != nil {
			return known{}, nil, err
		}
		k, facts.Read = p.known, []doctor.Swept{p.swept(cmd.Context())}
	} else {
		var err error
		if k, err = lookInto(cmd, env); err != nil {
			return known{}, nil, err
		}
	}
	if k.house != nil && k.Unread == "" {
		var err error
		if k.Unread, err = k.unreadOf(cmd.Context(), readByCheck); err != nil {
			return known{}, nil, err
		}
	}
	facts.Estate, facts.Secrets = k.Estate, k.secrets(cmd.Context(), env)
	found := check.Run(facts, rules...)
	if f.cluster == "" {
		return k, found, nil
	}
	c, err := cli.FindCluster(k.Snapshot, f.cluster)
	if err != nil {
		return known{}, nil, err
	}
	return k, slices.DeleteFunc(found, func(x check.Finding) bool { return x.Cluster != c.Scope && x.About.Kind != check.Place }), nil
}

// secrets are the client secrets of applications, as far as the house tells. That by
// which this command itself signs in, as the operator of the house, is left out: to
// take it away would be to lock oneself out.
func (k known) secrets(ctx context.Context, env *cli.Env) doctor.Known[[]check.Secret] {
	if k.house == nil {
		return doctor.Unknown[[]check.Secret]("estate files have no secrets")
	}
	got, err := k.house.Secrets(ctx)
	if err != nil {
		return doctor.Unknown[[]check.Secret]("%v", err)
	}
	var all []check.Secret
	self, _ := session(env.Getenv, k.url)
	for _, s := range got.Secrets {
		if self.ClientSecret != "" && s.App == self.ClientID {
			continue
		}
		one := check.Secret{KeyID: s.KeyID, Begins: s.Created, Ends: s.Expires}
		if err := one.App.UnmarshalText([]byte(s.App)); err != nil {
			return doctor.Unknown[[]check.Secret]("the house says it of no application: %v", err)
		}
		all = append(all, one)
	}
	return doctor.Know(all)
}

// checked is what gatehouse check answers.
type checked struct {
	Verdict  doctor.Verdict `json:"verdict"`
	Revision int64          `json:"revision"`
	Findings []finding      `json:"findings"`
	Accepted []finding      `json:"accepted,omitzero"`
}

// A finding is one as programs read it.
type finding struct {
	Rule     string         `json:"rule"`
	Severity check.Severity `json:"severity"`
	Verdict  doctor.Verdict `json:"verdict"`
	About    thing          `json:"about"`
	Name     string         `json:"name"`
	Cluster  string         `json:"cluster,omitzero"`
	What     string         `json:"what"`
	Evidence []wire.Holder  `json:"evidence,omitzero"`
	Fix      []string       `json:"fix,omitzero"`
	Besides  string         `json:"besides,omitzero"` // what the fix takes away that is not wrong
	Source   string         `json:"source"`
	Accepted *acceptance    `json:"accepted,omitzero"`

	by []string // the evidence in words
}

// A thing is what a finding is about: a kind of record and the parts of its key.
type thing struct {
	Kind record.Kind `json:"kind" yaml:"kind"`
	ID   []string    `json:"id" yaml:"id"`
}

type acceptance struct {
	Reason string `json:"reason"`
	Until  string `json:"until"`
}

func findingOf(k known, f check.Finding) finding {
	out := finding{
		Rule: f.Rule.ID, Severity: f.Rule.Severity, Verdict: f.Verdict, About: thing{f.About.Kind, f.About.Parts[:]}, Name: f.Name,
		Cluster: f.Cluster.String(), What: f.What, Fix: f.Fix.Commands, Besides: f.Fix.Besides, Source: f.Rule.Source,
	}
	for n := len(out.About.ID); n > 1 && out.About.ID[n-1] == ""; n-- {
		out.About.ID = out.About.ID[:n-1]
	}
	if len(f.Evidence) > 0 {
		out.Evidence = wire.HoldersOf(k.Snapshot, decide.Request{}, f.Evidence).Holders
	}
	for _, h := range out.Evidence {
		out.by = append(out.by, cli.DescribeHolder(k.Snapshot, h))
	}
	return out
}

// manyLines is how many lines of evidence are shown before -o wide shows all.
const manyLines = 5

func (c checked) print(env *cli.Env, wide bool) {
	count := make(map[string]int)
	for _, f := range c.Findings {
		mark := f.Severity.String()
		if f.Verdict == doctor.NotEvaluated {
			mark = f.Verdict.String()
		}
		count[mark]++
		f.print(env, mark, wide)
	}
	if wide {
		for _, f := range c.Accepted {
			f.print(env, "accepted", wide)
		}
	}
	fmt.Fprintf(env.Stdout, "%d high, %d medium, %d low, %d not evaluated, %d accepted\n", count["high"], count["medium"], count["low"], count["not evaluated"], len(c.Accepted))
}

func (f finding) print(env *cli.Env, mark string, wide bool) {
	coloured := fmt.Sprintf("%-13s", mark)
	if f.Verdict == doctor.Wrong && f.Accepted == nil {
		coloured = cli.Colour(env, false, coloured)
	}
	fmt.Fprintf(env.Stdout, "%s  %s  %s\n", coloured, f.Rule, cli.Printable(oneLine(f.Name)))
	row := func(title, text string) {
		if text != "" {
			fmt.Fprintf(env.Stdout, "%15s%-7s%s\n", "", title, cli.Printable(oneLine(text)))
		}
	}
	fmt.Fprintf(env.Stdout, "%15s%s\n", "", cli.Printable(oneLine(f.What)))
	for i, by := range f.by {
		if i == manyLines && !wide {
			row("", fmt.Sprintf("and %d more; -o wide shows them", len(f.by)-i))
			break
		}
		row("by", by)
	}
	for i, fix := range f.Fix {
		if i == manyLines && !wide {
			row("", fmt.Sprintf("and %d more; -o wide shows them", len(f.Fix)-i))
			break
		}
		row("fix", fix)
	}
	if f.Besides != "" {
		row("takes", "more than is wrong: "+f.Besides)
	}
	if wide {
		row("about", fmt.Sprintf("%s %s", f.About.Kind, strings.Join(f.About.ID, " ")))
		row("source", f.Source)
	}
	if f.Accepted != nil {
		row("until", f.Accepted.Until+": "+f.Accepted.Reason)
	}
	fmt.Fprintln(env.Stdout)
}

// readByCheck is what findings of gatehouse check depend on, besides what doctor reads.
var readByCheck = rights{
	root: []string{
		"Microsoft.Authorization/roleDefinitions/read", "Microsoft.Authorization/denyAssignments/read", "Microsoft.Resources/subscriptions/read",
		"Microsoft.ContainerService/managedClusters/roleBindings/read", "Microsoft.ContainerService/managedClusters/roles/read",
		"Microsoft.Authorization/roleEligibilityScheduleRequests/read",
	},
	tenant: []string{
		"Microsoft.Directory/users/read", "Microsoft.Directory/groups/read", "Microsoft.Directory/groups/members/read",
		"Microsoft.Directory/servicePrincipals/read", "Microsoft.Directory/roleAssignments/read",
	},
}
