// Package workloads_test tries what gives pods their identity on real control
// planes, with the real kubectl. It needs gatehouse-kube and gatehouse: make test
// builds them and names them in GATEHOUSE_KUBE and GATEHOUSE_BIN.
package workloads_test

import (
	"testing"

	"github.com/gatehouse-io/gatehouse/test/plane"
)

// A stage is a plane with what these tests do on it.
type stage struct{ *plane.Plane }

func newStage(t *testing.T, workloadIdentity bool) *stage {
	t.Helper()
	return &stage{plane.Start(t, plane.Options{WorkloadIdentity: workloadIdentity})}
}

// in is the stage in a subtest.
func (p *stage) in(t *testing.T) *stage { return &stage{p.In(t)} }
