package nmi_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// prefix is what the network namespaces of these tests begin with; the process that
// made them follows, and then a dash.
const prefix = "gatehouse-nmi-"

// sweep removes what tests have left that were killed: network namespaces, what runs
// in them, and control groups.
func sweep() {
	for _, ns := range leftovers("/run/netns", prefix) {
		out, _ := exec.Command("ip", "netns", "pids", ns).Output()
		for _, field := range strings.Fields(string(out)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		exec.Command("ip", "netns", "del", ns).Run()
	}
	for _, name := range leftovers(groups(), "kubepods-"+prefix) {
		pods, _ := filepath.Glob(filepath.Join(groups(), name, "pod*"))
		for _, at := range append(pods, filepath.Join(groups(), name)) {
			os.Remove(at) // only what is empty
		}
	}
}

// leftovers are names in a folder that a process made that is no more.
func leftovers(dir, prefix string) (names []string) {
	all, _ := os.ReadDir(dir)
	for _, e := range all {
		rest, ok := strings.CutPrefix(e.Name(), prefix)
		if !ok {
			continue
		}
		pid, _, _ := strings.Cut(rest, "-")
		if _, err := strconv.Atoi(pid); err != nil {
			continue
		}
		if _, err := os.Stat("/proc/" + pid); errors.Is(err, fs.ErrNotExist) {
			names = append(names, e.Name())
		}
	}
	return names
}

// It runs alone: others sweep as well when they begin.
func TestWhatAKilledTestLeftIsRemoved(t *testing.T) {
	if why := missing(); why != "" {
		t.Skip(why)
	}
	// A process that has ended, and whose number nobody has.
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	gone, here := prefix+strconv.Itoa(dead.Process.Pid)+"-1", prefix+strconv.Itoa(os.Getpid())+"-99"
	namespace(t, gone)
	namespace(t, here)
	agent := exec.Command("ip", "netns", "exec", gone, "sleep", "1000")
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { agent.Process.Kill() })
	dir := group(t, gone, "u-1")
	for !strings.Contains(in(t, gone, "ip", "netns", "pids", gone), strconv.Itoa(agent.Process.Pid)) {
	}
	sweep()
	agent.Wait() // it was ended
	for _, at := range []string{"/run/netns/" + gone, dir, filepath.Dir(dir)} {
		if _, err := os.Stat(at); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", at, err)
		}
	}
	if _, err := os.Stat("/run/netns/" + here); err != nil {
		t.Errorf("what a test has that runs is gone: %v", err)
	}
}
