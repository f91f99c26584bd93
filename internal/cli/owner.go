package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
)

func newOwner(env *Env, o *options) *cobra.Command {
	return words("owner", "List and change who owns groups and programs", "An owner may change what he owns: its members, its credentials, who else owns it. He may not give more than he could give by himself.",
		`  gatehouse owner list dev-team
  gatehouse owner add deploy-bot faye@teknews.cloud --server https://127.0.0.1:8443`,
		ownerList(env, o),
		ownerChange(env, o, "add", "Make somebody an owner (on a server)"),
		ownerChange(env, o, "remove", "Make somebody no longer an owner (on a server)"))
}

// objects are the names of what is in a directory.
func objects(est *estate.Snapshot) []string {
	names := principals(est)
	for a := range est.Applications() {
		names = append(names, a.DisplayName)
	}
	return names
}

// owned are the names of what can be owned.
func owned(est *estate.Snapshot) []string {
	var names []string
	for p := range est.Principals() {
		if p.Kind == principal.Group || p.Kind == principal.ServicePrincipal {
			names = append(names, p.Name)
		}
	}
	for a := range est.Applications() {
		names = append(names, a.DisplayName)
	}
	return names
}

// findObject looks up something in a directory by name or object id. A name that
// an application shares with its own service principal is the application's.
func findObject(est *estate.Snapshot, name string) (principal.ID, error) {
	if id, err := principal.ParseID(name); err == nil {
		return id, nil
	}
	if u, ok := est.UserByName(name); ok {
		return u.ID, nil
	}
	var found []principal.ID
	apps := make(map[directory.AppID]bool)
	for a := range est.Applications() {
		if strings.EqualFold(a.DisplayName, name) {
			found, apps[a.AppID] = append(found, a.ID), true
		}
	}
	for _, p := range est.Named(name) {
		if sp, ok := est.ServicePrincipal(p.ID); !ok || !apps[sp.AppID] {
			found = append(found, p.ID)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return principal.ID{}, unknown("nothing in the directory is called", name, "gatehouse group list and gatehouse app list show what there is", values(objects(est)))
	}
	var ids []string
	for _, id := range found {
		ids = append(ids, fmt.Sprintf("%s (%s)", id, objectName(est, id)))
	}
	slices.Sort(ids)
	return principal.ID{}, usage("%q is the name of %d things: write one of their object ids: %s", name, len(found), strings.Join(ids, ", "))
}

func ownerList(env *Env, o *options) *cobra.Command {
	return listing(env, o, "owner", []string{"OBJECT", "OWNER", "(OBJECT ID)", "(OWNER ID)"}, &cobra.Command{
		Use: "list [OBJECT]", Short: "List who owns what", Example: "  gatehouse owner list\n  gatehouse owner list dev-team", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: completeArgs(env, o, 0, owned),
	}, func(est *estate.Snapshot, args []string) ([]row, error) {
		var only principal.ID
		if len(args) > 0 {
			var err error
			if only, err = findObject(est, args[0]); err != nil {
				return nil, err
			}
		}
		var rows []row
		for rec := range est.Records() {
			own, ok := rec.(directory.Ownership)
			if !ok || !only.IsZero() && own.Object != only {
				continue
			}
			what, who := objectName(est, own.Object), names(est, []principal.ID{own.Owner})
			rows = append(rows, row{own, what + " " + who, []string{what, who, own.Object.String(), own.Owner.String()}})
		}
		return rows, nil
	})
}

func ownerChange(env *Env, o *options, verb, short string) *cobra.Command {
	return changing(env, o, &cobra.Command{
		Use: verb + " OBJECT WHO", Short: short, Args: exactly("OBJECT", "WHO"),
		Long:    short + ".\n\nOBJECT is an application, a service principal or a group, by name or object id.\nA name that an application shares with its service principal is the application's.",
		Example: fmt.Sprintf("  gatehouse owner %s dev-team faye@teknews.cloud --server https://127.0.0.1:8443", verb),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, start string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return completeArgs(env, o, 0, owned)(cmd, args, start)
			}
			return completeArgs(env, o, 1, people)(cmd, args, start)
		},
	}, func(est *estate.Snapshot, args []string) ([]estate.Op, string, error) {
		object, err := findObject(est, args[0])
		if err != nil {
			return nil, "", err
		}
		p, err := findPrincipal(est, args[1])
		if err != nil {
			return nil, "", err
		}
		own, what := directory.Ownership{Object: object, Owner: p.ID}, objectName(est, object)
		_, is := est.Get(own.Key())
		switch {
		case verb == "add" && is:
			return nil, "", usage("%s owns %s already", p.Name, what)
		case verb == "add":
			return []estate.Op{{Put: own}}, fmt.Sprintf("%s owns %s", p.Name, what), nil
		case !is:
			return nil, "", usage("%s does not own %s", p.Name, what)
		}
		return []estate.Op{{Delete: own.Key()}}, fmt.Sprintf("%s no longer owns %s", p.Name, what), nil
	})
}
