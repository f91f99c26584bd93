package live

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/manifest/nearest"
	"github.com/gatehouse-io/gatehouse/internal/rehearsal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/client"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

func newIdentityRequest(env *cli.Env) *cobra.Command {
	return cli.Words("identity-request", "Ask for an identity for a namespace, and answer who asks",
		`A team asks that service accounts of its namespace may be a managed identity; whoever
may give that approves; later it ends by itself or is retired. All of it is one
recorded history.`,
		`  gatehouse identity-request create shop-web --resource-group rg-shop --cluster aks-1 -n shop --service-account web --for 90d --why "the shop reads its secrets"
  gatehouse identity-request list --to-approve
  gatehouse identity-request approve 7b7b7b7b-0000-4000-8000-000000000001 --for 30d --why "for the trial"
  gatehouse identity-request list --mine --ends-within 14d
  gatehouse identity-request renew 7b7b7b7b-0000-4000-8000-000000000001 --why "the trial goes on"
  gatehouse identity-request retire 7b7b7b7b-0000-4000-8000-000000000001`,
		requestCreate(env), requestList(env), requestShow(env),
		requestAnswer(env, "approve", "Approve a request or a renewal, and make what was asked for (on a server)", (*client.Client).ApproveRequest),
		requestAnswer(env, "refuse", "Refuse a request or a renewal (on a server)", (*client.Client).RefuseRequest),
		requestAnswer(env, "withdraw", "Take back a request of yours that nobody answered (on a server)", (*client.Client).WithdrawRequest),
		requestAnswer(env, "renew", "Ask that a request of yours, which was approved, go on (on a server)", (*client.Client).RenewRequest),
		requestAnswer(env, "retire", "Take away what was approved (on a server)", (*client.Client).RetireRequest))
}

// asking are the flags of create.
type asking struct {
	group, cluster, namespace, location, last, why string
	accounts, roles, places                        []string
	make                                           bool
}

func requestCreate(env *cli.Env) *cobra.Command {
	var a asking
	cmd := &cobra.Command{
		Use:   "create IDENTITY --cluster C -n NAMESPACE --service-account SA",
		Short: "Ask that service accounts may be a managed identity (on a server)",
		Long: `Ask that service accounts of a namespace may be a user-assigned managed identity,
which is named by its resource id, or by its name and --resource-group. It takes
the right to create pods in the namespace. With --new the identity is made when
somebody approves, and given the roles that --role and --at name.`,
		Example: `  gatehouse identity-request create shop-web --resource-group rg-shop --cluster aks-1 -n shop --service-account web --for 90d
  gatehouse identity-request create shop-web --resource-group rg-shop --new --role "Key Vault Secrets User" --at /subscriptions/5b000000-0000-4000-8000-000000000001/resourceGroups/rg-shop --cluster aks-1 -n shop --service-account web`,
		Args: cli.Exactly("IDENTITY"),
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			c, est, err := reachEstate(cmd, env)
			if err != nil {
				return err
			}
			ask, err := a.read(est, args[0])
			if err != nil {
				return err
			}
			q, err := c.AskIdentity(cmd.Context(), ask)
			if err != nil {
				return err
			}
			if done, err := cli.Machine(cmd, env, q); done {
				return err
			}
			fmt.Fprintf(env.Stdout, "request %s for identity %s waits for an answer until %s, at revision %d\n", q.ID, identityName(q), stamp(q.Lapses), q.Revision)
			return nil
		}),
	}
	f := cmd.Flags()
	f.StringVar(&a.group, "resource-group", "", "name or scope of the resource `group` of the identity")
	f.StringVarP(&a.cluster, "cluster", "c", "", "name or scope of the `cluster`")
	f.StringVarP(&a.namespace, "namespace", "n", "", "`namespace` of the service accounts")
	f.StringArrayVar(&a.accounts, "service-account", nil, "service `account` of the namespace; may be repeated")
	f.StringVar(&a.last, "for", "", "how `long` it lasts once approved, such as 90d (default until it is retired)")
	f.StringVar(&a.why, "why", "", "`reason`, for who approves and for the history")
	f.BoolVar(&a.make, "new", false, "let the identity be made")
	f.StringVar(&a.location, "location", "", "`location` of a new identity (default that of the resource group)")
	f.StringArrayVar(&a.roles, "role", nil, "name or id of a `role` for a new identity; may be repeated")
	f.StringArrayVar(&a.places, "at", nil, "`scope` of the role: one for each, or one for all")
	for _, name := range []string{"cluster", "namespace", "service-account"} {
		must(cmd.MarkFlagRequired(name))
	}
	for name, names := range map[string]func(*estate.Snapshot) []string{
		"resource-group": resourceGroupNames, "cluster": cli.Clusters, "namespace": cli.Namespaces, "role": cli.Roles, "at": cli.Scopes,
	} {
		cli.CompleteFlag(cmd, env, name, names)
	}
	return cmd
}

