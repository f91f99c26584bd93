package live_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/cli/live"
	"github.com/gatehouse-io/gatehouse/internal/house"
	"github.com/gatehouse-io/gatehouse/internal/sample"
	"github.com/gatehouse-io/gatehouse/internal/signin"
	"github.com/gatehouse-io/gatehouse/internal/tour"
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
// estate, as the operator of its data directory. doctor.txtar and vault.txtar
// have ZA-01 and ZA-11, remade.txtar has DIR-05.
func TestOperator(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "house"),
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"signin": signIn},
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
			e.Setenv("HOUSE", string(dir))
			return nil
		},
	})
}

// signIn is the command "signin WHO FOLDER FILE" of scripts: gatehouse login as
// somebody who enters his code and the password in the file at the pages of the
// house. From then on, commands with that data directory act as him.
func signIn(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: signin WHO FOLDER FILE-WITH-PASSWORD")
	}
	op, err := house.ReadOperator(house.Dir(ts.Getenv("HOUSE")).Operator())
	ts.Check(err)
	ts.Setenv("GATEHOUSE_SERVER", op.Authority)
	ts.Check(os.MkdirAll(ts.MkAbs(args[1]), 0o700))
	hc, err := signin.Client(op.CA)
	ts.Check(err)
	browser, err := tour.NewBrowser(hc.Transport)
	ts.Check(err)
	here := map[string]string{"GATEHOUSE_DIR": ts.MkAbs(args[1])}
	invitation, told := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan int, 1)
	go func() {
		done <- cli.Main(ctx, []string{"login", "--server", op.Authority, "--ca-file", op.CA, "--tenant", "teknews.cloud"},
			cli.Env{Getenv: func(key string) string { return here[key] }, Stdout: io.Discard, Stderr: told}, live.Commands()...)
		told.Close()
	}()
	lines := bufio.NewScanner(invitation)
	for lines.Scan() {
		var page, code string
		if n, _ := fmt.Sscanf(lines.Text(), "To sign in, open %s in a web browser and enter the code %s", &page, &code); n == 2 {
			text, err := browser.Approve(ctx, page, code, args[0], strings.TrimSpace(ts.ReadFile(args[2])))
			if err != nil {
				ts.Logf("%s %v", text, err)
				cancel() // else it would wait until the code ends
			}
			continue
		}
		ts.Logf("%s", lines.Text())
	}
	if code := <-done; (code != cli.ExitYes) != neg {
		ts.Fatalf("gatehouse login as %s: exit code %d", args[0], code)
	}
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
