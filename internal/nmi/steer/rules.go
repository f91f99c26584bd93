//go:build linux

package steer

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// rules writes the chains of the state that is wanted:
//
//	guard  before all else: a sender that is not behind the interface that its
//	       packet came through is dropped, and so is who asks the agent's own address
//	lead   port 80 of the metadata address is the agent's; missing when shut
//	shut   what would be forwarded to a metadata service is refused, established
//	       connections as well
//	node   the same for the node itself, if it is blocked
func (s *Steer) rules(c *nftables.Conn, table *nftables.Table) {
	accept := nftables.ChainPolicyAccept
	chain := func(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority int32) *nftables.Chain {
		return c.AddChain(&nftables.Chain{Name: name, Table: table, Type: kind, Hooknum: hook, Priority: nftables.ChainPriorityRef(nftables.ChainPriority(priority)), Policy: &accept})
	}
	add := func(chain *nftables.Chain, parts ...[]expr.Any) {
		var all []expr.Any
		for _, p := range parts {
			all = append(all, p...)
		}
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: all})
	}

	// After defragmentation, before everything that changes addresses.
	guard := chain("guard", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, -290)
	add(guard, to(Metadata), noWayBack(), drop())
	add(guard, to(s.conf.Agent.Addr()), drop())

	if s.want == Open {
		// Before kube-proxy's and the network's own.
		lead := chain("lead", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, -110)
		add(lead, to(Metadata), port(unix.IPPROTO_TCP, 80), s.toAgent())
	}

	for _, place := range []struct {
		name string
		hook *nftables.ChainHook
		on   bool
	}{
		{"shut", nftables.ChainHookForward, true},
		{"node", nftables.ChainHookOutput, s.conf.BlockNode},
	} {
		if !place.on {
			continue
		}
		chain := chain(place.name, nftables.ChainTypeFilter, place.hook, -10)
		add(chain, to(Metadata), refuse())
		for _, p := range []uint16{80, 32526} {
			add(chain, to(Wire), port(unix.IPPROTO_TCP, p), refuse())
		}
		for _, a := range elsewhere {
			add(chain, to(a), refuse())
		}
	}
}

// elsewhere are addresses of IPv6 by which a metadata service can be reached: that
// of another cloud, and the two above behind a translator (RFC 6052).
var elsewhere = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"),
	netip.MustParseAddr("64:ff9b::a9fe:a9fe"),
	netip.MustParseAddr("64:ff9b::a83f:8110"),
}

// to matches packets to an address.
func to(a netip.Addr) []expr.Any {
	family, offset := byte(unix.NFPROTO_IPV4), uint32(16)
	if a.Is6() {
		family, offset = unix.NFPROTO_IPV6, 24
	}
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{family}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(a.BitLen() / 8)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: a.AsSlice()},
	}
}

// port matches packets to a port.
func port(protocol byte, n uint16) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{protocol}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(n)},
	}
}

// noWayBack matches packets whose sender is not behind the interface that they came
// through (RFC 3704, strict reverse path), whatever the node's rp_filter is.
func noWayBack() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: 1, ResultOIF: true, FlagSADDR: true, FlagIIF: true, FlagPRESENT: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: make([]byte, 4)},
	}
}

func drop() []expr.Any {
	return []expr.Any{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop}}
}

// refuse says so to the sender, who need not wait: administratively prohibited.
func refuse() []expr.Any {
	return []expr.Any{&expr.Counter{}, &expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED}}
}

func (s *Steer) toAgent() []expr.Any {
	return []expr.Any{
		&expr.Counter{},
		&expr.Immediate{Register: 1, Data: s.conf.Agent.Addr().AsSlice()},
		&expr.Immediate{Register: 2, Data: binaryutil.BigEndian.PutUint16(s.conf.Agent.Port())},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 2},
	}
}
