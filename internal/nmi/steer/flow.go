//go:build linux

package steer

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// flush has the kernel forget connections to the metadata address that rules of
// others have led away before these were there, such as those of upstream's agent.
// What is sent in them next meets the rules as they are. Others need none of this:
// the rules look at every packet.
func (s *Steer) flush() error {
	if _, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, ledAway{s.conf.Agent.Addr()}); err != nil {
		return fmt.Errorf("end connections that are led away from the metadata address: %w", err)
	}
	return nil
}

// ledAway matches connections to the metadata address that neither it nor the agent
// answers.
type ledAway struct{ agent netip.Addr }

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (l ledAway) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	asked, _ := netip.AddrFromSlice(flow.Forward.DstIP)
	answers, _ := netip.AddrFromSlice(flow.Reverse.SrcIP)
	return asked.Unmap() == Metadata && answers.Unmap() != Metadata && answers.Unmap() != l.agent
}