// reachEstate is reach with the estate that names are looked up in.
func reachEstate(cmd *cobra.Command, env *cli.Env) (*client.Client, *estate.Snapshot, error) {
	c, err := reach(cmd, env)
	if err != nil {
		return nil, nil, err
	}
	est, err := (&remote{c}).Snapshot(cmd.Context())
	warnRehearsal(env, c.Rehearses)
	return c, est, err
}

// read returns what the flags ask for.
func (a *asking) read(est *estate.Snapshot, identity string) (wire.NewIdentityRequest, error) {
	ask := wire.NewIdentityRequest{Identity: identity, Cluster: a.cluster, Namespace: a.namespace, ServiceAccounts: a.accounts, Why: a.why}
	var err error
	if ask.Lasts, err = lasting(a.last); err != nil {
		return ask, err
	}
	if !strings.HasPrefix(a.cluster, "/") { // who may not read clusters names one by its scope
		c, err := cli.FindCluster(est, a.cluster)
		if err != nil {
			return ask, err
		}
		ask.Cluster = c.Scope.String()
	}
	if !strings.HasPrefix(identity, "/") {
		if ask.Identity, err = a.identity(est, identity); err != nil {
			return ask, err
		}
	}
	if a.make {
		ask.New = &wire.NewIdentity{Location: a.location}
	} else if a.location != "" || len(a.roles) > 0 || len(a.places) > 0 {
		return ask, cli.Usage("--location, --role and --at go with --new: an identity that is there has what it has")
	}
	if n := len(a.places); len(a.roles) > 0 && n != 1 && n != len(a.roles) {
		return ask, cli.Usage("say with --at where: one scope for each --role, or one for all")
	}
	for i, name := range a.roles {
		role, err := cli.FindRole(est, name)
		if err != nil {
			return ask, err
		}
		ask.New.Roles = append(ask.New.Roles, wire.RoleAt{Role: role.ID.String(), Scope: a.places[min(i, len(a.places)-1)]})
	}
	return ask, nil
}

// identity is the resource id of a name.
func (a *asking) identity(est *estate.Snapshot, name string) (string, error) {
	if a.group == "" {
		return "", cli.Usage("name the identity by its resource id, or its resource group with --resource-group")
	}
	group := a.group
	if !strings.HasPrefix(group, "/") {
		found := findResourceGroups(est, group)
		switch {
		case len(found) > 1:
			return "", severalGroups(group, found)
		case len(found) == 0:
			hint := "name it by its scope if you may not read it"
			if near := nearest.Names(group, slices.Values(resourceGroupNames(est)), 1); near != nil {
				hint = fmt.Sprintf("did you mean %q?", near[0])
			}
			return "", cli.Usage("there is no resource group %q: %s", group, hint)
		}
		group = found[0].Scope.String()
	}
	return strings.TrimSuffix(group, "/") + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/" + name, nil
}

// lasting writes a length of time as the management API reads it.
func lasting(text string) (string, error) { return duration("--for", text) }

func duration(flag, text string) (string, error) {
	if text == "" {
		return "", nil
	}
	d, err := rehearsal.ParseDuration(text)
	if err != nil || time.Duration(d) < time.Second {
		return "", cli.Usage("%s %s: write how long like 90d, 8h or 1d12h", flag, text)
	}
	return azurerbac.Duration(d).String(), nil
}

