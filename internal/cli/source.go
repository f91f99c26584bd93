package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/manifest"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

// options are the flags that every command has.
type options struct {
	estate, server, output string
}

func (o *options) register(root *cobra.Command, env *Env) {
	f := root.PersistentFlags()
	f.StringVar(&o.estate, "estate", "", "`folder` of estate files to answer from")
	f.StringVar(&o.server, "server", "", "`URL` of the server to ask")
	f.StringVarP(&o.output, "output", "o", "table", "print as `format`: table, wide, json, yaml or name")
	root.MarkFlagsMutuallyExclusive("estate", "server")
	mustComplete(root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(outputs, cobra.ShellCompDirectiveNoFileComp)))
	mustComplete(root.RegisterFlagCompletionFunc("estate", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}))
}

// mustComplete panics when a completion is registered for a flag that is not there.
func mustComplete(err error) {
	if err != nil {
		panic(err)
	}
}

// A Looker shows an estate.
type Looker interface {
	// Snapshot is the estate, or the part of it that the asker may read. Names are
	// looked up in it.
	Snapshot(ctx context.Context) (*estate.Snapshot, error)
}

// A source answers questions: a folder of files, or a server.
type source interface {
	Looker
	CanI(ctx context.Context, q wire.Question) (wire.Decision, error)
	Why(ctx context.Context, q wire.Question) (wire.Explanation, error)
	WhoCan(ctx context.Context, q wire.Question) (wire.Holders, error)
	WhatCan(ctx context.Context, q wire.Question) (wire.Portfolio, error)
}

// A Remote is a server. Besides answering it makes changes.
type Remote interface {
	source
	// Commit makes changes, all or none, if the estate is still at the revision
	// ifRevision where they touch it; zero asks for nothing. It returns the
	// revision at which they are in force.
	Commit(ctx context.Context, why string, ops []estate.Op, ifRevision int64) (int64, error)
}

// errNoSource is what a command says that has nowhere to ask.
var errNoSource = errors.New("nothing to answer from: name a folder of estate files with --estate, or a server with --server; gatehouse sample DIR writes a folder to begin with")

// open returns what the flags and the environment say to ask.
func (o *options) open(ctx context.Context, env *Env) (source, error) {
	dir, url := o.where(env)
	switch {
	case dir != "":
		fsys, err := env.OpenDir(dir)
		if err != nil {
			return nil, fmt.Errorf("open the estate folder: %w", err)
		}
		est, err := manifest.LoadDir(fsys)
		if err != nil {
			return nil, fmt.Errorf("estate %s:\n%w", dir, err)
		}
		return &folder{est: est, now: env.Now}, nil
	case url != "":
		return o.dial(ctx, env, url)
	}
	return nil, &Exit{ExitUsage, errNoSource}
}

// where returns the folder or the server to ask; flags go before the environment.
func (o *options) where(env *Env) (dir, url string) {
	switch {
	case o.estate != "" || o.server != "":
		return o.estate, o.server
	case env.Getenv("GATEHOUSE_ESTATE") != "":
		return env.Getenv("GATEHOUSE_ESTATE"), ""
	}
	return "", env.Getenv("GATEHOUSE_SERVER")
}

// remote returns the server, for commands that change something.
func (o *options) remote(ctx context.Context, env *Env, what string) (Remote, error) {
	if dir, url := o.where(env); dir != "" || url == "" {
		return nil, usage("%s needs a server: name it with --server; to change a folder, edit its files and look at the effect with gatehouse apply -f", what)
	}
	_, url := o.where(env)
	return o.dial(ctx, env, url)
}

func (o *options) dial(ctx context.Context, env *Env, url string) (Remote, error) {
	if env.Dial == nil {
		return nil, usage("this program cannot reach a server: use --estate")
	}
	r, err := env.Dial(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("reach the server %s: %w", url, err)
	}
	return r, nil
}

// look opens the source and returns its estate as well.
func (o *options) look(ctx context.Context, env *Env) (source, *estate.Snapshot, error) {
	if err := o.checkOutput(); err != nil {
		return nil, nil, err
	}
	src, err := o.open(ctx, env)
	if err != nil {
		return nil, nil, err
	}
	est, err := src.Snapshot(ctx)
	warnRehearsal(env, src)
	return src, est, err
}

// A rehearser is a server that says what it rehearses, once it was asked something.
type rehearser interface{ Rehearsing() string }

// warnRehearsal says that what a server answers is part of a rehearsal.
func warnRehearsal(env *Env, src any) {
	if r, ok := src.(rehearser); ok && r.Rehearsing() != "" {
		fmt.Fprintln(env.Stderr, "REHEARSAL: "+r.Rehearsing())
	}
}

func values[T any](list []T) iter.Seq[T] { return slices.Values(list) }
