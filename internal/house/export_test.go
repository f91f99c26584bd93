package house

import (
	"context"

	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/serve/nodes/wire"
)

// PodOn and AgentOn are what a house says of pods of a cluster that does not run in it.
func PodOn(ctx context.Context, rec resource.Cluster) error {
	return new(clusters).podOn(ctx, rec, wire.Pod{}, "node-1")
}

func AgentOn(ctx context.Context, rec resource.Cluster) error {
	return new(clusters).agentOn(ctx, rec, wire.Pod{}, "node-1")
}
