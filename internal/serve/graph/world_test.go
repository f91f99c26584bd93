package graph_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/directoryrole"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// People with roles of the directory, and nothing in Azure.
var (
	global    = servetest.ID("20000000-0000-4000-8000-0000000000d1")
	userAdm   = servetest.ID("20000000-0000-4000-8000-0000000000d2")
	groupAdm  = servetest.ID("20000000-0000-4000-8000-0000000000d3")
	appAdm    = servetest.ID("20000000-0000-4000-8000-0000000000d4")
	roleAdm   = servetest.ID("20000000-0000-4000-8000-0000000000d5")
	developer = servetest.ID("20000000-0000-4000-8000-0000000000d6")
	helpdesk  = servetest.ID("20000000-0000-4000-8000-0000000000d7")
	nobody    = servetest.ID("20000000-0000-4000-8000-0000000000d8") // a member without any role

	// What Tenant2 has.
	foreignGroup = servetest.ID("30000000-0000-4000-8000-0000000000f1")
	foreignApp   = servetest.ID("41000000-0000-4000-8000-0000000000f1")
	foreignAppID = servetest.ID("41000000-0000-4000-8000-0000000000f2")
	foreignSP    = servetest.ID("40000000-0000-4000-8000-0000000000f1")
)

func roleID(name string) directory.RoleID {
	role, ok := directoryrole.ByName(name)
	if !ok {
		panic("no role " + name)
	}
	return directoryrole.ID(role)
}

func (h *house) put(recs ...record.Record) {
	h.t.Helper()
	var ops []estate.Op
	for _, r := range recs {
		ops = append(ops, estate.Op{Put: r})
	}
	if _, err := h.store.Commit(h.t.Context(), store.Change{Ops: ops, Why: "test"}); err != nil {
		h.t.Fatal(err)
	}
}

// newStaffedHouse is newHouse with those people, and with things of Tenant2.
func newStaffedHouse(t testing.TB) *house {
	h := newHouse(t)
	var recs []record.Record
	for _, p := range []struct {
		id         principal.ID
		name, role string
	}{
		{global, "global", "Global Administrator"}, {userAdm, "users", "User Administrator"}, {groupAdm, "groups", "Groups Administrator"},
		{appAdm, "apps", "Application Administrator"}, {roleAdm, "roles", "Privileged Role Administrator"}, {developer, "developer", "Application Developer"},
		{helpdesk, "helpdesk", "Helpdesk Administrator"}, {nobody, "nobody", ""},
	} {
		recs = append(recs, directory.User{ID: p.id, Tenant: servetest.Tenant, UserPrincipalName: p.name + "@teknews.cloud", DisplayName: p.name})
		if p.role != "" {
			recs = append(recs, directory.RoleAssignment{Principal: p.id, Role: roleID(p.role)})
		}
	}
	h.put(append(recs,
		directory.Group{ID: foreignGroup, Tenant: servetest.Tenant2, DisplayName: "foreign"},
		directory.Application{ID: foreignApp, AppID: directory.AppID(foreignAppID), Tenant: servetest.Tenant2, DisplayName: "foreign"},
		directory.ServicePrincipal{ID: foreignSP, AppID: directory.AppID(foreignAppID), Tenant: servetest.Tenant2, DisplayName: "foreign"},
		directory.RoleAssignment{Principal: servetest.Vicious, Role: directoryrole.GlobalAdministrator},
		directory.Ownership{Object: foreignApp, Owner: servetest.Vicious},
	)...)
	return h
}

func link(id principal.ID) string {
	return `{"@odata.id":"https://graph.microsoft.com/v1.0/directoryObjects/` + id.String() + `"}`
}

// A call is one request and what must come of it.
type call struct {
	name                 string
	who                  principal.ID
	method, target, body string
	status               int
	text                 string // part of the message of a refusal, or of the whole answer
}

// try makes calls one after the other.
func (h *house) try(t *testing.T, calls []call) {
	t.Helper()
	for _, c := range calls {
		t.Run(c.name, func(t *testing.T) {
			h := *h
			h.t = t
			status, out := h.do(c.who, c.method, "/v1.0/"+c.target, c.body, "ConsistencyLevel", "eventual")
			if status != c.status || !strings.Contains(fmt.Sprint(out), c.text) {
				t.Errorf("%s %s answers %d %v, want %d with %q", c.method, c.target, status, out, c.status, c.text)
			}
		})
	}
}
