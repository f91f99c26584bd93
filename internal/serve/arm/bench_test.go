package arm_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/pki"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/store/etcd"
)

// startEtcd runs an embedded etcd until the benchmark ends.
func startEtcd(b *testing.B) store.KV {
	b.Helper()
	now := time.Now()
	ca, err := pki.NewCA("test", now, time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	pair, err := ca.Issue(pki.Leaf{CommonName: "gatehouse", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true, Client: true, Life: time.Hour}, now)
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	files := etcd.Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), CA: filepath.Join(dir, "ca.crt")}
	for path, text := range map[string][]byte{files.Cert: pair.CertPEM, files.Key: pair.KeyPEM, files.CA: ca.CertPEM()} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	srv, err := etcd.Start(b.Context(), etcd.ServerConfig{Dir: b.TempDir(), TLS: files})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(srv.Close)
	kv, err := etcd.Dial(srv.ClientConfig(files))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { kv.Close() })
	return kv
}

// fill gives so many users each a role, a hundred in one namespace of a cluster.
func (h *house) fill(n int) {
	h.t.Helper()
	const chunk = 1000
	for from := 0; from < n; from += chunk {
		var records []record.Record
		for i := from; i < min(n, from+chunk); i++ {
			u := directory.User{ID: resident(i), Tenant: servetest.Tenant, UserPrincipalName: fmt.Sprintf("u%d@teknews.cloud", i)}
			records = append(records, u, residence(i))
		}
		h.put(records...)
	}
}

func resident(i int) principal.ID {
	return servetest.ID(fmt.Sprintf("2b000000-0000-4000-8000-%012d", i))
}

func residence(i int) azurerbac.Assignment {
	at, err := servetest.AKS1.Namespace(fmt.Sprintf("ns-%d", i/100))
	if err != nil {
		panic(err)
	}
	return azurerbac.Assignment{ID: azurerbac.AssignmentID(servetest.ID(fmt.Sprintf("6b000000-0000-4000-8000-%012d", i))),
		Scope: at, Principal: resident(i), PrincipalType: principal.User, Role: servetest.Reader}
}

// listing is the JSON of a list of role assignments, to see what encoding it costs.
type listing struct {
	Value []struct {
		ID         string `json:"id"`
		Name       string `json:"name"`
		Type       string `json:"type"`
		Properties struct {
			RoleDefinitionID string  `json:"roleDefinitionId"`
			PrincipalID      string  `json:"principalId"`
			PrincipalType    string  `json:"principalType"`
			Scope            string  `json:"scope"`
			Condition        *string `json:"condition"`
			ConditionVersion *string `json:"conditionVersion"`
			CreatedOn        string  `json:"createdOn"`
			UpdatedOn        string  `json:"updatedOn"`
			CreatedBy        *string `json:"createdBy"`
			UpdatedBy        *string `json:"updatedBy"`
			Delegated        *string `json:"delegatedManagedIdentityResourceId"`
			Description      *string `json:"description"`
		} `json:"properties"`
	} `json:"value"`
	NextLink string `json:"nextLink,omitzero"`
}

// sizes are how many role assignments there are.
var sizes = []int{10, 1000, 100_000}

// BenchmarkAssignmentCreate makes a role assignment over TLS and the embedded etcd,
// in turns with the bare commit of one, which is the floor.
func BenchmarkAssignmentCreate(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("assignments=%d", n), func(b *testing.B) {
			h := newHouseOn(b, startEtcd(b))
			h.fill(n)
			raw := h.token(root, "https://management.azure.com/")
			next := residence(0)
			next.ID, next.Role = azurerbac.AssignmentID(servetest.ID("6c000000-0000-4000-8000-000000000001")), servetest.Writer
			path := next.Scope.String() + provider + "/roleAssignments/" + next.ID.String() + version
			body := fmt.Sprintf(`{"properties":{"roleDefinitionId":"/providers/Microsoft.Authorization/roleDefinitions/%s","principalId":"%s","principalType":"User"}}`, next.Role, next.Principal)
			again := func() {
				if _, err := h.store.Commit(b.Context(), store.Change{Why: "bench", Ops: []estate.Op{{Delete: next.Key()}}}); err != nil {
					b.Fatal(err)
				}
			}
			var door, floor []time.Duration
			for b.Loop() {
				begun := time.Now()
				if got := h.bearing(raw, http.MethodPut, path, body); got.status != http.StatusCreated {
					b.Fatalf("%d %s", got.status, got.text)
				}
				door = append(door, time.Since(begun))
				again()
				begun = time.Now()
				if _, err := h.store.Commit(b.Context(), store.Change{Why: "bench", Ops: []estate.Op{{Put: next}}}); err != nil {
					b.Fatal(err)
				}
				floor = append(floor, time.Since(begun))
				again()
			}
			compare(b, door, floor, "commit")
		})
	}
}

// BenchmarkAssignmentList lists role assignments over TLS, a page of at most 1,000,
// in turns with the encoding of the same page, which is the floor.
func BenchmarkAssignmentList(b *testing.B) {
	for _, n := range sizes {
		h := newHouse(b)
		h.fill(n)
		raw := h.token(root, "https://management.azure.com/")
		collection := servetest.Group.String() + provider + "/roleAssignments" + version
		inOne := residence(n/2).Scope.String() + provider + "/roleAssignments" + version
		for _, q := range []struct{ name, path string }{
			{"all", collection},
			{"atScope", inOne + "&$filter=atScope()"},
			{"assignee", collection + "&$filter=principalId%20eq%20'" + resident(n/2).String() + "'"},
		} {
			b.Run(fmt.Sprintf("filter=%s/assignments=%d", q.name, n), func(b *testing.B) {
				var page listing
				if got := h.bearing(raw, http.MethodGet, q.path, ""); got.status != http.StatusOK || json.Unmarshal([]byte(got.text), &page) != nil || len(page.Value) == 0 {
					b.Fatalf("%d %s", got.status, got.text)
				}
				var door, floor []time.Duration
				for b.Loop() {
					begun := time.Now()
					if got := h.bearing(raw, http.MethodGet, q.path, ""); got.status != http.StatusOK {
						b.Fatalf("%d %s", got.status, got.text)
					}
					door = append(door, time.Since(begun))
					begun = time.Now()
					if _, err := record.Marshal(page); err != nil {
						b.Fatal(err)
					}
					floor = append(floor, time.Since(begun))
				}
				b.ReportMetric(float64(len(page.Value)), "rows")
				compare(b, door, floor, "encode")
			})
		}
	}
}

// compare reports the medians of two that took turns.
func compare(b *testing.B, door, floor []time.Duration, name string) {
	b.Helper()
	median := func(list []time.Duration) float64 {
		slices.Sort(list)
		return float64(list[len(list)/2].Nanoseconds()) / 1000
	}
	d, f := median(door), median(floor)
	b.ReportMetric(d, "door-µs")
	b.ReportMetric(f, name+"-µs")
	b.ReportMetric(d/f, "x-"+name)
	b.ReportMetric(0, "ns/op") // of both together: it says nothing
}
