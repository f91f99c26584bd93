package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/decide"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

// actionAsk is what it takes to ask about others at a place: whoever may read its
// assignments could work the answers out by himself.
const actionAsk = "Microsoft.Authorization/roleAssignments/read"

func canI(w http.ResponseWriter, r *http.Request, s *session) error {
	req, err := s.question(w, r)
	if err != nil {
		return err
	}
	law := s.lawFor(req.Who)
	return serve.JSON(w, http.StatusOK, wire.DecisionOf(law, req, decide.Decide(law, req)))
}

func why(w http.ResponseWriter, r *http.Request, s *session) error {
	req, err := s.question(w, r)
	if err != nil {
		return err
	}
	law := s.lawFor(req.Who)
	return serve.JSON(w, http.StatusOK, wire.ExplanationOf(law, req, decide.Explain(law, req)))
}

func whoCan(w http.ResponseWriter, r *http.Request, s *session) error {
	var in wire.Question
	if err := serve.Decode(w, r, maxSmall, &in); err != nil {
		return err
	}
	if in.Who != "" || in.Subject != nil {
		return record.Invalid("who-can asks about nobody in particular")
	}
	req, err := in.Request(s.now)
	if err != nil {
		return err
	}
	if err := s.need(actionAsk, req.Scope, nil); err != nil {
		return err
	}
	holders := decide.WhoCan(s.law, req)
	if s.law != s.est {
		holders = slices.DeleteFunc(holders, func(h decide.Holder) bool { return !h.Principal.ID.IsZero() && stopped(s.est, h.Principal.ID) })
	}
	return serve.JSON(w, http.StatusOK, wire.HoldersOf(s.law, req, holders))
}

func whatCan(w http.ResponseWriter, r *http.Request, s *session) error {
	var in wire.Question
	if err := serve.Decode(w, r, maxSmall, &in); err != nil {
		return err
	}
	if in.Action != "" || in.Kube != nil || len(in.Attributes) > 0 || in.Only != "" {
		return record.Invalid("what-can asks about no operation in particular")
	}
	at, err := scope.Parse(in.Scope)
	if err != nil {
		return err
	}
	who, err := s.subject(in, at)
	if err != nil {
		return err
	}
	now := s.now
	if !in.At.IsZero() {
		now = in.At
	}
	law := s.lawFor(who)
	return serve.JSON(w, http.StatusOK, wire.PortfolioOf(law, at, decide.WhatCan(law, who, at, now)))
}

// question reads a question about somebody whom the caller may ask about.
func (s *session) question(w http.ResponseWriter, r *http.Request) (decide.Request, error) {
	var in wire.Question
	if err := serve.Decode(w, r, maxSmall, &in); err != nil {
		return decide.Request{}, err
	}
	req, err := in.Request(s.now)
	if err != nil {
		return decide.Request{}, err
	}
	req.Who, err = s.subject(in, req.Scope)
	return req, err
}

// subject returns whom a question is about. About himself everybody may ask.
func (s *session) subject(in wire.Question, at scope.Scope) (decide.Subject, error) {
	switch {
	case in.Who != "" && in.Subject != nil:
		return decide.Subject{}, record.Invalid("a question is about one principal or subject")
	case in.Who == "" && in.Subject == nil:
		return decide.Subject{ID: s.caller.ID}, nil
	}
	if in.Subject != nil {
		return decide.Subject{User: in.Subject.User, Groups: in.Subject.Groups}, s.need(actionAsk, at, nil)
	}
	id, err := principal.ParseID(in.Who)
	if strings.Contains(in.Who, "@") {
		u, ok := s.est.UserByName(in.Who)
		if ok {
			id, err = u.ID, nil
		}
	}
	if err == nil && id == s.caller.ID {
		return decide.Subject{ID: id}, nil
	}
	// Asked before it is said whether there is such a user.
	if need := s.need(actionAsk, at, nil); need != nil {
		return decide.Subject{}, need
	}
	if err != nil {
		return decide.Subject{}, record.Invalid("who %.80q is neither an object id nor the name of a user", in.Who)
	}
	return decide.Subject{ID: id}, nil
}
