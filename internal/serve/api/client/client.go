// Package client asks the management door of a house, for the command line.
package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"

	"github.com/go-json-experiment/json"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
	"github.com/gatehouse-io/gatehouse/internal/serve/rehearse"
)

// A Client asks one house. Its zero HTTP means http.DefaultClient.
type Client struct {
	// Base is the authority of the house, such as https://127.0.0.1:8443.
	Base string
	// Token returns an access token for the audience api://gatehouse.
	Token func(ctx context.Context) (string, error)
	HTTP  *http.Client
	// Renew, if set, returns another token than the one that the house has refused
	// as no longer good, as after an emergency stop of the key that signed it. It is
	// asked once for each request.
	Renew func(ctx context.Context) (string, error)
	// AtLeast, when positive, makes the house answer from that revision or later.
	// Commits raise it, so that who writes reads what he wrote, whichever replica
	// answers. A Client is therefore not safe for concurrent use.
	AtLeast int64
	// Rehearses is what the house rehearses, as it said in its last answer; "" is nothing.
	Rehearses string
}

// An Error is a refusal by the house.
type Error struct {
	Status        int
	Code, Message string
}

func (e *Error) Error() string { return fmt.Sprintf("(%s) %s", e.Code, e.Message) }

// Mistaken reports whether what was asked is wrong: a value or a name in it, or
// something that is not there, is there already or is in use. Asked again, it is
// refused again. What the caller may not, and what others changed meanwhile, is not
// his mistake.
func (e *Error) Mistaken() bool {
	switch e.Status {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusRequestEntityTooLarge:
		return e.Code != unsaid(e.Status)
	case http.StatusConflict:
		return e.Code != "Conflict" && e.Code != unsaid(e.Status)
	}
	return false
}

// unsaid is the code of a refusal without one: it may not be of a house at all.
func unsaid(status int) string { return "HTTP " + strconv.Itoa(status) }

// An unsent error came before anything was sent.
type unsent struct{ error }

func (e unsent) Unwrap() error { return e.error }

// ErrSilent says that no house runs where one was asked.
var ErrSilent = errors.New("nobody answers")

// Silent is the error about a house that does not run.
func Silent(base string) error {
	return fmt.Errorf("%w at %s: start the house with gatehouse up or gatehouse serve, or name another one with --server", ErrSilent, base)
}

// WhoAmI returns who the token's bearer is.
func (c *Client) WhoAmI(ctx context.Context) (out wire.WhoAmI, err error) {
	return out, c.do(ctx, http.MethodGet, wire.PathWhoAmI, nil, nil, &out)
}

// Estate returns the records that the caller may read, of some kinds or of all.
func (c *Client) Estate(ctx context.Context, kinds ...record.Kind) (out wire.Estate, err error) {
	q := url.Values{}
	for _, k := range kinds {
		q.Add("kind", string(k))
	}
	return out, c.do(ctx, http.MethodGet, wire.PathEstate, q, nil, &out)
}

// Commit makes changes, all or none, and returns the revision that shows them.
func (c *Client) Commit(ctx context.Context, changes wire.Changes) (int64, error) {
	var out wire.Changed
	if err := c.change(ctx, wire.PathChanges, changes, &out); err != nil {
		return 0, err
	}
	c.AtLeast = max(c.AtLeast, out.Revision)
	return out.Revision, nil
}

// change posts what changes something, and says so when it is not known whether it did.
func (c *Client) change(ctx context.Context, path string, in, out any) error {
	err := c.do(ctx, http.MethodPost, path, nil, in, out)
	_, refused := errors.AsType[*Error](err)
	_, kept := errors.AsType[unsent](err)
	if err != nil && !refused && !kept && !errors.Is(err, ErrSilent) {
		return fmt.Errorf("%w; it is not known whether the change was made: look for it with gatehouse audit", err)
	}
	return err
}

// CanI returns the decision on a question.
func (c *Client) CanI(ctx context.Context, q wire.Question) (out wire.Decision, err error) {
	return out, c.do(ctx, http.MethodPost, wire.PathCanI, nil, q, &out)
}

// Why returns the decision on a question and everything that was considered.
func (c *Client) Why(ctx context.Context, q wire.Question) (out wire.Explanation, err error) {
	return out, c.do(ctx, http.MethodPost, wire.PathWhy, nil, q, &out)
}

// WhoCan returns everybody who may.
func (c *Client) WhoCan(ctx context.Context, q wire.Question) (out wire.Holders, err error) {
	return out, c.do(ctx, http.MethodPost, wire.PathWhoCan, nil, q, &out)
}

