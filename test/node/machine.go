// Package node is a machine of a cluster on which pods really run: containerd,
// runc and kubelet, joined to a cluster of a house, with a cable to each pod. A
// bridge would not do: on it pods can pass for their neighbours.
//
//	func TestMain(m *testing.M) { os.Exit(node.Main(m)) }
//
//	func TestPods(t *testing.T) {
//		n := node.Start(t, plane.Options{})
//		pod := n.Run("default", "web", node.Spec{})
//	}
//
// All of it, the house too, runs in namespaces of its own: what is mounted,
// configured and started is gone when the test has ended, however it ended. The
// kernel sees to that: when the first process of a PID namespace ends, it kills the
// others. What is left of a test that was killed are empty cgroups and an empty
// folder, which the next one removes.
package node

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

const (
	// insideVar says to a process that it is the first one of a machine, and names
	// the folder that it shares with its parent.
	insideVar = "GATEHOUSE_NODE_DIR"
	// Name is the node's.
	Name = "node-1"
	// Gateway is the address of the machine, by which pods reach it.
	Gateway = "10.244.0.1"
	subnet  = "10.244.0.0/24"
	plugins = "/usr/lib/cni"
)

// Registries are names of this machine, at which tests may serve images.
var Registries = []string{"nodeimages.azurecr.io", "otherimages.azurecr.io"}

// unavailable says why no node can run here; empty says that one can.
var unavailable string

// Main runs the tests of a package on a machine of their own.
func Main(m *testing.M) int {
	flag.Parse()
	if dir := os.Getenv(insideVar); dir != "" {
		if err := settle(dir); err != nil {
			fmt.Fprintln(os.Stderr, "the machine:", err)
			return 1
		}
		return m.Run()
	}
	if unavailable = missing(); unavailable != "" {
		if os.Getenv("CI") == "true" && !testing.Short() {
			fmt.Fprintln(os.Stderr, unavailable)
			return 1
		}
		return m.Run() // each test says why it is skipped
	}
	code, err := inside()
	if err != nil {
		fmt.Fprintln(os.Stderr, "the machine:", err)
		return 1
	}
	return code
}

// missing says what a node needs and this machine does not have.
func missing() string {
	if testing.Short() {
		return "a node takes a minute"
	}
	if os.Geteuid() != 0 {
		return "a node needs root: it mounts, and makes namespaces and cgroups"
	}
	for _, name := range []string{"containerd", "containerd-shim-runc-v2", "ctr", "runc", "ip", "nft"} {
		if _, err := exec.LookPath(name); err != nil {
			return name + " is not installed; on Debian: apt-get install containerd runc iproute2 nftables containernetworking-plugins"
		}
	}
	if _, err := os.Stat(filepath.Join(plugins, "ptp")); err != nil {
		return "the plugins of CNI are not in " + plugins + "; on Debian: apt-get install containernetworking-plugins"
	}
	for _, name := range []string{"GATEHOUSE_KUBE", "GATEHOUSE_BIN"} {
		if os.Getenv(name) == "" {
			return name + " names no binary; make test builds it and sets the variable"
		}
	}
	kube := os.Getenv("GATEHOUSE_KUBE")
	if out, err := exec.Command(kube, "kubelet", "--version").CombinedOutput(); err != nil {
		return fmt.Sprintf("%s has no kubelet (%v: %s); make build builds one that has", kube, err, strings.TrimSpace(string(out)))
	}
	return ""
}

// inside runs this program again, as the first process of a machine of its own.
func inside() (int, error) {
	sweep()
	dir := filepath.Join(os.TempDir(), leftover(os.Getpid()))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	// Before the machine, which has no way out to where modules are.
	if err := build(dir); err != nil {
		return 0, err
	}
	if err := makeCgroups(leftover(os.Getpid())); err != nil {
		return 0, err
	}
	defer removeCgroups(leftover(os.Getpid()))
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), insideVar+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	// The signal is sent when the thread ends that started the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			return max(exit.ExitCode(), 1), nil
		}
		return 0, err
	}
	return 0, nil
}

// settle makes the machine what a node expects. It hides what of the surrounding
// machine a node would change.
func settle(dir string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("leave the mounts of the surrounding machine: %w", err)
	}
	// kubelet mounts volumes where containerd's containers shall see them.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SHARED, ""); err != nil {
		return err
	}
	// They go from the surrounding machine's memory or disk into this one's memory.
	built := map[string][]byte{imageFile: nil, agentProgram: nil}
	for name := range built {
		at := filepath.Join(dir, name)
		text, err := os.ReadFile(at)
		if err = errors.Join(err, os.Remove(at)); err != nil {
			return err
		}
		built[name] = text
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	for _, at := range []string{"/run", "/var/lib", "/var/log", dir} {
		if err := syscall.Mount("gatehouse-node", at, "tmpfs", 0, "mode=0755,size=1g"); err != nil {
			return fmt.Errorf("mount %s: %w", at, err)
		}
	}
	for name, text := range built {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o700); err != nil {
			return err
		}
	}
	if err := hideSettings(dir); err != nil {
		return err
	}
	if err := syscall.Sethostname([]byte(Name)); err != nil {
		return err
	}
	if err := os.Setenv("TMPDIR", dir); err != nil {
		return err
	}
	for _, args := range []string{
		"link set lo up",
		"address add " + Gateway + "/32 dev lo",
	} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", args, err, out)
		}
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)
}

// settings are the kernel's that kubelet wants to be so. They belong to the
// surrounding machine, whose values stay: kubelet is shown files that say it.
var settings = map[string]string{
	"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
	"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
}

func hideSettings(dir string) error {
	hide := func(at, text string) error {
		file := filepath.Join(dir, strings.ReplaceAll(strings.Trim(at, "/"), "/", "-"))
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
		if err := syscall.Mount(file, at, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("hide %s: %w", at, err)
		}
		return nil
	}
	for name, value := range settings {
		if err := hide("/proc/sys/"+name, value+"\n"); err != nil {
			return err
		}
	}
	// The API server finds the node by its name, and containerd the registries.
	return hide("/etc/hosts", "127.0.0.1 localhost "+Name+"\n"+Gateway+" "+strings.Join(Registries, " ")+"\n")
}
