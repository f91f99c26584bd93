// Package loopback finds ports of 127.0.0.1 that nobody takes by chance.
package loopback

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// A kernel gives whoever asks for any port, and every connection that goes out, one
// from 32768 upwards; Kubernetes gives services those from 30000. A port of before
// that is there again after a restart.
const first, last = 20000, 29999

// A Port is held back from whoever else takes one here, in whatever process.
type Port struct {
	Number int
	hold   net.PacketConn
}

// Take returns a port on which nobody listens.
func Take() (*Port, error) {
	for range 100 {
		n := first + rand.IntN(last-first+1)
		addr := fmt.Sprintf("127.0.0.1:%d", n)
		// The UDP port of the same number says that the TCP port is taken, before its
		// taker listens there.
		hold, err := net.ListenPacket("udp", addr)
		if err != nil {
			continue
		}
		ln, err := net.Listen("tcp", addr)
		if err == nil {
			err = ln.Close()
		}
		if err == nil {
			return &Port{Number: n, hold: hold}, nil
		}
		hold.Close()
	}
	return nil, errors.New("no free port of 127.0.0.1 is found")
}

// Addr is the port with its host.
func (p *Port) Addr() string { return fmt.Sprintf("127.0.0.1:%d", p.Number) }

// Close lets others take the port when nobody listens there. A nil Port is closed.
func (p *Port) Close() error {
	if p == nil {
		return nil
	}
	return p.hold.Close()
}
