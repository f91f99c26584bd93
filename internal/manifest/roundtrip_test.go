package manifest_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/identityrequest"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/manifest"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
)

// awkward are texts that a careless writer of YAML would spoil.
var awkward = []string{
	"plain", "yes", "NO", "null", "~", "1", "0x1", "017", "1e3", "true", "- x", "? x", "a: b", "a #b", "#", "[x]", "{x}", "&a", "*a", "!t",
	"'", "\"", "\\", "a\nb", "a\tb", "\u00e9", "\U0001F600", "\u0085", "\ufeffx", "@x", "`x`", "%x", "|", ">", "---", "...", "trailing:", "x y", "<<", "=",
	"2001-01-01", "12:30:45", "00000000-0000-4000-8000-000000000e01",
}

type maker struct{ *rand.Rand }

func (m maker) text() string { return awkward[m.IntN(len(awkward))] }

func (m maker) texts() []string {
	if m.IntN(3) == 0 {
		return nil
	}
	list := []string{} // empty and missing lists are two things
	for range m.IntN(3) {
		list = append(list, m.text())
	}
	return list
}

func id[T ~[16]byte](n int) T {
	var v T
	copy(v[:], fmt.Sprintf("%016d", n))
	return v
}

func (m maker) when() time.Time {
	if m.IntN(2) == 0 {
		return time.Time{}
	}
	return time.Unix(m.Int64N(1<<32), m.Int64N(1e9)).UTC()
}

// object makes an object that the reader keeps as it is.
func (m maker) object() resource.Properties {
	in := map[string]any{m.text(): m.text(), "n": m.IntN(1e6), "f": 1.5, "none": nil, "list": []any{[]any{m.text(), []any{}}, map[string]any{}, true, nil, map[string]any{m.text(): []string{m.text()}}}}
	data, err := json.Marshal(in)
	if err != nil {
		panic(err)
	}
	out, err := resource.ParseProperties(data)
	if err != nil {
		panic(err)
	}
	return out
}

