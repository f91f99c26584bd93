package store_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/alert"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

var (
	kubeletAt = scope.MustParse("/subscriptions/50000000-0000-4000-8000-000000000001/resourceGroups/mc/providers/Microsoft.ManagedIdentity/userAssignedIdentities/aks-agentpool")
	kubelet   = directory.ManagedIdentity{ID: principal.ID{9}, ClientID: directory.AppID{9}, Tenant: tenant.ID, Resource: kubeletAt, DisplayName: "aks-agentpool"}
	aks       = resource.Cluster{
		Scope: scope.MustParse("/subscriptions/50000000-0000-4000-8000-000000000001/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/aks"),
		Name:  "aks", ResourceGroup: "rg", Tenant: tenant.ID, KubeletIdentity: resource.IdentityRef{Resource: kubeletAt, Object: kubelet.ID},
	}
	sighting = alert.Alert{Identity: kubelet.ID, Resource: kubeletAt, Clusters: []scope.Scope{aks.Scope}, Way: alert.Federated, From: "https://ci.example", Detail: "s"}
)

// alertsOf returns the alerts in the audit log, in order, by the number of their record.
func alertsOf(t *testing.T, s *store.Store) (all []alert.Alert, records int) {
	t.Helper()
	for r, err := range s.Audit(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		all, records = append(all, r.Alerts...), records+1
	}
	if n, err := s.VerifyAudit(t.Context()); err != nil || n != int64(records) {
		t.Fatalf("VerifyAudit = %d, %v, want %d", n, err, records)
	}
	return all, records
}

func TestAnAlertIsWrittenOnceAnHour(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now := noon
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	ahead := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = now.Add(d) }
	s := open(t, new(store.Memory), func(c *store.Config) { c.Now, c.MaxAge = clock, 1e5*time.Hour })
	tell := func(a alert.Alert) {
		t.Helper()
		if err := s.Alert(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for range 50 { // a loop, or many workers at once
		wg.Go(func() { tell(sighting) })
	}
	wg.Wait()
	second, elsewhere, another := sighting, sighting, sighting
	second.Detail = "another subject of the same issuer"
	elsewhere.From = "https://other.example"
	another.Way = alert.Review
	for _, a := range []alert.Alert{second, elsewhere, another} {
		tell(a)
	}
	want := []alert.Alert{sighting, elsewhere, another}
	got, records := alertsOf(t, s)
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b scope.Scope) bool { return a == b })); diff != "" || records != 3 {
		t.Errorf("%d records (-want +got):\n%s", records, diff)
	}
	ahead(store.AlertEvery - time.Second)
	tell(sighting)
	if got, _ := alertsOf(t, s); len(got) != 3 {
		t.Errorf("within the hour: %d alerts", len(got))
	}
	ahead(time.Second)
	tell(sighting)
	if got, _ := alertsOf(t, s); len(got) != 4 {
		t.Errorf("after an hour: %d alerts, want 4", len(got))
	}
}

// A lost database is a refusal, and is forgotten: the next one is written.
func TestAnAlertThatCannotBeWrittenIsAnError(t *testing.T) {
	t.Parallel()
	kv := &servetest.Outage{Memory: new(store.Memory)}
	s := open(t, kv)
	kv.On.Store(true)
	for range 2 {
		if err := s.Alert(t.Context(), sighting); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("Alert = %v, want %v", err, store.ErrUnavailable)
		}
	}
	kv.On.Store(false)
	if err := s.Alert(t.Context(), sighting); err != nil {
		t.Fatal(err)
	}
	if got, _ := alertsOf(t, s); len(got) != 1 {
		t.Errorf("%d alerts, want 1", len(got))
	}
}

// Whatever door a credential comes through, the alert is in the record of the write.
func TestACredentialForAnIdentityOfAClusterIsAnAlert(t *testing.T) {
	t.Parallel()
	s := open(t, new(store.Memory))
	trust := directory.FederatedCredential{Owner: kubelet.ClientID, Name: "git", Issuer: "https://ci.example", Subject: "repo:x", Audiences: []string{"api://x"}}
	for _, c := range []store.Change{{Ops: put(tenant, kubelet, aks)}, {By: principal.ID{42}, Why: "a credential", Ops: put(trust)}, {Ops: put(user(1, "Ana"))}} {
		if _, err := s.Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for r := range s.Audit(t.Context(), 0) {
		for _, a := range r.Alerts {
			got = append(got, r.Why+": "+string(a.Way)+" "+a.From+" "+a.Detail)
		}
	}
	if diff := cmp.Diff([]string{"a credential: federated credential written https://ci.example git: repo:x"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	alertsOf(t, s)
}
