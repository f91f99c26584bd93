// Package live holds the commands that need more than an estate to look at: they
// run the house, reach it, or sign in to it.
package live

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/oauth2"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/house"
	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/serve/api"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/client"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
	"github.com/gatehouse-io/gatehouse/internal/signin"
)

// Commands are all commands of this package.
func Commands() []cli.Command {
	return []cli.Command{newUp, newServe, newWebhook, newMIC, newMigrate, newKubeconfig, newCredential, newLogin, newLogout, newDoctor, newCheck, newTrace, newTour,
		newWhoAmI, newApp, newIdentityRequest, newVault, newKeys, newAudit, newRehearse, newEnv, newShell, cli.Below("user", newSetPassword),
		cli.Below("cluster", newAttach), cli.Below("cluster", newDetach), cli.Below("cluster", newClusterSet), cli.Below("cluster", newClusterDoctor)}
}

// DataDir is where a house keeps its state and its clients find it:
// $GATEHOUSE_DIR, or .gatehouse in the home directory.
func DataDir(getenv func(string) string) house.Dir {
	if dir := getenv("GATEHOUSE_DIR"); dir != "" {
		return house.Dir(dir)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = "."
	}
	return house.Dir(filepath.Join(home, ".gatehouse"))
}

// DefaultServer is the house that a command asks when it is not told: the one
// whose data directory is there.
func DefaultServer(getenv func(string) string) string {
	op, err := house.ReadOperator(DataDir(getenv).Operator())
	if err != nil {
		return ""
	}
	return op.Authority
}

// Dial reaches the house at a URL: as the person who has signed in with
// gatehouse login, else as the operator of the data directory.
func Dial(getenv func(string) string) func(ctx context.Context, url string) (cli.Remote, error) {
	return func(ctx context.Context, url string) (cli.Remote, error) {
		c, err := dial(ctx, getenv, url)
		if err != nil {
			return nil, err
		}
		return &remote{c}, nil
	}
}

func dial(ctx context.Context, getenv func(string) string, url string) (*client.Client, error) {
	conf, err := session(getenv, url)
	if err != nil {
		return nil, err
	}
	hc, err := signin.Client(conf.CAFile)
	if err != nil {
		return nil, err
	}
	with := func(get func(context.Context, signin.Config) (*oauth2.Token, error)) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) {
			tok, err := get(ctx, conf)
			if errors.Is(err, syscall.ECONNREFUSED) {
				return "", client.Silent(url)
			}
			if err != nil {
				return "", err
			}
			return tok.AccessToken, nil
		}
	}
	return &client.Client{Base: url, HTTP: hc, Token: with(signin.Token), Renew: with(signin.Renew)}, nil
}

// session is how to sign in to the management API of a house.
func session(getenv func(string) string, url string) (signin.Config, error) {
	dir := DataDir(getenv)
	if p, err := readProfile(dir); err == nil && p.Authority == url {
		return p.config(dir), nil
	}
	op, err := house.ReadOperator(dir.Operator())
	if errors.Is(err, os.ErrNotExist) {
		return signin.Config{}, fmt.Errorf("nobody is signed in to %s: run gatehouse login --server %s --tenant DOMAIN", url, url)
	}
	if err != nil {
		return signin.Config{}, err
	}
	if op.Authority != url {
		return signin.Config{}, fmt.Errorf("%s holds the operator's credential of %s, not of %s: run gatehouse login --server %s --tenant DOMAIN",
			dir.Operator(), op.Authority, url, url)
	}
	return signin.Config{Authority: op.Authority, Tenant: op.Tenant.String(), ClientID: op.ClientID.String(), ClientSecret: op.Secret,
		Method: signin.Secret, Resource: api.Audience, CAFile: op.CA, Cache: tokenCache(dir)}, nil
}

func tokenCache(dir house.Dir) string { return filepath.Join(string(dir), "tokens") }

// remote is a house as the commands of package cli see it.
type remote struct{ *client.Client }

// Rehearsing is what the house rehearses, as it said last; "" is nothing.
func (r *remote) Rehearsing() string { return r.Rehearses }

func (r *remote) Snapshot(ctx context.Context) (*estate.Snapshot, error) {
	out, err := r.Estate(ctx)
	if err != nil {
		return nil, err
	}
	var failed error
	records := iter.Seq[record.Record](func(yield func(record.Record) bool) {
		for _, rec := range out.Records {
			v, err := estate.Decode(rec.Kind, rec.Spec)
			if err != nil {
				failed = fmt.Errorf("what the server has as a %s cannot be read; is it newer than this program? %w", rec.Kind, err)
				return
			}
			if !yield(v) {
				return
			}
		}
	})
	est, err := estate.Reload(out.Revision, records)
	if failed != nil {
		return nil, failed
	}
	return est, err
}

// ClusterStates says how the clusters are, by scope.
func (r *remote) ClusterStates(ctx context.Context) (map[string]string, error) {
	got, err := r.Clusters(ctx)
	states := make(map[string]string, len(got.Clusters))
	for _, c := range got.Clusters {
		states[c.Scope] = c.State
	}
	return states, err
}

func (r *remote) Commit(ctx context.Context, why string, ops []estate.Op, ifRevision int64) (int64, error) {
	changes := wire.Changes{Why: why, IfRevision: ifRevision}
	for _, op := range ops {
		if op.Put == nil {
			changes.Ops = append(changes.Ops, wire.Op{Delete: &wire.Delete{Kind: op.Delete.Kind, Parts: op.Delete.Parts[:]}})
			continue
		}
		spec, err := record.Marshal(op.Put)
		if err != nil {
			return 0, err
		}
		changes.Ops = append(changes.Ops, wire.Op{Put: &wire.Record{Kind: op.Put.Key().Kind, Spec: spec}})
	}
	return r.Client.Commit(ctx, changes)
}

var managementClient = issue.ManagementClient.String()
