package azureref_test

import (
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/test/oracle/azureref"
)

func TestAnswer(t *testing.T) {
	t.Parallel()
	const (
		sub     = "/subscriptions/s1"
		rg      = sub + "/resourceGroups/web"
		cluster = rg + "/providers/Microsoft.ContainerService/managedClusters/c1"
		root    = "/providers/Microsoft.Management/managementGroups/root"
		leaf    = "/providers/Microsoft.Management/managementGroups/leaf"
	)
	noon := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	w := azureref.World{
		Groups: map[string][]string{
			"outer": {"inner", "cat"}, "inner": {"ann", "loop"}, "loop": {"inner"}, "exempt": {"inner"},
		},
		Parents: map[string]string{sub: leaf, leaf: root, "/subscriptions/s2": root},
		Roles: map[string]azureref.Role{
			"reader": {Permissions: []azureref.Permission{{Actions: []string{"*/read"}}}},
			"owner":  {Permissions: []azureref.Permission{{Actions: []string{"*"}}}},
			"admin":  {Permissions: []azureref.Permission{{DataActions: []string{"mc/*"}, NotDataActions: []string{"mc/namespaces/*"}}}},
			"spaces": {Permissions: []azureref.Permission{{DataActions: []string{"mc/namespaces/write"}}}},
		},
		Assignments: []azureref.Assignment{
			{Principal: "outer", Role: "reader", Scope: leaf},
			{Principal: "bob", Role: "owner", Scope: rg},
			{Principal: "cat", Role: "admin", Scope: cluster},
			{Principal: "dan", Role: "admin", Scope: cluster},
			{Principal: "dan", Role: "spaces", Scope: cluster},
			{Principal: "eve", Role: "reader", Scope: root, NotBefore: noon, NotAfter: noon.Add(time.Hour)},
		},
		Denies: []azureref.Deny{
			{Scope: rg, Everyone: true, ExcludePrincipals: []string{"exempt"}, Permissions: []azureref.Permission{{Actions: []string{"secret/read"}}}},
			{Scope: rg, Principals: []string{"bob"}, DoNotApplyToChildren: true, Permissions: []azureref.Permission{{Actions: []string{"*/write"}, NotActions: []string{"tags/write"}}}},
		},
	}
	tests := []struct {
		name string
		ask  azureref.Ask
		want string
	}{
		{"through two groups and two management groups", azureref.Ask{Principal: "ann", Scope: cluster, Action: "x/READ"}, azureref.Allow},
		{"in any letter case", azureref.Ask{Principal: "ANN", Scope: "/SUBSCRIPTIONS/s1", Action: "x/read"}, azureref.Allow},
		{"not in a subscription elsewhere", azureref.Ask{Principal: "ann", Scope: "/subscriptions/s2", Action: "x/read"}, azureref.None},
		{"not at the parent", azureref.Ask{Principal: "ann", Scope: root, Action: "x/read"}, azureref.None},
		{"not by a prefix of a name (AZ-01)", azureref.Ask{Principal: "bob", Scope: sub + "/resourceGroups/web2", Action: "x/read"}, azureref.None},
		{"not above", azureref.Ask{Principal: "bob", Scope: sub, Action: "x/read"}, azureref.None},
		{"the planes are apart (AZ-09)", azureref.Ask{Principal: "bob", Scope: cluster, Action: "mc/pods/read", Data: true}, azureref.None},
		{"an exception takes away", azureref.Ask{Principal: "cat", Scope: cluster, Action: "mc/namespaces/write", Data: true}, azureref.None},
		{"another role gives it back (AZ-07)", azureref.Ask{Principal: "dan", Scope: cluster, Action: "mc/namespaces/write", Data: true}, azureref.Allow},
		{"a deny assignment wins (AZ-08)", azureref.Ask{Principal: "bob", Scope: cluster, Action: "secret/read"}, azureref.Denied},
		{"it denies who has nothing", azureref.Ask{Principal: "zoe", Scope: cluster, Action: "secret/read"}, azureref.Denied},
		{"but not whom it excludes, by a nested group", azureref.Ask{Principal: "ann", Scope: cluster, Action: "secret/read"}, azureref.Allow},
		{"without children it denies the scope", azureref.Ask{Principal: "bob", Scope: rg, Action: "vm/write"}, azureref.Denied},
		{"and not the children", azureref.Ask{Principal: "bob", Scope: cluster, Action: "vm/write"}, azureref.Allow},
		{"its own exceptions hold", azureref.Ask{Principal: "bob", Scope: rg, Action: "tags/write"}, azureref.Allow},
		{"from the beginning", azureref.Ask{Principal: "eve", Scope: sub, Action: "x/read", Now: noon}, azureref.Allow},
		{"not before", azureref.Ask{Principal: "eve", Scope: sub, Action: "x/read", Now: noon.Add(-1)}, azureref.None},
		{"not at the end", azureref.Ask{Principal: "eve", Scope: sub, Action: "x/read", Now: noon.Add(time.Hour)}, azureref.None},
		{"no action is nothing", azureref.Ask{Principal: "bob", Scope: rg}, azureref.None},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := azureref.Answer(w, tt.ask); got != tt.want {
				t.Errorf("%+v is %s, want %s", tt.ask, got, tt.want)
			}
		})
	}
}
