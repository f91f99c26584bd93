package arm_test

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/servetest"
)

// answers count what many requests at once came to: "409 RoleAssignmentExists".
type answers struct {
	mu  sync.Mutex
	all map[string]int
}

func (a *answers) note(r reply) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.all == nil {
		a.all = make(map[string]int)
	}
	a.all[strings.TrimSpace(fmt.Sprint(r.status, " ", r.code()))]++
}

// many runs f n times, 64 at once over as many connections.
func many(n int, f func(i int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range 64 {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

func (h *house) auditOf(id string) int {
	h.t.Helper()
	n := 0
	for r, err := range h.store.Audit(h.t.Context(), 0) {
		if err != nil {
			h.t.Fatal(err)
		}
		for _, c := range r.Changes {
			if c.Kind == record.RoleAssignment && c.Parts[0] == id {
				n++
			}
		}
	}
	return n
}

// ARM-02: of 1,000 writes of one assignment at once, over TLS, one makes it and all
// others find that it is there; of those that would make it another one, none is
// taken.
func TestAThousandWritesOfOneAssignment(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	path := servetest.Group.String() + provider + "/roleAssignments/" + number(9) + version
	same, other := assign(owner, servetest.Faye, ""), assign(owner, servetest.Jet, "")
	if got := h.call(ownerRG, "PUT", path, same); got.status != 201 {
		t.Fatalf("%+v", got)
	}
	raw := h.token(ownerRG, "https://management.azure.com/")
	var got answers
	many(1000, func(i int) {
		body := same
		if i%10 == 0 {
			body = other
		}
		got.note(h.bearing(raw, "PUT", path, body))
	})
	if got.all["201"] != 900 || got.all["400 RoleAssignmentUpdateNotPermitted"] != 100 {
		t.Errorf("%v", got.all)
	}
	if n := len(h.store.Current().AssignmentsOf(servetest.Faye)); n != 1 {
		t.Errorf("%d assignments", n)
	}
	if n := h.auditOf(number(9)); n != 1 {
		t.Errorf("the audit log has %d writes of it", n)
	}
}

// ARM-02: 1,000 at once who were not there before, some of whom want something else:
// one kind wins, one write is made, and nobody is told that he wrote what is not there.
func TestAThousandRivalsForOneAssignment(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	path := servetest.Group.String() + provider + "/roleAssignments/" + number(9) + version
	raw := h.token(ownerRG, "https://management.azure.com/")
	var first, second answers
	many(1000, func(i int) {
		if i%2 == 0 {
			first.note(h.bearing(raw, "PUT", path, assign(owner, servetest.Faye, "")))
		} else {
			second.note(h.bearing(raw, "PUT", path, assign(owner, servetest.Jet, "")))
		}
	})
	won, lost := &first, &second
	if first.all["201"] == 0 {
		won, lost = lost, won
	}
	if won.all["201"] != 500 || lost.all["400 RoleAssignmentUpdateNotPermitted"] != 500 {
		t.Errorf("%v, %v", first.all, second.all)
	}
	if n := h.auditOf(number(9)); n != 1 {
		t.Errorf("the audit log has %d writes of it", n)
	}
}

// ARM-02: of 1,000 assignments of one role to one person at one place, under names of
// their own, one is made and all others are told that it exists, and which it is.
func TestAThousandNamesForOneAssignment(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	raw := h.token(ownerRG, "https://management.azure.com/")
	var got answers
	var mu sync.Mutex
	made, said := "", make(map[string]int)
	many(1000, func(i int) {
		r := h.bearing(raw, "PUT", servetest.Group.String()+provider+"/roleAssignments/"+number(1000+i)+version, assign(owner, servetest.Faye, ""))
		got.note(r)
		mu.Lock()
		defer mu.Unlock()
		if r.status == 201 {
			made = strings.ReplaceAll(number(1000+i), "-", "")
		} else if _, id, ok := strings.Cut(r.text, "The ID of the existing role assignment is "); ok {
			said[id[:32]]++
		}
	})
	if got.all["201"] != 1 || got.all["409 RoleAssignmentExists"] != 999 || said[made] != 999 {
		t.Errorf("%v; %s was made, and named by %v", got.all, made, said)
	}
	if list := h.store.Current().AssignmentsOf(servetest.Faye); len(list) != 1 {
		t.Errorf("%d assignments", len(list))
	}
}

// ARM-02: of 1,000 assignments to as many people at once none is lost, and each is
// there for the one who made it as soon as he is told so.
func TestAThousandAssignmentsAreNotLost(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var people []record.Record
	for i := range 1000 {
		people = append(people, directory.User{ID: servetest.ID(number(3000 + i)), Tenant: servetest.Tenant, UserPrincipalName: fmt.Sprintf("u%d@teknews.cloud", i)})
	}
	h.put(people[:500]...)
	h.put(people[500:]...)
	raw := h.token(ownerRG, "https://management.azure.com/")
	many(1000, func(i int) {
		path := servetest.Group.String() + provider + "/roleAssignments/" + number(5000+i) + version
		if got := h.bearing(raw, "PUT", path, assign(owner, servetest.ID(number(3000+i)), "")); got.status != 201 {
			t.Errorf("%d: %d %s", i, got.status, got.text)
		}
		if got := h.bearing(raw, "GET", path, ""); got.status != 200 {
			t.Errorf("%d is not there for its maker: %d %s", i, got.status, got.text)
		}
	})
	for i := range 1000 {
		if n := len(h.store.Current().AssignmentsOf(servetest.ID(number(3000 + i)))); n != 1 {
			t.Errorf("person %d has %d assignments", i, n)
		}
	}
}

// ARM-15 under load: groups are deleted while others make things in them and give
// roles there. Nothing is left behind in a group that is gone, and what was
// acknowledged in one that is there is there.
func TestNothingIsLeftInGroupsThatGo(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	raw := h.token(root, "https://management.azure.com/")
	var got answers
	do := func(method, path, body string) reply {
		r := h.bearing(raw, method, path+version, body)
		got.note(r)
		if r.status >= 500 {
			t.Errorf("%s %s: %d %s", method, path, r.status, r.text)
		}
		return r
	}
	group := func(i int) string { return servetest.Subscription.String() + "/resourceGroups/load" + fmt.Sprint(i%8) }
	many(800, func(i int) {
		at := group(i / 5)
		switch i % 5 {
		case 0:
			do("PUT", at, `{"location":"westeurope"}`)
		case 1:
			do("PUT", at+"/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mi-"+fmt.Sprint(i), `{"location":"westeurope"}`)
		case 2:
			do("PUT", at+"/providers/Microsoft.Network/virtualNetworks/net", `{"location":"westeurope","properties":{"addressSpace":{"addressPrefixes":["10.0.0.0/8"]},"subnets":[{"name":"a","properties":{"addressPrefix":"10.0.0.0/16"}}]}}`)
		case 3:
			do("PUT", at+provider+"/roleAssignments/"+number(20000+i), assign(servetest.Reader.String(), servetest.Faye, ""))
		case 4:
			if i%3 == 0 {
				do("DELETE", at, "")
			}
		}
	})
	est := h.store.Current()
	inGroup := func(at scope.Scope) {
		rg, ok := at.ResourceGroup()
		if !ok || !strings.HasPrefix(rg.Name(), "load") {
			return
		}
		if _, there := est.ResourceGroup(rg); !there {
			t.Errorf("%s is left without its group", at)
		}
	}
	n := 0
	for r := range est.Records() {
		n++
		switch r := r.(type) {
		case resource.Other:
			inGroup(r.Scope)
		case directory.ManagedIdentity:
			inGroup(r.Resource)
		}
	}
	for place, list := range est.AssignmentsBelow(servetest.Subscription) {
		if len(list) > 0 {
			inGroup(place)
		}
	}
	if got.all["201"] < 50 || got.all["200"] < 10 {
		t.Errorf("too little was done to prove anything: %v", got.all)
	}
	// At last all of them go, and take all with them.
	for i := range 8 {
		do("DELETE", group(i), "")
	}
	for r := range h.store.Current().Records() {
		if strings.Contains(r.Key().String(), "/resourcegroups/load") {
			t.Errorf("%s is left", r.Key())
		}
	}
}

// ARM-14: a body without end costs its sender and not the house.
func TestABodyWithoutEndCostsNoMemory(t *testing.T) {
	h := newHouse(t)
	path := servetest.Subscription.String() + "/resourcegroups/ops" + version
	for name, length := range map[string]int64{"with its length": 100 << 20, "without": -1} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		sent := new(endless)
		req, err := http.NewRequest(http.MethodPut, h.server.URL+path, sent)
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = length
		req.Header.Set("Authorization", "Bearer "+h.token(contrib, "https://management.azure.com/"))
		req.Header.Set("Content-Type", "application/json")
		res, err := h.client.Do(req)
		if err == nil {
			res.Body.Close()
			if res.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("%s: %d", name, res.StatusCode)
			}
		}
		runtime.ReadMemStats(&after)
		if taken := after.TotalAlloc - before.TotalAlloc; taken > 32<<20 {
			t.Errorf("%s: %d MiB were taken for a body of 100 MiB", name, taken>>20)
		}
		if got := sent.read.Load(); got > 16<<20 {
			t.Errorf("%s: %d MiB were read before it was refused", name, got>>20)
		}
	}
	if _, there := h.store.Current().ResourceGroup(scope.MustParse(servetest.Subscription.String() + "/resourcegroups/ops")); there {
		t.Error("it was made")
	}
}

// endless is the body of a request that goes on and on: 100 MiB. Its sender may go on
// to read it when the answer is there already.
type endless struct{ read atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) {
	was := e.read.Load()
	n := int(min(int64(len(p)), 100<<20-was))
	if n == 0 {
		return 0, io.EOF
	}
	for i := range p[:n] {
		p[i] = 'x'
	}
	if was == 0 {
		n = copy(p, `{"location":"`)
	}
	e.read.Add(int64(n))
	return n, nil
}