// record makes a record of any kind that the reader accepts.
func (m maker) record(n int) record.Record {
	tenant := id[directory.TenantID](1)
	cluster := scope.MustParse("/subscriptions/30000000-0000-4000-8000-000000000001/resourcegroups/rg/providers/microsoft.containerservice/managedclusters/c1")
	switch m.IntN(21) {
	case 0:
		return directory.User{ID: id[principal.ID](n), Tenant: tenant, UserPrincipalName: fmt.Sprintf("u%d@x.example", n), Mail: m.text(), Disabled: m.IntN(2) == 0,
			TokensValidFrom: m.when(), Attributes: map[string][]string{"Set_" + m.text(): {m.text()}, m.text(): {}}}
	case 1:
		return directory.Group{ID: id[principal.ID](m.IntN(20)), Tenant: tenant, DisplayName: "g", Description: m.text(), MailNickname: m.text(), RoleAssignable: m.IntN(2) == 0}
	case 2, 3:
		return directory.Membership{Group: id[principal.ID](m.IntN(20) + 1), Member: id[principal.ID](m.IntN(40) + 1)}
	case 4:
		return directory.Application{ID: id[principal.ID](n), AppID: id[directory.AppID](n), Tenant: tenant, DisplayName: "app", TokenVersion: m.IntN(3), IdentifierURIs: m.texts()}
	case 5:
		return directory.FederatedCredential{Owner: id[directory.AppID](n), Name: fmt.Sprintf("cred-%d", n), Issuer: "https://issuer.example/", Subject: "system:serviceaccount:" + fmt.Sprint(n) + ":*?#\"x", Audiences: []string{"api://x y"}}
	case 6:
		return resource.Subscription{Scope: scope.MustParse(fmt.Sprintf("/subscriptions/30000000-0000-4000-8000-%012d", n)), Tenant: tenant, DisplayName: m.text()}
	case 7:
		return resource.Group{Scope: scope.MustParse(fmt.Sprintf("/subscriptions/30000000-0000-4000-8000-000000000001/resourcegroups/g%d", n)), Name: m.text(), Location: m.text()}
	case 8:
		who := resource.IdentityRef{Resource: scope.MustParse(fmt.Sprintf("/subscriptions/30000000-0000-4000-8000-000000000001/resourcegroups/mc/providers/microsoft.managedidentity/userassignedidentities/i%d", n)), Object: id[principal.ID](n)}
		return resource.Cluster{Scope: cluster, UID: id[resource.ClusterID](n), Name: m.text(), Tenant: tenant, EntraSignIn: true, AdminGroups: []principal.ID{id[principal.ID](n)}, RevokedCertificates: m.texts(),
			Tags: record.Tags{"a" + fmt.Sprint(n): m.text()}, KubeletIdentity: who, NodeResourceGroup: m.text(),
			Identity:   resource.ControlIdentity{Type: resource.UserAssigned, Resource: who.Resource, Object: who.Object},
			Addons:     map[string]resource.Addon{"azurepolicy": {Enabled: true, Identity: who}, "other": {Config: m.object()}},
			OIDCIssuer: true, IssuerURL: fmt.Sprintf("https://eastus.oic.prod-aks.azure.com/%d/", n), ServiceAccountKeys: []resource.ServiceAccountKey{{PEM: "a\nb\n", Until: m.when()}},
			Doing: resource.Work{Kind: resource.Update, Operation: id[resource.OperationID](n), Since: time.Unix(1, 0).UTC()}, Failure: resource.Failure{Code: m.text(), Message: m.text()},
			Properties: m.object()}
	case 9:
		return azurerbac.Definition{ID: id[azurerbac.DefinitionID](n), RoleName: "r" + fmt.Sprint(n), Description: m.text(), AssignableScopes: []scope.Scope{cluster},
			Permissions: []azurerbac.Permission{{Actions: []string{"*/read"}, NotActions: []string{}}, {DataActions: []string{"a/b"}}}}
	case 10:
		return azurerbac.Assignment{ID: id[azurerbac.AssignmentID](n), Scope: cluster, Principal: id[principal.ID](n), Role: id[azurerbac.DefinitionID](n), Description: m.text(), CreatedOn: m.when()}
	case 12:
		name := fmt.Sprintf("V%d", n)
		more, err := resource.ParseProperties([]byte(fmt.Sprintf(`{"sku":{"name":%q,"n":[1,-2.50,1e3,1E-2,null,true,[],{}]},"":{}}`, []string{"a", "yes", "012"}[m.IntN(3)])))
		if err != nil {
			panic(err)
		}
		return resource.Other{Scope: scope.MustParse("/subscriptions/30000000-0000-4000-8000-000000000001/resourcegroups/g/providers/Microsoft.KeyVault/vaults/" + name), Name: name,
			Type: "Microsoft.KeyVault/vaults", Tags: record.Tags{m.text(): m.text()}, More: more}
	case 13:
		return directory.ManagedIdentity{ID: id[principal.ID](n), ClientID: id[directory.AppID](n), Tenant: tenant, DisplayName: "mi", Resource: cluster,
			Tags: record.Tags{m.text(): m.text()}, IsolationScope: "Regional"}
	case 14:
		a := directory.RoleAssignment{Principal: id[principal.ID](n), Role: directory.RoleID(id[principal.ID](m.IntN(20) + 1))}
		if m.IntN(2) == 0 {
			a.Object = id[principal.ID](m.IntN(20) + 1)
		}
		return a
	case 15:
		return directory.Ownership{Object: id[principal.ID](n), Owner: id[principal.ID](m.IntN(20) + 1)}
	case 17:
		return azurerbac.Eligibility{ID: id[azurerbac.EligibilityID](n), Scope: cluster, Principal: id[principal.ID](n), Role: id[azurerbac.DefinitionID](n), NotAfter: m.when(), CreatedOn: m.when()}
	case 18:
		return azurerbac.Request{ID: id[azurerbac.RequestID](n), ForEligibility: true, Type: azurerbac.AdminAssign, Status: azurerbac.Provisioned, Scope: cluster, Principal: id[principal.ID](n),
			Role: id[azurerbac.DefinitionID](n), Eligibility: id[azurerbac.EligibilityID](n), Duration: azurerbac.Duration(m.IntN(1e6)+1) * azurerbac.Duration(time.Second), Justification: m.text(), TicketNumber: m.text()}
	case 19:
		return azurerbac.Policy{Scope: cluster, Role: id[azurerbac.DefinitionID](n), Rules: []azurerbac.Rule{
			{ID: "Expiration_EndUser_Assignment", ExpirationRequired: true, Maximum: azurerbac.Duration(m.IntN(86400)+1) * azurerbac.Duration(time.Second)},
			{ID: "Enablement_EndUser_Assignment", Demands: []string{azurerbac.NeedsMFA}},
			{ID: "Approval_EndUser_Assignment", Approval: &azurerbac.Approval{Required: true, Approvers: []azurerbac.Approver{{ID: id[principal.ID](n), Kind: principal.Group, Description: m.text()}}}},
			{ID: "Notification_Admin_Admin_Eligibility", Level: "None", Recipients: m.texts()},
		}}
	case 20:
		r := identityrequest.Request{ID: id[identityrequest.ID](n), Tenant: tenant, Requester: id[principal.ID](n), Cluster: cluster, Namespace: "shop", ServiceAccounts: []string{"web", "1"},
			Identity: scope.MustParse("/subscriptions/30000000-0000-4000-8000-000000000001/resourcegroups/g/providers/microsoft.managedidentity/userassignedidentities/web"),
			New:      identityrequest.New{Name: "Web", Location: m.text(), Roles: []identityrequest.Role{{Role: id[azurerbac.DefinitionID](n), Scope: cluster}}}}
		at := time.Unix(m.Int64N(1<<32)+1, m.Int64N(1e9))
		r, err := r.Ask(at, m.text())
		if err != nil || m.IntN(2) == 0 {
			return r
		}
		r, err = r.Approve(id[principal.ID](n+1), at.Add(time.Hour), m.text(), identityrequest.Given{Object: id[principal.ID](n), Client: id[directory.AppID](n), Issuer: m.text(),
			NotAfter: at.Add(time.Duration(m.IntN(1e6)+1e5) * time.Second).UTC(), Assignments: []azurerbac.AssignmentID{id[azurerbac.AssignmentID](n)}})
		if err != nil {
			panic(err)
		}
		return r
	case 11:
		return kuberbac.Role{Cluster: cluster, Name: fmt.Sprintf("r%d", n), Labels: map[string]string{"a": "b", "c": ""},
			Rules: []kuberbac.Rule{{Verbs: []string{"get", "*"}, APIGroups: []string{""}, Resources: []string{"pods", "*/log"}}, {Verbs: []string{"get"}, NonResourceURLs: []string{"/healthz/*"}}}}
	}
	return kuberbac.Binding{Cluster: cluster, Namespace: "default", Name: fmt.Sprintf("b%d", n), RoleIsCluster: m.IntN(2) == 0, Role: "view",
		Subjects: []kuberbac.Subject{{Kind: kuberbac.User, Name: "a@x.example"}, {Kind: kuberbac.ServiceAccount, Name: "sa", Namespace: "default"}}}
}

