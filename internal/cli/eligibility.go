package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/estate"
)

func newEligibility(env *Env, o *options) *cobra.Command {
	return words("eligibility", "List and change who may activate which role", "An eligibility lets a user, or the users in a group, activate a role at a place. It grants nothing by itself.",
		`  gatehouse eligibility list --principal faye@teknews.cloud
  gatehouse eligibility create --role "Azure Kubernetes Service RBAC Admin" --principal sre --cluster aks-1 --for 720h --server https://127.0.0.1:8443`,
		eligibilityList(env, o), eligibilityCreate(env, o), eligibilityRemove(env, o))
}

func eligibilityRow(env *Env, est *estate.Snapshot, el azurerbac.Eligibility) row {
	return grantRow(est, el, el.ID.String(), el.Assigned(el.Principal), env.Now())
}

func allEligibilities(est *estate.Snapshot) []azurerbac.Eligibility {
	var all []azurerbac.Eligibility
	for rec := range est.Records() {
		if el, ok := rec.(azurerbac.Eligibility); ok {
			all = append(all, el)
		}
	}
	return all
}

func eligibilityIDs(est *estate.Snapshot) []string {
	var ids []string
	for _, el := range allEligibilities(est) {
		ids = append(ids, el.ID.String())
	}
	return ids
}

func eligibilityList(env *Env, o *options) *cobra.Command {
	var who, role string
	var p where
	cmd := listing(env, o, "eligibility", []string{"PRINCIPAL", "ROLE", "PLACE", "STATE", "ID", "(SCOPE)"}, &cobra.Command{
		Use: "list", Short: "List eligibilities, all or some",
		Long:    "List eligibilities. --principal shows those of somebody and of the groups he is in; a place shows those at it and above it.",
		Example: "  gatehouse eligibility list --cluster aks-1\n  gatehouse eligibility list --principal faye@teknews.cloud -o wide", Args: exactly(),
	}, func(est *estate.Snapshot, _ []string) ([]row, error) {
		keep, err := assignmentFilter(est, who, role, &p)
		if err != nil {
			return nil, err
		}
		var rows []row
		for _, el := range allEligibilities(est) {
			if keep(el.Assigned(el.Principal)) {
				rows = append(rows, eligibilityRow(env, est, el))
			}
		}
		return rows, nil
	})
	filterFlags(cmd, env, o, &who, &role, &p)
	return cmd
}

func eligibilityCreate(env *Env, o *options) *cobra.Command {
	var g grantFlags
	cmd := changing(env, o, &cobra.Command{
		Use: "create", Short: "Let somebody activate a role at a place (on a server)",
		Example: `  gatehouse eligibility create --role "Azure Kubernetes Service RBAC Admin" --principal sre --cluster aks-1 --for 720h`,
		Args:    exactly(),
	}, func(est *estate.Snapshot, _ []string) ([]estate.Op, string, error) {
		a, who, err := g.read(est, env.Now())
		if err != nil {
			return nil, "", err
		}
		el := azurerbac.Eligibility{ID: azurerbac.NewEligibilityID(), Scope: a.Scope, Principal: a.Principal, Role: a.Role,
			Condition: a.Condition, ConditionVersion: a.ConditionVersion, NotBefore: a.NotBefore, NotAfter: a.NotAfter, CreatedOn: env.Now().UTC()}
		if err := el.Validate(); err != nil {
			return nil, "", usage("%w", err)
		}
		return []estate.Op{{Put: el}}, fmt.Sprintf("%s may activate role %q at %s by %s", who, roleName(est, el.Role), place(est, el.Scope.String()), el.ID), nil
	})
	g.flags(cmd, env, o)
	return cmd
}

func eligibilityRemove(env *Env, o *options) *cobra.Command {
	return changing(env, o, &cobra.Command{
		Use: "remove ID", Short: "End who may activate a role, and what was activated (on a server)",
		Example: "  gatehouse eligibility remove 0d5e3c0f-9d3a-8a52-9e76-0b5fdd1f1b7e --server https://127.0.0.1:8443",
		Args:    exactly("ID"), ValidArgsFunction: completeArgs(env, o, 0, eligibilityIDs),
	}, func(est *estate.Snapshot, args []string) ([]estate.Op, string, error) {
		text := args[0][strings.LastIndexByte(args[0], '/')+1:]
		var id azurerbac.EligibilityID
		if err := id.UnmarshalText([]byte(text)); err != nil {
			return nil, "", usage("%q is no id of an eligibility: gatehouse eligibility list shows them", text)
		}
		el, ok := est.Eligibility(id)
		if !ok {
			return nil, "", usage("there is no eligibility %s: gatehouse eligibility list shows them", id)
		}
		r := eligibilityRow(env, est, el)
		return withDependents(est, estate.Op{Delete: el.Key()}), fmt.Sprintf("%s may no longer activate role %q at %s", r.cells[0], r.cells[1], r.cells[2]), nil
	})
}