func requestList(env *cli.Env) *cobra.Command {
	var mine, approve, all bool
	var soon string
	cmd := &cobra.Command{
		Use: "list", Short: "List requests for identities that you may read, or some",
		Example: "  gatehouse identity-request list --mine\n  gatehouse identity-request list --to-approve -o json\n  gatehouse identity-request list --mine --ends-within 14d", Args: cli.Exactly(),
		RunE: cli.Run(func(cmd *cobra.Command, _ []string) error {
			within, err := duration("--ends-within", soon)
			if err != nil {
				return err
			}
			c, est, err := reachEstate(cmd, env)
			if err != nil {
				return err
			}
			which := "all"
			if mine {
				which = "mine"
			} else if approve {
				which = "to-approve"
			}
			got, err := c.IdentityRequestsEnding(cmd.Context(), which, within)
			if err != nil {
				return err
			}
			if done, err := cli.Machine(cmd, env, got); done {
				return err
			}
			if len(got.Requests) == 0 {
				fmt.Fprintln(env.Stderr, "no request")
				return nil
			}
			var rows [][]string
			for _, q := range got.Requests {
				rows = append(rows, []string{identityName(q), q.Namespace + "/" + strings.Join(q.ServiceAccounts, ","), cli.Place(est, q.Cluster), q.Requester.Name, status(q), over(q), q.ID, q.Identity})
			}
			cli.Table(cmd, env, []string{"IDENTITY", "FOR", "CLUSTER", "REQUESTER", "STATUS", "UNTIL", "ID", "(RESOURCE)"}, rows)
			return nil
		}),
	}
	cmd.Flags().StringVar(&soon, "ends-within", "", "of those, the active ones that end within this `time`, such as 14d")
	cmd.Flags().BoolVar(&mine, "mine", false, "those that you made")
	cmd.Flags().BoolVar(&approve, "to-approve", false, "those that wait for you or others like you")
	cmd.Flags().BoolVar(&all, "all", false, "all that you may read (the default)")
	cmd.MarkFlagsMutuallyExclusive("mine", "to-approve", "all")
	return cmd
}

func requestShow(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show a request for an identity and its history", Example: "  gatehouse identity-request show 7b7b7b7b-0000-4000-8000-000000000001", Args: cli.Exactly("ID"),
		ValidArgsFunction: completeRequests(env, "all"),
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			if err := checkRequestID(args[0]); err != nil {
				return err
			}
			c, est, err := reachEstate(cmd, env)
			if err != nil {
				return err
			}
			q, err := c.IdentityRequest(cmd.Context(), args[0])
			if err != nil {
				return seek(err, requestIDs)
			}
			if done, err := cli.Machine(cmd, env, q); done {
				return err
			}
			showRequest(env, est, q)
			return nil
		}),
	}
}

// requestIDs says where ids of requests are.
const requestIDs = "gatehouse identity-request list shows those that you may read, each with its id"

func checkRequestID(text string) error {
	if err := new(directory.IdentityRequestID).UnmarshalText([]byte(text)); err != nil {
		return cli.Usage("%.80q is no id of a request for an identity: %s", text, requestIDs)
	}
	return nil
}

func showRequest(env *cli.Env, est *estate.Snapshot, q wire.IdentityRequest) {
	var roles []string
	if q.New != nil {
		for _, role := range q.New.Roles {
			roles = append(roles, role.Name+" at "+cli.Place(est, role.Scope))
		}
	}
	facts(env, "Id", q.ID, "Status", q.Status, "Renewal waits until", stamp(q.RenewalLapses), "Lacks", strings.Join(q.Lacks, "; "), "Until", over(q), "Identity", identityName(q), "Resource", q.Identity, "Client id", q.ClientID,
		"New", yes(q.New != nil), "Roles", strings.Join(roles, "; "), "Cluster", cli.Place(est, q.Cluster), "Namespace", q.Namespace, "Service accounts", strings.Join(q.ServiceAccounts, ", "),
		"Asked for", q.Lasts, "Credentials", strings.Join(q.Credentials, ", "), "Assignments", strings.Join(q.Assignments, ", "))
	fmt.Fprintln(env.Stdout)
	for _, e := range q.History {
		until := ""
		if !e.Until.IsZero() {
			until = " until " + stamp(e.Until)
		}
		fmt.Fprintln(env.Stdout, cli.Printable(strings.TrimRight(fmt.Sprintf("%s   %-9s by %s%s   %s", stamp(e.At), e.Act, e.By.Name, until, e.Why), " ")))
	}
}

