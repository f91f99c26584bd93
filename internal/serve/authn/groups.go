package authn

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/rehearsal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

const (
	// allGroups is up to how many groups are answered as they are; tokens carry
	// groups up to the same number.
	allGroups = 200
	// maxGroups bounds the answer: 800 groups are 31 KB of it.
	maxGroups = 800
)

// groups returns the group ids that an API server needs to know, ordered.
//
// Those are all groups of the caller, up to 200. Of a caller who is in more, they
// are the groups that can matter to the cluster's own RBAC: its admin groups and
// the groups that one of its bindings names, at most 800 and by id; where the
// bindings are not known, because the cluster is not mirrored, all groups may.
// Role assignments need none of them, because this house resolves groups again
// for each decision.
func groups(est *estate.Snapshot, cluster resource.Cluster, caller serve.Caller) []string {
	ids := caller.Groups
	if len(ids) > allGroups {
		ids = named(est, cluster, caller)
	}
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	return texts
}

// tooMany refuses programs in more groups than a token can list, as AKS does, where
// a rehearsal has that limit.
func tooMany(limits rehearsal.Limits, caller serve.Caller) error {
	if caller.Kind != principal.User && limits.GroupsInToken.Exceeded(len(caller.Groups)) {
		return fmt.Errorf("%w: %d groups, the limit is %d", errGroups, len(caller.Groups), limits.GroupsInToken)
	}
	return nil
}

func named(est *estate.Snapshot, cluster resource.Cluster, caller serve.Caller) []principal.ID {
	var admin, bound []principal.ID
	for _, id := range cluster.AdminGroups {
		if caller.In(id) {
			admin = append(admin, id)
		}
	}
	if !cluster.Mirrored {
		bound = slices.Clone(caller.Groups)
	}
	for b := range est.KubeBindings(cluster.Scope) {
		for _, s := range b.Subjects {
			if s.Kind != kuberbac.Group {
				continue
			}
			// A binding matches byte for byte, so only the canonical spelling can match.
			if id, err := principal.ParseID(s.Name); err == nil && id.String() == s.Name && caller.In(id) {
				bound = append(bound, id)
			}
		}
	}
	admin, bound = sorted(admin), sorted(bound)
	bound = slices.DeleteFunc(bound, func(id principal.ID) bool { return slices.Contains(admin, id) })
	if room := max(0, maxGroups-len(admin)); len(bound) > room {
		bound = bound[:room]
	}
	return sorted(slices.Concat(admin[:min(len(admin), maxGroups)], bound))
}

func sorted(ids []principal.ID) []principal.ID {
	slices.SortFunc(ids, func(a, b principal.ID) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(ids)
}
