package live

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/manifest/nearest"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

// attaching are the flags of cluster attach.
type attaching struct {
	flavour, group, webhook, out, why string
	admins                            []string
	azure, force, make                bool
}

func newAttach(env *cli.Env) *cobra.Command {
	var a attaching
	cmd := &cobra.Command{
		Use:   "attach NAME --flavour F --resource-group G --webhook-url URL --out DIR",
		Short: "Write everything that an existing cluster needs to ask the house (on a server)",
		Long: `Attach a cluster that others run: make its record, issue the certificate by which
its API server proves to the house which cluster it is, and write into a new folder
the configuration files, certificates and RBAC objects that it needs, with a README
that says where they go. Nothing is done to the cluster itself.

Repeated for a cluster that is attached, it issues another certificate and writes
the files anew.`,
		Example: `  gatehouse cluster attach edge-1 --flavour k3s --resource-group rg-edge --webhook-url https://gatehouse.example:8444 --azure-rbac --out ./edge-1
  gatehouse cluster attach dev --flavour kind --resource-group rg-dev --make-resource-group --webhook-url https://192.168.1.5:8444 --admin-group k8s-admins --out ./dev`,
		Args: cli.Exactly("NAME"),
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			c, err := reach(cmd, env)
			if err != nil {
				return err
			}
			return a.run(cmd.Context(), env, &remote{c}, args[0])
		}),
	}
	f := cmd.Flags()
	f.StringVar(&a.flavour, "flavour", "", "how the cluster was set up: kubeadm, k3s or kind")
	f.StringVar(&a.group, "resource-group", "", "name or scope of the resource `group` that it is to be in")
	f.BoolVar(&a.make, "make-resource-group", false, "make the resource group, and a subscription, if they are missing")
	f.StringVar(&a.webhook, "webhook-url", "", "`URL` by which the cluster's control plane reaches the house's webhooks")
	f.StringArrayVar(&a.admins, "admin-group", nil, "`group` whose members become cluster-admin; may be repeated")
	f.BoolVar(&a.azure, "azure-rbac", false, "let role assignments grant access to the cluster")
	f.StringVar(&a.out, "out", "", "`folder` to write, which must be new or empty")
	f.BoolVar(&a.force, "force", false, "write into a folder that has something in it")
	f.StringVar(&a.why, "why", "", "`reason`, for the audit log")
	for _, name := range []string{"flavour", "resource-group", "webhook-url", "out"} {
		must(cmd.MarkFlagRequired(name))
	}
	cli.CompleteFlag(cmd, env, "admin-group", cli.Groups)
	cli.CompleteFlag(cmd, env, "resource-group", resourceGroupNames)
	must(cmd.RegisterFlagCompletionFunc("flavour", cobra.FixedCompletions(flavours(), cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.RegisterFlagCompletionFunc("out", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}))
	return cmd
}

// must panics over a flag that is not there.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func flavours() []string {
	var names []string
	for _, f := range cluster.Flavours() {
		names = append(names, string(f))
	}
	return names
}

func (a *attaching) run(ctx context.Context, env *cli.Env, r *remote, name string) error {
	if err := a.check(name); err != nil {
		return err
	}
	est, err := r.Snapshot(ctx)
	if err != nil {
		return err
	}
	rec, ops, err := a.plan(est, name)
	if err != nil {
		return err
	}
	rev := est.Revision()
	if len(ops) > 0 {
		why := a.why
		if why == "" {
			why = "gatehouse cluster attach"
		}
		if rev, err = r.Commit(ctx, why, ops, est.Revision()); err != nil {
			return err
		}
	}
	got, err := r.Attach(ctx, rec.Scope)
	if err != nil {
		return err
	}
	files, err := cluster.Attach(a.config(rec, got))
	if err != nil {
		return err
	}
	if err := writeFiles(a.out, files); err != nil {
		return err
	}
	fmt.Fprintf(env.Stdout, "cluster %s attached as %s, in force at revision %d\n", rec.Name, rec.Scope, rev)
	fmt.Fprintf(env.Stdout, "%d files in %s\n\nNext:\n", len(files), a.out)
	fmt.Fprintf(env.Stdout, "  1. do what %s says, on the control plane\n", filepath.Join(a.out, "README.md"))
	fmt.Fprintf(env.Stdout, "  2. gatehouse cluster set %s --endpoint URL --ca-file FILE, so that gatehouse kubeconfig %s works\n", rec.Name, rec.Name)
	fmt.Fprintf(env.Stdout, "  3. gatehouse cluster doctor %s --config %s/gatehouse --kubeconfig ADMIN-KUBECONFIG\n", rec.Name, a.out)
	fmt.Fprintf(env.Stdout, "Keep %s as secret as the API server's own key.\n", filepath.Join(a.out, "gatehouse", "house-client.key"))
	return nil
}