// requestAnswer is the command of one answer to a request.
func requestAnswer(env *cli.Env, verb, short string, give func(*client.Client, context.Context, string, wire.AnswerToRequest) (wire.IdentityRequest, error)) *cobra.Command {
	var say wire.AnswerToRequest
	var last string
	which := map[string]string{"approve": "to-approve", "refuse": "to-approve", "withdraw": "mine", "renew": "mine", "retire": "all"}[verb]
	cmd := &cobra.Command{
		Use: verb + " ID", Short: short, Example: "  gatehouse identity-request " + verb + ` 7b7b7b7b-0000-4000-8000-000000000001 --why "as agreed"`, Args: cli.Exactly("ID"),
		ValidArgsFunction: completeRequests(env, which),
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			if err := checkRequestID(args[0]); err != nil {
				return err
			}
			c, err := reach(cmd, env)
			if err != nil {
				return err
			}
			if say.Lasts, err = lasting(last); err != nil {
				return err
			}
			q, err := give(c, cmd.Context(), args[0], say)
			warnRehearsal(env, c.Rehearses)
			if err != nil {
				return seek(err, requestIDs)
			}
			if done, err := cli.Machine(cmd, env, q); done {
				return err
			}
			tellAnswer(env, q)
			return nil
		}),
	}
	cmd.Flags().StringVar(&say.Why, "why", "", "`reason`, for the history")
	if verb == "approve" {
		cmd.Flags().StringVar(&last, "for", "", "how `long` it lasts at most, if that is less than was asked for, such as 30d")
	}
	return cmd
}

func tellAnswer(env *cli.Env, q wire.IdentityRequest) {
	text := strings.ToLower(q.Status)
	if q.Status == "Active" && !q.Ends.IsZero() {
		text += " until " + stamp(q.Ends)
	}
	if !q.RenewalLapses.IsZero() {
		text += ", and its renewal waits for an answer until " + stamp(q.RenewalLapses)
	}
	fmt.Fprintf(env.Stdout, "request %s for identity %s is %s, in force at revision %d\n", q.ID, identityName(q), text, q.Revision)
	if q.Status == "Active" {
		fmt.Fprintln(env.Stdout, "client id "+q.ClientID)
	}
	for _, k := range q.Kept {
		fmt.Fprintf(env.Stderr, "the identity stays: %d of kind %s use it\n", k.Count, k.Kind)
	}
}

func completeRequests(env *cli.Env, which string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, start string) ([]cobra.Completion, cobra.ShellCompDirective) {
		c, err := reach(cmd, env)
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		got, err := c.IdentityRequests(cmd.Context(), which)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var ids []string
		for _, q := range got.Requests {
			if strings.HasPrefix(q.ID, strings.ToLower(start)) {
				ids = append(ids, cobra.CompletionWithDesc(q.ID, cli.Printable(identityName(q)+" for "+q.Namespace+", "+q.Status)))
			}
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}

// status is what a request has come to, and whether it is asked to go on.
func status(q wire.IdentityRequest) string {
	if !q.RenewalLapses.IsZero() {
		return q.Status + ", renewal asked"
	}
	return q.Status
}

// identityName is what the identity is called.
func identityName(q wire.IdentityRequest) string {
	at, err := scope.Parse(q.Identity)
	if err != nil {
		return q.Identity
	}
	return at.Name()
}

// over is when a request ends by itself.
func over(q wire.IdentityRequest) string {
	if !q.Lapses.IsZero() {
		return stamp(q.Lapses)
	}
	return stamp(q.Ends)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}
