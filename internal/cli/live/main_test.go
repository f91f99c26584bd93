package live_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/cli/live"
	"github.com/gatehouse-io/gatehouse/internal/house"
	"github.com/gatehouse-io/gatehouse/internal/sample"
)

// TestMain makes the test binary the command that the scripts run.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"gatehouse": func() {
			os.Exit(cli.Main(context.Background(), os.Args[1:], cli.Env{
				Getenv: getenv, Dial: live.Dial(getenv), Version: "v0.0.0-test",
			}, live.Commands()...))
		},
	})
}

// getenv is what the program has: the house of the data directory is the default.
func getenv(key string) string {
	if v := os.Getenv(key); v != "" || key != "GATEHOUSE_SERVER" {
		return v
	}
	return live.DefaultServer(os.Getenv)
}

// TestOperator runs each script against a house of its own with the sample
// estate, as the operator of its data directory. doctor.txtar has ZA-01 and ZA-11.
func TestOperator(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "house"),
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			dir := house.Dir(filepath.Join(e.WorkDir, "data"))
			h, err := house.Start(context.Background(), house.Config{
				Dir: dir, Listen: "127.0.0.1:0", WebhookListen: "127.0.0.1:0", ProxyListen: "127.0.0.1:0",
				First: sample.Records(), FirstPassword: "correct horse battery",
			})
			if err != nil {
				return err
			}
			e.Defer(h.Stop)
			e.Setenv("GATEHOUSE_DIR", string(dir))
			e.Setenv("HOME", e.WorkDir)
			return nil
		},
	})
}

// TestAlone runs scripts that start their own house, or have none.
func TestAlone(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "alone"),
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("GATEHOUSE_DIR", filepath.Join(e.WorkDir, "data"))
			e.Setenv("HOME", e.WorkDir)
			return nil
		},
	})
}
