package live

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/doctor"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/client"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

func newDoctor(env *cli.Env) *cobra.Command {
	w := new(ward)
	var all bool
	var request string
	cmd := &cobra.Command{
		Use:   "doctor [AADSTSCODE]",
		Short: "Say why a workload gets no token, and the smallest fix",
		Long: `Find out why a pod, a service account or a token is refused: what is checked, what
there is, what it would have to be, how the two differ, and the smallest fix. Nothing
is changed. With a code of Entra ID, say what it means and what to do next.

With --all, look for what is wrong with any identity, federated credential, and, with
--cluster, pod and service account: pods that the webhook missed, annotations that name
nobody, credentials that lead nowhere, and identities that nobody needs.

With --correlation-id, look up what was refused: what the assertion said, and what is
registered for that client now. The id is that of the refusal, or its trace id.

The directory is that of a house, as far as you may read it, or a folder of estate
files. What could not be looked at is "not evaluated", and never right.

The exit code is 0 when all is right, 1 when something is wrong, 2 when the command
is, and 3 when nothing is wrong but something could not be evaluated.`,
		Example: `  gatehouse doctor AADSTS700213
  gatehouse doctor --correlation-id b62c1d61-14a1-4636-9c26-e0cc412c7fa0
  gatehouse doctor --all --cluster aks-1
  gatehouse doctor pod shop/web-7c9d --cluster aks-1
  gatehouse doctor sa shop/web --cluster aks-1
  gatehouse doctor token - < token.txt
  gatehouse doctor token token.txt --estate ./teknews -o json`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: completeCodes,
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			switch {
			case all && request != "":
				return cli.Usage("--all is about everything: leave out --correlation-id")
			case all && len(args) > 0:
				return cli.Usage("--all is about everything: leave out the code")
			case all:
				return w.tellAll(cmd, env)
			case request != "":
				return tellRequest(cmd, env, request, args)
			case len(args) == 0:
				return cmd.Help()
			}
			return tellCode(cmd, env, args[0])
		}),
	}
	cmd.Flags().BoolVar(&all, "all", false, "look at all identities, and at all workloads of the cluster that is named")
	cmd.Flags().StringVar(&request, "correlation-id", "", "look up the request with this `id`, or trace id, of a refusal")
	w.register(cmd, env)
	cmd.AddCommand(newDoctorPod(env), newDoctorAccount(env), newDoctorToken(env))
	return cmd
}

func completeCodes(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var all []cobra.Completion
	for c := range doctor.Codes() {
		all = append(all, cobra.CompletionWithDesc(fmt.Sprintf("AADSTS%d", c.Number), c.Meaning))
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}

// tellCode says what a code means. Of a text that is none it repeats nothing: it
// may be a secret.
func tellCode(cmd *cobra.Command, env *cli.Env, text string) error {
	n, ok := doctor.ParseCode(text)
	if !ok {
		return cli.Usage("that is no code such as AADSTS700213, and no command of gatehouse doctor: there are %s; see gatehouse doctor --help", below(cmd))
	}
	c, ok := doctor.FindCode(n)
	if !ok {
		return fmt.Errorf("what AADSTS%d means is not known here; the text of the refusal says more, and so does %s", n, "gatehouse trace --events")
	}
	done, err := cli.Machine(cmd, env, c)
	if err != nil || done {
		return err
	}
	house := "answered by this house, as by Entra ID"
	if c.Elsewhere {
		house = "answered by Entra ID, and never by this house"
	}
	facts(env, "Code", fmt.Sprintf("AADSTS%d, %s", c.Number, house), "Meaning", c.Meaning, "Cause", c.Cause, "Compare", c.Compare, "Next", c.Next)
	return nil
}

// below lists the commands below one.
func below(cmd *cobra.Command) string {
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	return strings.Join(names, ", ")
}

// known is the directory that a doctor looks into.
type known struct {
	doctor.Estate
	house *client.Client // nil for a folder
	url   string
}

// offline says why nobody is asked over the network, when the answer comes from a folder.
const offline = "with --estate nobody is asked"

// lookInto opens the directory, and says why there may be more than is seen of it.
func lookInto(cmd *cobra.Command, env *cli.Env) (known, error) {
	src, err := cli.Source(cmd, env)
	if err != nil {
		return known{}, err
	}
	est, err := src.Snapshot(cmd.Context())
	if err != nil {
		return known{}, err
	}
	k := known{Estate: doctor.Estate{Snapshot: est, Now: env.Now()}}
	r, ok := src.(*remote)
	if !ok {
		return k, nil
	}
	warnRehearsal(env, r.Rehearsing())
	k.house, k.url = r.Client, r.Client.Base
	k.Unread, err = k.unreadOf(cmd.Context(), readByDoctor)
	return k, err
}

// rights are operations, at the root and in each tenant.
type rights struct{ root, tenant []string }

// readByDoctor is what the doctor's findings depend on.
var readByDoctor = rights{
	root: []string{
		"Microsoft.ManagedIdentity/userAssignedIdentities/read", "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/read",
		"Microsoft.ContainerService/managedClusters/read", "Microsoft.Authorization/roleAssignments/read",
	},
	tenant: []string{"Microsoft.Directory/applications/read", "Microsoft.Directory/applications/federatedIdentityCredentials/read"},
}

// unreadOf says what of the directory the asker may not read; "" if he may read all.
// What he may not read is not there for him, and must not be called missing.
func (k known) unreadOf(ctx context.Context, r rights) (string, error) {
	type right struct {
		action string
		at     scope.Scope
	}
	var all []right
	for _, action := range r.root {
		all = append(all, right{action, scope.Root})
	}
	tenants := 0
	for t := range k.Tenants() {
		tenants++
		for _, action := range r.tenant {
			all = append(all, right{action, directory.Place(t.ID)})
		}
	}
	if tenants == 0 {
		return "you may read no tenant", nil
	}
	for _, r := range all {
		d, err := k.house.CanI(ctx, wire.Question{Action: r.action, Scope: r.at.String()})
		if err != nil {
			return "", err
		}
		if d.Effect != "allow" {
			return fmt.Sprintf("you may not do %s at %s", r.action, cmp.Or(r.at.String(), "/")), nil
		}
	}
	return "", nil
}
