package cli_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/manifest"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

var update = flag.Bool("update", false, "write what the commands print into the scripts")

// TestMain makes the test binary the command that the scripts run.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"gatehouse": func() {
			now := func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }
			env := cli.Env{Now: now, Version: "v0.0.0-test", Dial: dial, Terminal: os.Getenv("TERMINAL") != ""}
			os.Exit(cli.Main(context.Background(), os.Args[1:], env))
		},
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		UpdateScripts:       *update,
		Setup: func(e *testscript.Env) error {
			// Not every script begins with the sample, but all may ask it.
			dir, err := filepath.Abs(filepath.Join("..", "sample", "teknews"))
			if err != nil {
				return err
			}
			e.Setenv("SAMPLE", dir)
			return nil
		},
	})
}

// A house is a server of one folder, whose estate.yaml is written anew by every
// change. It stands in for the client of the real one, which is tested with it.
type house struct {
	dir string
	est *estate.Snapshot
}

func dial(_ context.Context, url string) (cli.Remote, error) {
	dir := os.Getenv("HOUSE")
	if dir == "" {
		return nil, errors.New("connection refused")
	}
	est, err := manifest.LoadDir(os.DirFS(dir))
	if err != nil {
		return nil, err
	}
	return &house{dir, est}, nil
}

func (h *house) Snapshot(context.Context) (*estate.Snapshot, error) { return h.est, nil }

func (h *house) Commit(_ context.Context, _ string, ops []estate.Op, _ int64) (int64, error) {
	next, err := h.est.Apply(7, ops...)
	if err != nil {
		return 0, err
	}
	f, err := os.Create(filepath.Join(h.dir, "estate.yaml"))
	if err != nil {
		return 0, err
	}
	return next.Revision(), errors.Join(manifest.Encode(f, next.Records()), f.Close())
}

func (h *house) CanI(_ context.Context, q wire.Question) (wire.Decision, error) {
	u, _ := h.est.UserByName("jet@teknews.cloud")
	d := decide.Decide(h.est, decide.Request{Who: decide.Subject{ID: u.ID}})
	return wire.Decision{Effect: d.Effect.String(), Reason: "answered by the server"}, nil
}

func (h *house) Why(context.Context, wire.Question) (wire.Explanation, error) {
	return wire.Explanation{}, errors.New("not asked here")
}

func (h *house) WhoCan(context.Context, wire.Question) (wire.Holders, error) {
	return wire.Holders{}, errors.New("not asked here")
}

func (h *house) WhatCan(context.Context, wire.Question) (wire.Portfolio, error) {
	return wire.Portfolio{}, errors.New("not asked here")
}
