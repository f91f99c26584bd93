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
//	guard    before all else: a sender that is not behind the interface that its
//	         packet came through is dropped, and so is who asks the agent's own address
//	lead     port 80 of the metadata address is the agent's, but not when shut; its
//	         other ports are nobody's, whoever has rules behind these
//	shut     what goes to a metadata service is refused, in established connections
//	         as well; what was led to the agent goes there no more
//	refused  how: by a reset, which ends a connection, or else by a notice
//	through  what would be forwarded passes shut
//	inside   so does what comes for the node itself, where a metadata service is
//	         on the node: behind lead nothing of a pod goes there
//	node     and what the node itself sends, if it is blocked
func (s *Steer) rules(c *nftables.Conn, table *nftables.Table) {
	accept := nftables.ChainPolicyAccept
	hooked := func(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority int32) *nftables.Chain {
		return c.AddChain(&nftables.Chain{Name: name, Table: table, Type: kind, Hooknum: hook, Priority: nftables.ChainPriorityRef(nftables.ChainPriority(priority)), Policy: &accept})
	}
	plain := func(name string) *nftables.Chain { return c.AddChain(&nftables.Chain{Name: name, Table: table}) }
	add := func(chain *nftables.Chain, parts ...[]expr.Any) {
		var all []expr.Any
		for _, p := range parts {
			all = append(all, p...)
		}
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: all})
	}

	// After defragmentation, before everything that changes addresses.
	guard := hooked("guard", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, -290)
	add(guard, to(Metadata), noWayBack(), drop())
	add(guard, to(s.conf.Agent.Addr()), drop())

	// Before those of kube-proxy, of the network, and of upstream's agent. What has been
	// led once, be it to where it goes anyway, no other chain leads.
	lead := hooked("lead", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, -110)
	if s.want == Open {
		add(lead, to(Metadata), port(unix.IPPROTO_TCP, 80), s.toAgent())
	}
	add(lead, to(Metadata), stays())

	refused := plain("refused")
	add(refused, tcp(), reset())
	add(refused, notice())
	shut := plain("shut")
	add(shut, to(Metadata), jump(refused))
	for _, p := range []uint16{80, 32526} {
		add(shut, to(Wire), port(unix.IPPROTO_TCP, p), jump(refused))
	}
	for _, a := range elsewhere {
		add(shut, to(a), jump(refused))
	}

	add(hooked("through", nftables.ChainTypeFilter, nftables.ChainHookForward, -10), jump(shut))
	add(hooked("inside", nftables.ChainTypeFilter, nftables.ChainHookInput, -10), notFromNode(), jump(shut))
	if s.conf.BlockNode {
		add(hooked("node", nftables.ChainTypeFilter, nftables.ChainHookOutput, -10), jump(shut))
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
	return append(transport(protocol),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(n)})
}

func tcp() []expr.Any { return transport(unix.IPPROTO_TCP) }

func transport(protocol byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{protocol}},
	}
}

// notFromNode matches packets that came through another interface than loopback.
func notFromNode() []expr.Any {
	lo := make([]byte, unix.IFNAMSIZ)
	copy(lo, "lo")
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: lo},
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

// reset ends a connection for who sent the packet. A notice alone is nothing to him
// if the connection is established: he sends again until he gives up.
func reset() []expr.Any {
	return []expr.Any{&expr.Counter{}, &expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}
}

// notice tells the sender, who need not wait: administratively prohibited.
func notice() []expr.Any {
	return []expr.Any{&expr.Counter{}, &expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED}}
}

func jump(to *nftables.Chain) []expr.Any {
	return []expr.Any{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictJump, Chain: to.Name}}
}

func (s *Steer) toAgent() []expr.Any {
	return []expr.Any{
		&expr.Counter{},
		&expr.Immediate{Register: 1, Data: s.conf.Agent.Addr().AsSlice()},
		&expr.Immediate{Register: 2, Data: binaryutil.BigEndian.PutUint16(s.conf.Agent.Port())},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 2},
	}
}

func stays() []expr.Any {
	return []expr.Any{
		&expr.Counter{},
		&expr.Immediate{Register: 1, Data: Metadata.AsSlice()},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1},
	}
}
