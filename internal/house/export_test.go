package house

import (
	"context"
	"errors"

	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/nodes/wire"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// Ask asks an API server, as one that runs for a cluster, for another record: about a
// token and about a pod.
func Ask(ctx context.Context, server string, runs, rec resource.Cluster) (ofToken, ofPod error) {
	conf := &rest.Config{Host: server}
	r := &run{uid: runs.UID}
	j, err1 := newJudge(conf)
	core, err2 := coreclient.NewForConfig(conf)
	if err := errors.Join(err1, err2); err != nil {
		return err, err
	}
	var reader coreclient.CoreV1Interface = core
	r.judge.Store(j)
	r.core.Store(&reader)
	c := &clusters{keepers: map[scope.Scope]*keeper{runs.Scope: {run: r}}}
	return c.vouch(ctx, rec, token.Foreign{}, issue.NewSecret("t")), c.podOn(ctx, rec, wire.Pod{Namespace: "n", Name: "p"}, "node-1")
}

// PodOn and AgentOn are what a house says of pods of a cluster that does not run in it.
func PodOn(ctx context.Context, rec resource.Cluster) error {
	return new(clusters).podOn(ctx, rec, wire.Pod{}, "node-1")
}

func AgentOn(ctx context.Context, rec resource.Cluster) error {
	return new(clusters).agentOn(ctx, rec, wire.Pod{}, "node-1")
}
