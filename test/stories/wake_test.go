package stories_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/client"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
	"github.com/gatehouse-io/gatehouse/internal/signin"
	"github.com/gatehouse-io/gatehouse/internal/tour"
)

// soon bounds a start, generously: the figure that counts is the one that is logged.
const soon = 3 * time.Minute

// TestWake comes last, because the house is away for a while.
func TestWake(t *testing.T) {
	stage := onStage(t)
	t.Run("kill -9 loses nothing acknowledged and leaves no process", func(t *testing.T) {
		acked := make(chan []directory.Group)
		enough := make(chan struct{})
		go func() { acked <- writeUntilItEnds(t.Context(), clusterNow(t, stage, "aks-1").Tenant, enough) }()
		<-enough
		if err := shared.up.kill(); err != nil {
			t.Fatal(err)
		}
		groups := <-acked
		if left := shared.up.processes(); len(left) > 0 {
			t.Errorf("processes are left:\n%s", strings.Join(left, "\n"))
		}
		again(t, stage, "after kill -9")
		got, err := operatorClient("").Estate(t.Context(), record.Group)
		if err != nil {
			t.Fatal(err)
		}
		there := make(map[principal.ID]bool)
		for _, r := range got.Records {
			var g directory.Group
			if err := record.Unmarshal(r.Spec, &g); err != nil {
				t.Fatal(err)
			}
			there[g.ID] = true
		}
		for _, g := range groups {
			if !there[g.ID] {
				t.Errorf("group %s was acknowledged and is lost", g.DisplayName)
			}
		}
		t.Logf("%d acknowledged writes up to the kill, all there", len(groups))
	})
	t.Run("a second start answers kubectl", func(t *testing.T) {
		start := time.Now()
		if err := shared.up.stop(); err != nil {
			t.Fatal(err)
		}
		t.Logf("stopped in order in %.1f s", time.Since(start).Seconds())
		if left := shared.up.processes(); len(left) > 0 {
			t.Errorf("processes are left:\n%s", strings.Join(left, "\n"))
		}
		again(t, stage, "second start")
	})
}

// again starts the house and asks kubectl, with the token of before.
func again(t *testing.T, stage *tour.Stage, what string) {
	t.Helper()
	begin := time.Now()
	up, err := shared.up.start()
	if err != nil {
		t.Fatal(err)
	}
	jet, err := stage.Person("jet")
	if err != nil {
		t.Fatal(err)
	}
	got, err := jet.Kubectl(t.Context(), "aks-1", "get", "ns")
	if err != nil || got.Exit != 0 {
		t.Fatalf("%s %v", got.Text, err)
	}
	took := time.Since(begin)
	t.Logf("%s: up after %.1f s, first kubectl answer after %.1f s", what, up.Seconds(), took.Seconds())
	if took > soon {
		t.Errorf("the first answer took %s", took)
	}
}

func operatorClient(cache string) *client.Client {
	op := shared.op
	c, err := tour.Operator(signin.Config{Authority: op.Authority, Tenant: op.Tenant, ClientID: op.ClientID, ClientSecret: op.ClientSecret,
		Method: signin.Secret, Resource: "api://gatehouse", CAFile: op.CAFile, Cache: cache})
	if err != nil {
		panic(err) // it worked for the stage
	}
	return c
}

// writeUntilItEnds makes groups, one after the other, until the house is gone, and
// returns those that were acknowledged. It closes enough after some of them.
func writeUntilItEnds(ctx context.Context, tenant directory.TenantID, enough chan<- struct{}) []directory.Group {
	api := operatorClient(filepath.Join(shared.conf.Dir, "writer"))
	var acked []directory.Group
	for {
		g := directory.Group{ID: principal.NewID(), Tenant: tenant, DisplayName: fmt.Sprintf("written-%d", len(acked))}
		spec, err := record.Marshal(g)
		if err != nil {
			return acked
		}
		if _, err := api.Commit(ctx, wire.Changes{Why: "test", Ops: []wire.Op{{Put: &wire.Record{Kind: record.Group, Spec: spec}}}}); err != nil {
			if len(acked) < 50 {
				close(enough)
			}
			return acked
		}
		if acked = append(acked, g); len(acked) == 50 {
			close(enough)
		}
	}
}
