//go:build linux

package wiring_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/nmi/wiring"
)

func TestWhichPodAProcessIsOf(t *testing.T) {
	t.Parallel()
	const uid, other = "0e4ca7d5-9b0b-4f7e-9d3b-0a1b2c3d4e5f", "11111111-2222-4333-8444-555555555555"
	for _, tt := range []struct{ law, groups, want string }{
		{"a container, by the driver cgroupfs", "0::/kubepods/burstable/pod" + uid + "/abc", uid},
		{"a guaranteed pod has no class", "0::/kubepods/pod" + uid + "/abc", uid},
		{"a container, by the driver systemd", "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod0e4ca7d5_9b0b_4f7e_9d3b_0a1b2c3d4e5f.slice/cri-containerd-abc.scope", uid},
		{"seen from another control group", "0::/../../podx/../kubepods/pod" + uid + "/abc", uid},
		{"in many hierarchies", "9:name=systemd:/kubepods/pod" + uid + "/abc\n8:pids:/kubepods/pod" + uid + "/abc\n0::/", uid},
		{"what is below a pod's group is the pod's to name", "0::/kubepods/pod" + uid + "/abc/kubepods/pod" + other, uid},
		{"hierarchies that disagree", "9:pids:/kubepods/pod" + uid + "/abc\n8:cpu:/kubepods/pod" + other + "/abc", ""},
		{"the node's own", "0::/system.slice/ssh.service", ""},
		{"a name that only begins like one", "0::/kubepods/pod" + uid + "-x/abc", ""},
		{"a name that only ends like one", "0::/kubepods/xpod" + uid + "/abc", ""},
		{"a static pod, whose group has another id", "0::/kubepods/pod0e4ca7d59b0b4f7e9d3b0a1b2c3d4e5f/abc", ""},
		{"a line that is none", "kubepods/pod" + uid, ""},
		{"nothing", "", ""},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "cgroup"), []byte(tt.groups+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := wiring.PodOf(dir); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.law, got, tt.want)
		}
	}
	if got := wiring.PodOf(t.TempDir()); got != "" {
		t.Errorf("a process that has ended: %q", got)
	}
}

func TestTheNodeItselfIsNoPod(t *testing.T) {
	t.Parallel()
	for _, a := range []string{"127.0.0.1", "169.254.25.79"} {
		if p, err := wiring.PortOf(netip.MustParseAddr(a)); !errors.Is(err, wiring.ErrNoPod) {
			t.Errorf("%s: %+v, %v", a, p, err)
		}
	}
	var none wiring.Processes
	if none.Run("x", wiring.Port{}) || none.Run("", wiring.Port{Link: 1}) {
		t.Error("a pod without a process runs somewhere")
	}
}