// WhatCan returns what somebody may at a place.
func (c *Client) WhatCan(ctx context.Context, q wire.Question) (out wire.Portfolio, err error) {
	return out, c.do(ctx, http.MethodPost, wire.PathWhatCan, nil, q, &out)
}

// Trace returns the latest events of a user (an object id or name; "" for all) on
// a cluster (a scope; "" for all), oldest first. limit 0 is the house's choice.
func (c *Client) Trace(ctx context.Context, user, cluster string, limit int) ([]wire.Event, error) {
	return c.Events(ctx, WhichEvents{User: user, Cluster: cluster, Limit: limit})
}

// IdentityUses returns when managed identities got their latest tokens.
func (c *Client) IdentityUses(ctx context.Context) (out wire.IdentityUses, err error) {
	return out, c.do(ctx, http.MethodGet, wire.PathIdentityUses, nil, nil, &out)
}

// WhichEvents are the events that are asked for. The zero WhichEvents are all.
type WhichEvents struct {
	User    string // an object id or a name
	Cluster string // a scope
	Request string // a trace, request or correlation id of an answer
	Refused bool   // those of refusals alone
	Limit   int    // at most so many; 0 is the house's choice
}

// Events returns the latest events, oldest first.
func (c *Client) Events(ctx context.Context, which WhichEvents) ([]wire.Event, error) {
	q := url.Values{}
	for name, value := range map[string]string{"user": which.User, "cluster": which.Cluster, "request": which.Request} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if which.Refused {
		q.Set("refused", "true")
	}
	if which.Limit > 0 {
		q.Set("limit", strconv.Itoa(which.Limit))
	}
	var out wire.Trace
	err := c.do(ctx, http.MethodGet, wire.PathTrace, q, nil, &out)
	return out.Events, err
}

// SetPassword gives a user a new password and ends his sessions.
func (c *Client) SetPassword(ctx context.Context, userID, password string) error {
	return c.do(ctx, http.MethodPost, strings.Replace(wire.PathPassword, "{id}", url.PathEscape(userID), 1), nil, wire.Password{Password: password}, nil)
}

// NewSecret gives an application another client secret. Its text is shown once.
func (c *Client) NewSecret(ctx context.Context, appID string, ask wire.NewSecret) (out wire.Secret, err error) {
	return out, c.do(ctx, http.MethodPost, strings.Replace(wire.PathSecrets, "{app}", url.PathEscape(appID), 1), nil, ask, &out)
}

// Secrets lists the client secrets of the applications that the caller may read.
func (c *Client) Secrets(ctx context.Context) (out wire.Secrets, err error) {
	return out, c.do(ctx, http.MethodGet, wire.PathAllSecrets, nil, nil, &out)
}

// NewIdentitySession lets the caller run programs as managed identities.
func (c *Client) NewIdentitySession(ctx context.Context, ask wire.NewIdentitySession) (out wire.IdentitySession, err error) {
	return out, c.do(ctx, http.MethodPost, wire.PathIdentitySessions, nil, ask, &out)
}

// EndIdentitySession ends the session that a secret is of.
func (c *Client) EndIdentitySession(ctx context.Context, secret string) error {
	return c.do(ctx, http.MethodPost, wire.PathEndIdentitySession, nil, wire.EndIdentitySession{Secret: secret}, nil)
}

// RotateKeys replaces the signing keys.
func (c *Client) RotateKeys(ctx context.Context) error {
	return c.do(ctx, http.MethodPost, wire.PathRotate, nil, struct{}{}, nil)
}

// Keys returns the signing keys, chain by chain in the order in which they sign.
func (c *Client) Keys(ctx context.Context) (out wire.Keys, err error) {
	return out, c.do(ctx, http.MethodGet, wire.PathKeys, nil, nil, &out)
}

// Rehearsal returns which knobs of a rehearsal are on.
func (c *Client) Rehearsal(ctx context.Context) (out wire.Rehearsal, err error) {
	return out, c.do(ctx, http.MethodGet, wire.PathRehearsal, nil, nil, &out)
}

// StopKey removes a signing key at once; its tokens are refused from then on.
func (c *Client) StopKey(ctx context.Context, kid string) error {
	return c.do(ctx, http.MethodPost, wire.PathStopKey, nil, wire.StopKey{ID: kid}, nil)
}

// SetIssuing stops all signing, or lets it go on.
func (c *Client) SetIssuing(ctx context.Context, ask wire.Issuing) error {
	return c.do(ctx, http.MethodPost, wire.PathIssuing, nil, ask, nil)
}