func TestWhatIsWrittenReadsBack(t *testing.T) {
	t.Parallel()
	valid := 0
	for seed := range uint64(500) {
		m := maker{rand.New(rand.NewPCG(seed, 1))}
		recs := make(map[record.Key]record.Record)
		for n := range 30 {
			if rec := m.record(n + 1); rec.Validate() == nil {
				recs[rec.Key()] = rec
				valid++
			}
		}
		var list []record.Record
		for _, rec := range recs {
			list = append(list, rec)
		}
		text := encode(t, list)
		back, err := decode(t, text)
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		slices.SortFunc(list, func(a, b record.Record) int {
			return slices.IndexFunc(back, func(r record.Record) bool { return r.Key() == a.Key() }) -
				slices.IndexFunc(back, func(r record.Record) bool { return r.Key() == b.Key() })
		})
		if diff := cmp.Diff(list, back, cmp.Comparer(func(a, b scope.Scope) bool { return a == b }), cmp.Comparer(func(a, b resource.Properties) bool { return a == b })); diff != "" {
			t.Fatalf("seed %d (-written +read):\n%s\n%s", seed, diff, text)
		}
		// The order of the records does not show in the text.
		slices.Reverse(list)
		if again := encode(t, list); again != text {
			t.Fatalf("seed %d: another order makes another text", seed)
		}
	}
	if valid < 10_000 {
		t.Errorf("only %d records were made; the generator has lost touch with what is valid", valid)
	}
}

// FuzzDecode: there is never a record together with an error, and what is read
// can be written and read again as the same.
func FuzzDecode(f *testing.F) {
	f.Add(world, "")
	f.Add(world, "kind: Group\nid: 20000000-0000-4000-8000-00000000000b\ntenant: x.example\ndisplayName: \"a\\u0085b\"\nmembers: [Ana, team]\n")
	f.Add("", "{\"kind\": \"List\", \"items\": []}")
	f.Add("--- {kind: Tenant, id: 10000000-0000-4000-8000-000000000001,\n domains: ['a.b']}\n...\n---\n", "")
	f.Add("kind: KubeBinding\ncluster: c1\nname: x\nrole: view\nroleIsCluster: true\nsubjects: [{kind: User, name: x}]\n", "[]")
	f.Fuzz(func(t *testing.T, yaml, json string) {
		files := manifest.Files{{Name: "a.yaml", Data: []byte(yaml)}, {Name: "b.json", Data: []byte(json)}}
		if json == "" {
			files = files[:1]
		}
		recs, err := manifest.Decode(files.All, nil)
		if err != nil {
			if recs != nil {
				t.Fatalf("%d records together with %v", len(recs), err)
			}
			return
		}
		text := encode(t, recs)
		again, err := decode(t, text)
		if err != nil {
			t.Fatalf("%v, reading back\n%s", err, text)
		}
		if second := encode(t, again); len(recs) != len(again) || second != text {
			t.Fatalf("reads back as %d records, not %d:\n%s\nnot\n%s", len(again), len(recs), second, text)
		}
	})
}
