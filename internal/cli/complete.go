package cli

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
)

// Names for the shell to complete, out of the estate that is asked.

func people(est *estate.Snapshot) []string {
	var names []string
	for p := range est.Principals() {
		if p.Kind != principal.Group {
			names = append(names, p.Name)
		}
	}
	return names
}

func principals(est *estate.Snapshot) []string {
	var names []string
	for p := range est.Principals() {
		names = append(names, p.Name)
	}
	return names
}

func groups(est *estate.Snapshot) []string {
	var names []string
	for p := range est.Principals() {
		if p.Kind == principal.Group {
			names = append(names, p.Name)
		}
	}
	return names
}

func clusters(est *estate.Snapshot) []string {
	var names []string
	for c := range est.Clusters() {
		names = append(names, clusterName(c))
	}
	return names
}

func roles(est *estate.Snapshot) []string {
	var names []string
	for r := range est.Definitions() {
		names = append(names, r.RoleName)
	}
	return names
}

func namespaces(est *estate.Snapshot) []string {
	set := map[string]bool{"default": true, "kube-system": true}
	for rec := range est.Records() {
		switch r := rec.(type) {
		case kuberbac.Role:
			set[r.Namespace] = true
		case kuberbac.Binding:
			set[r.Namespace] = true
		case azurerbac.Assignment:
			if _, ns, ok := r.Scope.CutNamespace(); ok {
				set[ns] = true
			}
		}
	}
	delete(set, "")
	return slices.Collect(maps.Keys(set))
}

func scopes(est *estate.Snapshot) []string {
	set := make(map[string]bool)
	for _, name := range domains(est) {
		set[name] = true
	}
	for rec := range est.Records() {
		switch r := rec.(type) {
		case resource.ManagementGroup:
			set[r.Scope.String()] = true
		case resource.Subscription:
			set[r.Scope.String()] = true
		case resource.Group:
			set[r.Scope.String()] = true
		case resource.Cluster:
			set[r.Scope.String()] = true
		case azurerbac.Assignment:
			set[r.Scope.String()] = true
		}
	}
	return slices.Collect(maps.Keys(set))
}

func domains(est *estate.Snapshot) []string {
	var names []string
	for t := range est.Tenants() {
		names = append(names, t.Domains...)
	}
	return names
}

func assignmentIDs(est *estate.Snapshot) []string {
	var ids []string
	for rec := range est.Records() {
		if a, ok := rec.(azurerbac.Assignment); ok {
			ids = append(ids, a.ID.String())
		}
	}
	return ids
}

// completeFlag makes the shell complete a flag from the estate. Whatever goes
// wrong, the shell offers nothing and says nothing.
func completeFlag(cmd *cobra.Command, env *Env, o *options, flag string, names func(*estate.Snapshot) []string) {
	mustComplete(cmd.RegisterFlagCompletionFunc(flag, completion(env, o, names)))
}

// completeArgs does the same for the argument at a position.
func completeArgs(env *Env, o *options, at int, names func(*estate.Snapshot) []string) cobra.CompletionFunc {
	complete := completion(env, o, names)
	return func(cmd *cobra.Command, args []string, start string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) != at {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, args, start)
	}
}

func completion(env *Env, o *options, names func(*estate.Snapshot) []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, start string) ([]cobra.Completion, cobra.ShellCompDirective) {
		_, est, err := o.look(cmd.Context(), env)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return matching(names(est), start), cobra.ShellCompDirectiveNoFileComp
	}
}

// matching returns the names that begin as written, in any letter case, in order.
func matching(names []string, start string) []string {
	var out []string
	for _, name := range names {
		if len(name) >= len(start) && strings.EqualFold(name[:len(start)], start) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// completeKube completes VERB and RESOURCE.
func completeKube(_ *cobra.Command, args []string, start string) ([]cobra.Completion, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return matching(kubeVerbs, start), cobra.ShellCompDirectiveNoFileComp
	case 1:
		var names []string
		for _, r := range kubeResources {
			names = append(names, r.name)
		}
		return matching(names, start), cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}