// Audit yields the audit records from a number on. It ends after the first error.
func (c *Client) Audit(ctx context.Context, since int64) iter.Seq2[wire.AuditRecord, error] {
	return func(yield func(wire.AuditRecord, error) bool) {
		for since = max(since, 1); since > 0; {
			var page wire.Audit
			q := url.Values{"since": {strconv.FormatInt(since, 10)}}
			if err := c.do(ctx, http.MethodGet, wire.PathAudit, q, nil, &page); err != nil {
				yield(wire.AuditRecord{}, err)
				return
			}
			for _, r := range page.Records {
				if !yield(r, nil) {
					return
				}
			}
			since = page.Next
		}
	}
}

// VerifyAudit lets the house check the whole audit log.
func (c *Client) VerifyAudit(ctx context.Context) (out wire.AuditVerdict, err error) {
	return out, c.do(ctx, http.MethodGet, wire.PathVerify, nil, nil, &out)
}

// Clusters says how the clusters are that the caller may read.
func (c *Client) Clusters(ctx context.Context) (out wire.Clusters, err error) {
	return out, c.do(ctx, http.MethodGet, wire.PathClusters, nil, nil, &out)
}

// Attach returns what an attached cluster needs in order to ask the house. Each
// call issues another certificate.
func (c *Client) Attach(ctx context.Context, cluster scope.Scope) (out wire.Attachment, err error) {
	return out, c.do(ctx, http.MethodPost, wire.PathAttach, nil, wire.ClusterRef{Scope: cluster.String()}, &out)
}

// Examine lets the doctor look at a cluster that the house runs.
func (c *Client) Examine(ctx context.Context, cluster scope.Scope) (out wire.Findings, err error) {
	return out, c.do(ctx, http.MethodPost, wire.PathExamine, nil, wire.ClusterRef{Scope: cluster.String()}, &out)
}

// AdminKubeconfig returns a kubeconfig with a local administrator's certificate.
func (c *Client) AdminKubeconfig(ctx context.Context, cluster scope.Scope) ([]byte, error) {
	var out wire.Kubeconfig
	err := c.do(ctx, http.MethodPost, wire.PathAdmin, nil, wire.ClusterRef{Scope: cluster.String()}, &out)
	return []byte(out.Kubeconfig), err
}

// Access returns what a kubeconfig says about a cluster to those who sign in.
func (c *Client) Access(ctx context.Context, cluster scope.Scope) (out wire.Access, err error) {
	return out, c.do(ctx, http.MethodPost, wire.PathAccess, nil, wire.ClusterRef{Scope: cluster.String()}, &out)
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 1 << 30

func (c *Client) do(ctx context.Context, method, path string, q url.Values, in, out any) error {
	body, err := c.send(ctx, method, path, q, in, c.Token)
	if refused, ok := errors.AsType[*Error](err); ok && refused.Status == http.StatusUnauthorized && c.Renew != nil {
		body, err = c.send(ctx, method, path, q, in, c.Renew)
	}
	if err != nil || out == nil {
		return err
	}
	// Unknown members are skipped: the house may be newer than this client.
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("read the answer of the house: %w", err)
	}
	return nil
}

// send returns the body of an answer that is no refusal.
func (c *Client) send(ctx context.Context, method, path string, q url.Values, in any, bearer func(context.Context) (string, error)) ([]byte, error) {
	req, err := c.request(ctx, method, path, q, in, bearer)
	if err != nil {
		return nil, err
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, Silent(c.Base)
	}
	if err != nil {
		return nil, fmt.Errorf("ask the house: %w", err)
	}
	defer res.Body.Close()
	c.Rehearses = res.Header.Get(rehearse.Header)
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the answer of the house: %w", err)
	}
	if res.StatusCode >= http.StatusMultipleChoices {
		return nil, refusal(res, body)
	}
	return body, nil
}

func (c *Client) request(ctx context.Context, method, path string, q url.Values, in any, bearer func(context.Context) (string, error)) (*http.Request, error) {
	if c.AtLeast > 0 {
		if q == nil {
			q = url.Values{}
		}
		q.Set("atLeast", strconv.FormatInt(c.AtLeast, 10))
	}
	target := strings.TrimSuffix(c.Base, "/") + path
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	var body io.Reader
	if in != nil {
		text, err := record.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if bearer == nil {
		return nil, errors.New("ask the house: nobody is signed in")
	}
	raw, err := bearer(ctx)
	if err != nil {
		return nil, unsent{err}
	}
	req.Header.Set("Authorization", "Bearer "+raw)
	return req, nil
}

func refusal(res *http.Response, body []byte) error {
	var said wire.Error
	if err := json.Unmarshal(body, &said); err != nil || said.Error.Code == "" {
		return &Error{Status: res.StatusCode, Code: unsaid(res.StatusCode), Message: "The house gave no reason."}
	}
	return &Error{Status: res.StatusCode, Code: said.Error.Code, Message: said.Error.Message}
}
