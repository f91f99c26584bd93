//go:build linux

// Package steer leads what the pods of a node ask the metadata address to the node
// agent, and lets them reach no metadata service by any other way.
//
// It keeps one nftables table of its own, inet gatehouse_nmi, and one address on
// the loopback interface for the agent to listen at. Only packets that come in
// through an interface are looked at: processes of the node itself, and pods on
// its network, send theirs elsewhere, unless Config.BlockNode says so.
//
// The table stays in the kernel when the agent dies. Then what pods ask is refused,
// for nobody listens any more.
package steer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

// Table is the name of the table, of family inet.
const Table = "gatehouse_nmi"

// Metadata is the address that programs ask for tokens of managed identities, at
// port 80, and Wire that of Azure's wire server, from which a machine gets its
// certificates. Pods have no business at the latter but names (port 53).
var (
	Metadata = netip.MustParseAddr("169.254.169.254")
	Wire     = netip.MustParseAddr("168.63.129.16")
)

// Config says where to lead requests. Agent is required.
type Config struct {
	// Agent is where the agent listens: a link-local address that is nobody else's,
	// and a port. The address is put on the loopback interface.
	Agent netip.AddrPort
	// BlockNode refuses what the node itself, and pods on its network, send to the
	// metadata address.
	BlockNode bool
	// Every is how often the table is looked at when nothing changes; 0 means 10 s.
	// It is also looked at whenever anybody changes the rules of the node.
	Every time.Duration
	Log   *slog.Logger // nil means no log
}

// A State is what the table does with the requests of pods.
type State int

// The states. The zero state is Shut.
const (
	Shut State = iota // refuses all
	Open              // leads those to port 80 of the metadata address to the agent
)

// A Steer keeps the table. It is for one goroutine.
type Steer struct {
	conf Config
	want State
	have []rule // as the kernel listed them after they were written
}

// New checks a configuration.
func New(conf Config) (*Steer, error) {
	if a := conf.Agent.Addr(); !a.Is4() || !a.IsLinkLocalUnicast() || a == Metadata || conf.Agent.Port() == 0 {
		return nil, fmt.Errorf("the agent's address %s is not an IPv4 link-local address with a port, as 169.254.25.79:2579", conf.Agent)
	}
	if conf.Every <= 0 {
		conf.Every = 10 * time.Second
	}
	if conf.Log == nil {
		conf.Log = slog.New(slog.DiscardHandler)
	}
	return &Steer{conf: conf}, nil
}

// Set brings the table into a state, in one transaction: there is no instant
// without rules.
func (s *Steer) Set(state State) error {
	if err := s.address(); err != nil {
		return err
	}
	s.want = state
	return s.write()
}

// Remove takes away the table and the address. That they are not there is no error.
func (s *Steer) Remove() error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: Table})
	c.DelTable(table)
	if err := c.Flush(); err != nil {
		return fmt.Errorf("remove the nftables table %s: %w", Table, err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find the loopback interface: %w", err)
	}
	if found, err := s.hasAddress(lo); err != nil || !found {
		return err
	}
	return netlink.AddrDel(lo, s.loopback())
}

func (s *Steer) loopback() *netlink.Addr {
	return &netlink.Addr{IPNet: netlink.NewIPNet(s.conf.Agent.Addr().AsSlice()), Scope: int(netlink.SCOPE_HOST)}
}

func (s *Steer) hasAddress(lo netlink.Link) (bool, error) {
	all, err := netlink.AddrList(lo, netlink.FAMILY_V4)
	if err != nil {
		return false, fmt.Errorf("list the addresses of the loopback interface: %w", err)
	}
	return slices.ContainsFunc(all, func(a netlink.Addr) bool { return a.IP.Equal(s.conf.Agent.Addr().AsSlice()) }), nil
}

// address puts the agent's address on the loopback interface.
func (s *Steer) address() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find the loopback interface: %w", err)
	}
	if found, err := s.hasAddress(lo); err != nil || found {
		return err
	}
	if err := netlink.AddrAdd(lo, s.loopback()); err != nil {
		return fmt.Errorf("put %s on the loopback interface: %w", s.conf.Agent.Addr(), err)
	}
	return nil
}

// Keep writes the table anew whenever it is not as it was written, until the
// context ends. It tells repaired, if that is not nil.
func (s *Steer) Keep(ctx context.Context, repaired func()) error {
	changes, stop, err := watch()
	if err != nil {
		return err
	}
	defer stop()
	tick := time.NewTicker(s.conf.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-changes:
			if !ok { // the kernel sent more than was read; begin anew
				stop()
				if changes, stop, err = watch(); err != nil {
					return err
				}
			}
		case <-tick.C:
		}
		did, err := s.check()
		if err != nil {
			s.conf.Log.ErrorContext(ctx, "the rules that lead pods to this agent cannot be kept", "error", err.Error())
			continue
		}
		if did {
			s.conf.Log.WarnContext(ctx, "the rules that lead pods to this agent were changed by somebody; written anew", "table", Table)
			if repaired != nil {
				repaired()
			}
		}
	}
}

// watch returns a channel of changes that anybody makes to the rules of the node.
func watch() (<-chan *nftables.MonitorEvents, func(), error) {
	c, err := nftables.New()
	if err != nil {
		return nil, nil, err
	}
	m := nftables.NewMonitor(nftables.WithMonitorEventBuffer(64))
	ch, err := c.AddGenerationalMonitor(m)
	if err != nil {
		return nil, nil, fmt.Errorf("watch the rules of the node: %w", err)
	}
	return ch, func() { m.Close() }, nil
}

// check repairs the table and the address, and reports whether it had to.
func (s *Steer) check() (bool, error) {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return false, err
	}
	there, err := s.hasAddress(lo)
	if err != nil {
		return false, err
	}
	if !there {
		if err := s.address(); err != nil {
			return false, err
		}
	}
	have, err := list()
	if err != nil {
		return false, err
	}
	if slices.Equal(have, s.have) {
		return !there, nil
	}
	return true, s.write()
}

// write replaces the table and remembers what the kernel made of it.
func (s *Steer) write() error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: Table}
	c.AddTable(table) // so that there is one to delete
	c.DelTable(table)
	s.rules(c, c.AddTable(table))
	if err := c.Flush(); err != nil {
		return fmt.Errorf("write the nftables table %s: %w", Table, err)
	}
	if err := s.flush(); err != nil {
		return err
	}
	s.have, err = list()
	if err == nil && len(s.have) == 0 {
		err = errors.New("the nftables table " + Table + " was removed while it was written")
	}
	return err
}

// A rule is one as the kernel knows it; without a handle it stands for its chain.
// Rules that are written anew have new handles.
type rule struct {
	chain  string
	handle uint64
}

// list returns the rules of the table and its chains: none when there is no table.
func list() ([]rule, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, err
	}
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, fmt.Errorf("list the nftables chains: %w", err)
	}
	var all []rule
	for _, chain := range chains {
		if chain.Table.Name != Table {
			continue
		}
		all = append(all, rule{chain: chain.Name})
		rules, err := c.GetRules(chain.Table, chain)
		if err != nil {
			return nil, fmt.Errorf("list the nftables rules of %s: %w", chain.Name, err)
		}
		for _, r := range rules {
			all = append(all, rule{chain.Name, r.Handle})
		}
	}
	return all, nil
}