// check refuses what can be seen to be wrong before anything is changed.
func (a *attaching) check(name string) error {
	if !slices.Contains(flavours(), a.flavour) {
		hint := strings.Join(flavours(), ", ")
		if near := nearest.Names(a.flavour, slices.Values(flavours()), 1); near != nil {
			hint = "did you mean " + near[0] + "? There are " + hint
		}
		return cli.Usage("--flavour %s is none that can be attached: %s", a.flavour, hint)
	}
	u, err := url.Parse(a.webhook)
	if err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return cli.Usage("--webhook-url %s is no URL of a webhook listener: write it like https://gatehouse.example:8444", a.webhook)
	}
	a.webhook = u.Scheme + "://" + u.Host
	// The files can be made before the cluster is: what is wrong with them shows now.
	trial := a.config(resource.Cluster{Name: name}, wire.Attachment{TokenReview: "/t", SubjectAccessReview: "/s", CA: "x", ClientCert: "x", ClientKey: "x"})
	if _, err := cluster.Attach(trial); err != nil {
		return cli.Usage("%w", err)
	}
	entries, err := os.ReadDir(a.out)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return cli.Usage("--out: %w", err)
	}
	if len(entries) > 0 && !a.force {
		return cli.Usage("--out %s is not empty: name a new folder, or write over what is there with --force", a.out)
	}
	return nil
}

func (a *attaching) config(rec resource.Cluster, got wire.Attachment) cluster.AttachConfig {
	return cluster.AttachConfig{
		Name: rec.Name, Flavour: cluster.Flavour(a.flavour), AdminGroups: rec.AdminGroups,
		House: cluster.House{
			TokenReview: a.webhook + got.TokenReview, SubjectAccessReview: a.webhook + got.SubjectAccessReview,
			CA: []byte(got.CA), ClientCert: []byte(got.ClientCert), ClientKey: []byte(got.ClientKey),
		},
	}
}

// plan returns the cluster as it is to be, and what it takes to make it so.
func (a *attaching) plan(est *estate.Snapshot, name string) (resource.Cluster, []estate.Op, error) {
	group, tenant, ops, err := a.resourceGroup(est)
	if err != nil {
		return resource.Cluster{}, nil, err
	}
	at, err := scope.Parse(group.Scope.String() + "/providers/Microsoft.ContainerService/managedClusters/" + name)
	if err != nil || at.Name() != strings.ToLower(name) {
		return resource.Cluster{}, nil, cli.Usage("%q is no name of a cluster: it has letters from A to Z, digits and %s alone", name, scope.Signs)
	}
	rec, known := est.Cluster(at)
	if known && !rec.Attached {
		return rec, nil, cli.Usage("cluster %s is run by the house: there is nothing to attach", rec.Name)
	}
	if !known {
		rec = resource.Cluster{Scope: at, Name: name, ResourceGroup: group.Name, Location: group.Location, Tenant: tenant, Attached: true}
	}
	next := rec
	next.EntraSignIn = true
	next.AzureRBAC = rec.AzureRBAC || a.azure
	if len(a.admins) > 0 {
		if next.AdminGroups, err = findGroups(est, a.admins); err != nil {
			return rec, nil, err
		}
	}
	if !known || next.EntraSignIn != rec.EntraSignIn || next.AzureRBAC != rec.AzureRBAC || !slices.Equal(next.AdminGroups, rec.AdminGroups) {
		ops = append(ops, estate.Op{Put: next})
	}
	return next, ops, nil
}

func findGroups(est *estate.Snapshot, names []string) ([]principal.ID, error) {
	var ids []principal.ID
	for _, name := range names {
		p, err := cli.FindPrincipal(est, name)
		if err != nil {
			return nil, err
		}
		if p.Kind != principal.Group {
			return nil, cli.Usage("--admin-group %s is no group", name)
		}
		ids = append(ids, p.ID)
	}
	return ids, nil
}

