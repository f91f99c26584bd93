//go:build linux

// Package wiring tells which pod is behind an address of this node, by what the
// kernel knows and no packet says: the address is routed to one end of a virtual
// cable, the other end is in a network namespace, and in that namespace run
// processes of the pod.
//
// It knows cables (veth) that an address of its own is routed to, as most pod
// networks have them. A bridge is not enough: whoever is on it can pass for his
// neighbours (CVE-2021-1677).
package wiring

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
)

// Errors that callers branch on. Test for them with errors.Is.
var (
	// ErrNoPod means that no pod is at the address: it is routed elsewhere.
	ErrNoPod = errors.New("no pod is at the address")
	// ErrShared means that several pods share the interface that the address is
	// routed to, so that one could pass for another.
	ErrShared = errors.New("several pods share the interface")
)

// A Port is the node's end of a pod's cable. Interfaces that come after it have
// other numbers. The zero Port is none.
type Port struct {
	Link int // the number of the interface
	Peer int // the node's number for the network namespace at the other end
}

// PortOf returns where an address is now. Errors wrap ErrNoPod or ErrShared, or
// mean that the kernel was not to be asked.
func PortOf(addr netip.Addr) (Port, error) {
	routes, err := netlink.RouteGet(addr.AsSlice())
	if err != nil {
		return Port{}, fmt.Errorf("%w: %s: %w", ErrNoPod, addr, err)
	}
	if len(routes) != 1 || routes[0].Type != syscall.RTN_UNICAST || routes[0].Gw != nil {
		return Port{}, fmt.Errorf("%w: %s is not next to this node", ErrNoPod, addr)
	}
	link, err := netlink.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return Port{}, fmt.Errorf("the interface of %s: %w", addr, err)
	}
	switch a := link.Attrs(); link.Type() {
	case "veth":
		if a.NetNsID < 0 {
			return Port{}, fmt.Errorf("%w: the other end of %s, to which %s is routed, is on this node", ErrNoPod, a.Name, addr)
		}
		return Port{Link: a.Index, Peer: a.NetNsID}, nil
	case "bridge", "openvswitch":
		return Port{}, fmt.Errorf("%w: %s is routed to the bridge %s; pod identity needs a network that gives each pod a route of its own", ErrShared, addr, a.Name)
	default:
		return Port{}, fmt.Errorf("%w: %s is routed to %s, which is no cable to a pod (%s)", ErrNoPod, addr, a.Name, link.Type())
	}
}

// Processes say which pods run in which network namespaces. The zero value knows
// none.
type Processes struct {
	in map[string][]int // by the UID of the pod
}

// Run reports whether a process of a pod runs in the namespace at the other end of
// a port.
func (p Processes) Run(uid string, at Port) bool {
	for _, peer := range p.in[uid] {
		if at != (Port{}) && peer == at.Peer {
			return true
		}
	}
	return false
}

// Len is the number of pods that have a process.
func (p Processes) Len() int { return len(p.in) }

// ReadProcesses looks at all processes of the node. Proc is where its proc file
// system is, with the processes of all pods.
func ReadProcesses(proc string) (Processes, error) {
	// The kernel numbers a namespace when it tells of an interface that leads there.
	if _, err := netlink.LinkList(); err != nil {
		return Processes{}, fmt.Errorf("list the interfaces: %w", err)
	}
	dirs, err := os.ReadDir(proc)
	if err != nil {
		return Processes{}, err
	}
	s := scan{found: make(map[string][]int), numbers: make(map[uint64]int)}
	for _, d := range dirs {
		if _, err := strconv.Atoi(d.Name()); err != nil {
			continue
		}
		if err := s.process(filepath.Join(proc, d.Name())); err != nil {
			return Processes{}, err
		}
	}
	return Processes{s.found}, nil
}

type scan struct {
	found   map[string][]int
	numbers map[uint64]int // of namespaces, by inode
}

// process notes one process, if it is a pod's. One that ends meanwhile is left out.
func (s *scan) process(dir string) error {
	uid := podOf(dir)
	if uid == "" {
		return nil
	}
	f, err := os.Open(filepath.Join(dir, "ns", "net"))
	if gone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the processes of pods: %w; this needs the node's process namespace and CAP_SYS_PTRACE", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	inode := info.Sys().(*syscall.Stat_t).Ino
	number, ok := s.numbers[inode]
	if !ok {
		if number, err = netlink.GetNetNsIdByFd(int(f.Fd())); err != nil {
			return fmt.Errorf("the number of a network namespace: %w", err)
		}
		s.numbers[inode] = number
	}
	// The same process still: a number that is free is given to the next one.
	if number < 0 || podOf(dir) != uid {
		return nil
	}
	for _, n := range s.found[uid] {
		if n == number {
			return nil
		}
	}
	s.found[uid] = append(s.found[uid], number)
	return nil
}

func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

// podSegment is how kubelets name the control group of a pod, with either driver.
var podSegment = regexp.MustCompile(`^(?:kubepods[a-z-]*-)?pod([0-9a-f]{8}([-_])[0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12})(?:\.slice)?$`)

// podOf returns the UID of the pod that a process belongs to, or "": of its control
// groups, those of a pod must be of one pod. What is below a pod's own group is the
// pod's to name, so only the first name counts.
func podOf(dir string) string {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup"))
	if err != nil {
		return ""
	}
	uid := ""
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			return ""
		}
		for segment := range strings.SplitSeq(parts[2], "/") {
			m := podSegment.FindStringSubmatch(segment)
			if m == nil {
				continue
			}
			this := strings.ReplaceAll(m[1], "_", "-")
			if uid != "" && uid != this {
				return ""
			}
			uid = this
			break
		}
	}
	return uid
}
