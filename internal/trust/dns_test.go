package trust_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/gatehouse-io/gatehouse/internal/trust"
)

// A zone is what a DNS server says: the names and addresses that each name has, by
// how often it was asked for them. What it does not know is not there.
type zone map[string]func(asked int) []string

func always(records ...string) func(int) []string { return func(int) []string { return records } }

// resolver asks a real DNS server of a zone, and nobody else.
func (z zone) resolver(t *testing.T) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	t.Cleanup(done.Wait)
	t.Cleanup(func() { conn.Close() })
	done.Go(func() {
		asked, buf := make(map[dnsmessage.Question]int), make([]byte, 1500)
		for {
			size, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:size]) != nil || len(m.Questions) != 1 {
				continue
			}
			asked[m.Questions[0]]++
			if out, err := z.answer(m, asked[m.Questions[0]]); err == nil {
				conn.WriteTo(out, from)
			}
		}
	})
	return &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func (z zone) answer(m dnsmessage.Message, asked int) ([]byte, error) {
	q := m.Questions[0]
	m.Response, m.Authoritative, m.RecursionAvailable, m.Additionals = true, true, true, nil
	name := q.Name.String()
	for range 8 { // as far as a chain of other names goes
		records, ok := z[strings.TrimSuffix(name, ".")]
		if !ok {
			m.RCode = dnsmessage.RCodeNameError
			break
		}
		head, next := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET}, ""
		for _, text := range records(asked) {
			var body dnsmessage.ResourceBody
			switch addr, err := netip.ParseAddr(text); {
			case err != nil:
				next = text + "."
				body = &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(next)}
			case addr.Is4() && q.Type == dnsmessage.TypeA:
				body = &dnsmessage.AResource{A: addr.As4()}
			case addr.Is6() && q.Type == dnsmessage.TypeAAAA:
				body = &dnsmessage.AAAAResource{AAAA: addr.As16()}
			default:
				continue
			}
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: body})
		}
		if name = next; name == "" {
			break
		}
	}
	return m.Pack()
}

// FED-06: what a DNS server says that is the issuer's own, and may say anything: the
// address that was looked at is the one that is dialled, and one bad one refuses all.
func TestDNSThatLeadsInside(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		law     string
		zone    zone
		dialled string // "" for a refusal
	}{
		{"a public address", zone{host: always("8.8.8.8")}, "[8.8.8.8:443 8.8.8.8:443]"},
		{"a public name of another", zone{host: always("cdn.example"), "cdn.example": always("8.8.8.8")}, "[8.8.8.8:443 8.8.8.8:443]"},
		{"an inner address", zone{host: always("10.0.0.1")}, ""},
		{"the name of an inner one", zone{host: always("vault.example"), "vault.example": always("10.0.0.1")}, ""},
		{"a chain of names that ends inside", zone{host: always("a.example"), "a.example": always("b.example"), "b.example": always("metadata.internal"), "metadata.internal": always("169.254.169.254")}, ""},
		{"the name localhost", zone{host: always("localhost"), "localhost": always("127.0.0.1", "::1")}, ""},
		{"public and inner addresses", zone{host: always("8.8.8.8", "10.0.0.1")}, ""},
		{"inner and public addresses", zone{host: always("10.0.0.1", "8.8.8.8")}, ""},
		{"an inner address in IPv6 alone", zone{host: always("8.8.8.8", "fd00::1")}, ""},
		{"an IPv4 address in an IPv6 one", zone{host: always("8.8.8.8", "64:ff9b::a9fe:a9fe")}, ""},
		{"the wire server of Azure", zone{host: always("168.63.129.16")}, ""},
		{"no address", zone{host: always()}, ""},
		{"no such name", zone{}, ""},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t)
			dns := tt.zone.resolver(t)
			i := n.issuers(func(c *trust.Config) {
				c.Lookup = func(ctx context.Context, name string) ([]netip.Addr, error) { return dns.LookupNetIP(ctx, "ip", name) }
			})
			if tt.dialled != "" {
				mustHave(t, i, "k1")
				if got := fmt.Sprint(n.dialled); got != tt.dialled {
					t.Errorf("dialled %s, want %s", got, tt.dialled)
				}
				return
			}
			mustFail(t, i, issuer)
			if len(n.dialled) != 0 {
				t.Errorf("dialled %s", n.dialled)
			}
		})
	}
	t.Run("another answer each time", func(t *testing.T) {
		t.Parallel()
		n := newNetwork(t)
		dns := zone{host: func(asked int) []string {
			if asked%2 == 1 {
				return []string{"8.8.8.8"}
			}
			return []string{"127.0.0.1"}
		}}.resolver(t)
		mustFail(t, n.issuers(func(c *trust.Config) {
			c.Lookup = func(ctx context.Context, name string) ([]netip.Addr, error) { return dns.LookupNetIP(ctx, "ip4", name) }
		}), issuer)
		if got := fmt.Sprint(n.dialled); got != "[8.8.8.8:443]" || n.count("/keys") != 0 {
			t.Errorf("dialled %s, and asked for the keys %d times", got, n.count("/keys"))
		}
	})
}
