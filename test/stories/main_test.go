// Package stories_test tells the stories with everything real: gatehouse up,
// kube-apiserver, kubectl, kubelogin and a browser. One house serves all tests.
//
// It needs the programs that GATEHOUSE_BIN, GATEHOUSE_KUBE and
// GATEHOUSE_KUBELOGIN name, which make test-real builds; without them it skips.
package stories_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/tour"
)

var programs = struct{ gatehouse, kube, kubelogin string }{
	os.Getenv("GATEHOUSE_BIN"), os.Getenv("GATEHOUSE_KUBE"), os.Getenv("GATEHOUSE_KUBELOGIN"),
}

// shared is the house that all tests share, and the stage in it.
var shared struct {
	up    *up
	stage *tour.Stage
	conf  tour.Config
	op    operator
	sign  sync.Once
	err   error
}

// operator is the file operator.json of a data directory.
type operator struct {
	Authority, Tenant, ClientID, ClientSecret, CAFile string
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	if missing() != "" {
		return m.Run() // every test skips and says why
	}
	dir, err := os.MkdirTemp("", "gatehouse-stories-")
	if err != nil {
		return complain(err)
	}
	defer func() {
		if code == 0 {
			os.RemoveAll(dir)
		} else {
			fmt.Fprintln(os.Stderr, "the house is left in", dir)
		}
	}()
	if shared.up, err = newUp(filepath.Join(dir, "house")); err != nil {
		return complain(err)
	}
	took, err := shared.up.start()
	if err != nil {
		return complain(err)
	}
	fmt.Fprintf(os.Stderr, "first start: up after %.1f s\n", took.Seconds())
	defer func() {
		if err := shared.up.stop(); err != nil {
			code = complain(err)
		}
		if left := shared.up.processes(); len(left) > 0 {
			code = complain(fmt.Errorf("processes are left when the house has stopped:\n%s", strings.Join(left, "\n")))
		}
	}()
	if err := set(dir); err != nil {
		return complain(err)
	}
	return m.Run()
}

// set sets the stage.
func set(dir string) error {
	data, err := os.ReadFile(filepath.Join(shared.up.dir, "operator.json"))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &shared.op); err != nil {
		return err
	}
	op := shared.op
	password, err := os.ReadFile(filepath.Join(shared.up.dir, "sample-password"))
	if err != nil {
		return err
	}
	people := filepath.Join(dir, "people")
	if err := os.Mkdir(people, 0o700); err != nil {
		return err
	}
	shared.conf = tour.Config{DataDir: shared.up.dir, CA: op.CAFile, Password: strings.TrimSpace(string(password)),
		Gatehouse: programs.gatehouse, Kube: programs.kube, Dir: people}
	shared.conf.API = operatorClient(filepath.Join(dir, "operator"))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	shared.stage, err = tour.NewStage(ctx, shared.conf)
	return err
}

func complain(err error) int {
	fmt.Fprintln(os.Stderr, "stories:", err)
	return 1
}

// missing says what keeps the stories from being told.
func missing() string {
	for name, path := range map[string]string{"GATEHOUSE_BIN": programs.gatehouse, "GATEHOUSE_KUBE": programs.kube, "GATEHOUSE_KUBELOGIN": programs.kubelogin} {
		if path == "" {
			return name + " does not name a program: run make test-real"
		}
		if _, err := os.Stat(path); err != nil {
			return name + ": " + err.Error() + ": run make test-real"
		}
	}
	return ""
}

// onStage returns the stage, with everybody signed in: together, because each
// device waits five seconds before it asks.
func onStage(t *testing.T) *tour.Stage {
	t.Helper()
	if why := missing(); why != "" {
		t.Skip(why)
	}
	shared.sign.Do(func() {
		var people []string
		for _, s := range tour.Stories() {
			people = append(people, s.People...)
		}
		start := time.Now()
		shared.err = shared.stage.SignIn(t.Context(), people...)
		t.Logf("%d people signed in by device code in %.1f s", len(people), time.Since(start).Seconds())
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.stage
}