// resourceGroup finds the resource group, or what it takes to make it.
func (a *attaching) resourceGroup(est *estate.Snapshot) (resource.Group, directory.TenantID, []estate.Op, error) {
	var subs []resource.Subscription
	for rec := range est.Records() {
		if r, ok := rec.(resource.Subscription); ok {
			subs = append(subs, r)
		}
	}
	found := findResourceGroups(est, a.group)
	switch {
	case len(found) > 1:
		return resource.Group{}, directory.TenantID{}, nil, severalGroups(a.group, found)
	case len(found) == 1:
		sub, _ := scope.Parse(subscriptionOf(found[0].Scope))
		s, ok := est.Subscription(sub)
		if !ok {
			return found[0], directory.TenantID{}, nil, cli.Usage("you may not read subscription %s, which says whose tokens the cluster accepts", sub)
		}
		return found[0], s.Tenant, nil, nil
	case !a.make || strings.HasPrefix(a.group, "/"):
		hint := "make it with --make-resource-group"
		if near := nearest.Names(a.group, slices.Values(resourceGroupNames(est)), 1); near != nil {
			hint = fmt.Sprintf("did you mean %q? Or %s", near[0], hint)
		}
		return resource.Group{}, directory.TenantID{}, nil, cli.Usage("there is no resource group %q: %s", a.group, hint)
	}
	return makeGroup(est, subs, a.group)
}

// makeGroup plans a resource group in the only subscription, or in a new one.
func makeGroup(est *estate.Snapshot, subs []resource.Subscription, name string) (resource.Group, directory.TenantID, []estate.Op, error) {
	var ops []estate.Op
	switch len(subs) {
	case 0:
		tenants := slices.Collect(est.Tenants())
		if len(tenants) != 1 {
			return resource.Group{}, directory.TenantID{}, nil, cli.Usage("there are %d tenants and no subscription: make a subscription with gatehouse apply, which says which tenant it trusts", len(tenants))
		}
		at, err := scope.Parse("/subscriptions/" + principal.NewID().String())
		if err != nil {
			return resource.Group{}, directory.TenantID{}, nil, err
		}
		subs = []resource.Subscription{{Scope: at, Tenant: tenants[0].ID, DisplayName: "attached clusters"}}
		ops = append(ops, estate.Op{Put: subs[0]})
	case 1:
	default:
		return resource.Group{}, directory.TenantID{}, nil, cli.Usage("there are %d subscriptions: make the resource group with gatehouse apply, which says in which", len(subs))
	}
	at, err := scope.Parse(subs[0].Scope.String() + "/resourceGroups/" + name)
	if err != nil || at.Name() != strings.ToLower(name) {
		return resource.Group{}, directory.TenantID{}, nil, cli.Usage("%q is no name of a resource group: it has up to 90 letters from A to Z, digits and %s, the last no dot", name, scope.Signs)
	}
	group := resource.Group{Scope: at, Name: name}
	return group, subs[0].Tenant, append(ops, estate.Op{Put: group}), nil
}

func resourceGroupNames(est *estate.Snapshot) []string {
	var names []string
	for rec := range est.Records() {
		if g, ok := rec.(resource.Group); ok {
			names = append(names, groupLabel(g))
		}
	}
	return names
}

// findResourceGroups returns the resource groups with a name or scope.
func findResourceGroups(est *estate.Snapshot, name string) []resource.Group {
	var found []resource.Group
	for rec := range est.Records() {
		if g, ok := rec.(resource.Group); ok && (strings.EqualFold(groupLabel(g), name) || g.Scope.String() == strings.ToLower(name)) {
			found = append(found, g)
		}
	}
	return found
}

func severalGroups(name string, found []resource.Group) error {
	return cli.Usage("%d resource groups are called %q: name one by its scope, such as %s", len(found), name, found[0].Scope)
}

func groupLabel(g resource.Group) string {
	if g.Name != "" {
		return g.Name
	}
	return g.Scope.Name()
}

// subscriptionOf is the scope of the subscription that a resource group is in.
func subscriptionOf(group scope.Scope) string {
	before, _, _ := strings.Cut(group.String(), "/resourcegroups/")
	return before
}

// writeFiles writes what a cluster needs. Only the owner can read any of it.
func writeFiles(dir string, files cluster.Files) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		// A file that others could read keeps its mode when it is written over.
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := os.WriteFile(path, files[name], 0o600); err != nil {
			return err
		}
	}
	return nil
}
