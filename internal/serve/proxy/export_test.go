package proxy

import (
	"context"
	"net"
	"net/netip"
)

// What the tests look at from outside.
var (
	ParseTarget  = parseTarget
	DialLoopback = dialLoopback
	Limit        = limit
)

// TunnelIdle is how long a tunnel may be quiet.
const TunnelIdle = tunnelIdle

// SetDial replaces the way to the API servers.
func SetDial(d *Door, dial func(context.Context, netip.AddrPort) (net.Conn, error)) { d.dial = dial }
