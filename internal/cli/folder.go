package cli

import (
	"context"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

// A folder answers from estate files, with the engine that the server uses.
type folder struct {
	est *estate.Snapshot
	now func() time.Time
}

func (f *folder) Snapshot(context.Context) (*estate.Snapshot, error) { return f.est, nil }

func (f *folder) CanI(_ context.Context, q wire.Question) (wire.Decision, error) {
	req, err := f.request(q)
	if err != nil {
		return wire.Decision{}, err
	}
	return wire.DecisionOf(f.est, req, decide.Decide(f.est, req)), nil
}

func (f *folder) Why(_ context.Context, q wire.Question) (wire.Explanation, error) {
	req, err := f.request(q)
	if err != nil {
		return wire.Explanation{}, err
	}
	return wire.ExplanationOf(f.est, req, decide.Explain(f.est, req)), nil
}

func (f *folder) WhoCan(_ context.Context, q wire.Question) (wire.Holders, error) {
	req, err := f.request(q)
	if err != nil {
		return wire.Holders{}, err
	}
	return wire.HoldersOf(f.est, req, decide.WhoCan(f.est, req)), nil
}

func (f *folder) WhatCan(_ context.Context, q wire.Question) (wire.Portfolio, error) {
	at, err := scope.Parse(q.Scope)
	if err != nil {
		return wire.Portfolio{}, err
	}
	who, err := subject(q)
	if err != nil {
		return wire.Portfolio{}, err
	}
	now := f.now()
	if !q.At.IsZero() {
		now = q.At
	}
	return wire.PortfolioOf(f.est, at, decide.WhatCan(f.est, who, at, now)), nil
}

// request reads a question as the engine takes it.
func (f *folder) request(q wire.Question) (decide.Request, error) {
	req, err := q.Request(f.now())
	if err != nil {
		return decide.Request{}, err
	}
	req.Who, err = subject(q)
	return req, err
}

// subject is whom a question is about. A folder knows no caller, so a question
// about nobody stays one.
func subject(q wire.Question) (decide.Subject, error) {
	switch {
	case q.Subject != nil:
		return decide.Subject{User: q.Subject.User, Groups: q.Subject.Groups}, nil
	case q.Who != "":
		id, err := principal.ParseID(q.Who)
		return decide.Subject{ID: id}, err
	}
	return decide.Subject{}, nil
}
