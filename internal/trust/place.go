package trust

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

// A place is a URL that may be asked, if its addresses are good.
type place struct {
	url     *url.URL
	private bool // may be in the own network
}

// maxURL bounds a URL, in bytes. Issuers have the bound of Entra.
const (
	maxIssuer = 600
	maxURL    = 2048
)

// parse reads the URL of an issuer.
func (i *Issuers) parse(issuer string) (place, error) {
	if len(issuer) > maxIssuer {
		return place{}, record.Invalid("issuer: longer than %d bytes", maxIssuer)
	}
	p, err := i.place(issuer)
	switch {
	case err != nil:
		return place{}, fmt.Errorf("issuer: %w", err)
	case p.url.RawQuery != "" || p.url.ForceQuery:
		return place{}, record.Invalid("issuer: %q has a query", issuer)
	case directory.DefaultIssuer(issuer):
		return place{}, record.Invalid("issuer: %q is the default of every Kubernetes cluster; give the cluster an issuer of its own (--service-account-issuer)", issuer)
	}
	return p, nil
}

// place reads a URL as strictly as it can be written: lower-case https, a host
// that is written in one way, no user, no fragment, port 443.
func (i *Issuers) place(raw string) (place, error) {
	u, err := url.Parse(raw)
	if err != nil || len(raw) > maxURL || strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' }) {
		return place{}, record.Invalid("%.200q is no URL", raw)
	}
	if !strings.HasPrefix(raw, "https://") || u.User != nil || u.Fragment != "" || strings.Contains(raw, "#") || u.Hostname() == "" {
		return place{}, record.Invalid("%.200q is not a plain https URL", raw)
	}
	if slices.ContainsFunc(strings.Split(u.Path, "/"), func(s string) bool { return s == "." || s == ".." }) {
		return place{}, record.Invalid("%.200q has a path with dots", raw)
	}
	p := place{url: u, private: i.private(u.Host)}
	if port := u.Port(); !p.private && (port != "" && port != "443" || strings.HasSuffix(u.Host, ":")) {
		return place{}, record.Invalid("%.200q is not at port 443", raw)
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		if err := vet(addr, p.private); err != nil {
			return place{}, err
		}
		return p, nil
	}
	if !p.private && !publicName(u.Hostname()) {
		return place{}, record.Invalid("%.200q is at no public host", raw)
	}
	return p, nil
}

// private reports whether a host may be in the own network. Port 443 may be written
// or left out, here and there.
func (i *Issuers) private(host string) bool {
	return slices.ContainsFunc(i.conf.Private, func(p string) bool {
		return strings.TrimSuffix(p, ":443") == strings.TrimSuffix(host, ":443")
	})
}

// publicName reports whether a host is a name of the public DNS, in lower case.
// Numbers in other notations, which some resolvers take for addresses, are none.
func publicName(host string) bool {
	labels := strings.Split(host, ".")
	if len(host) > 253 || len(labels) < 2 {
		return false
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	switch top := labels[len(labels)-1]; top {
	case "localhost", "local", "internal", "svc", "lan", "home", "corp", "intranet", "onion":
		return false
	default:
		return top[0] > '9' // no top-level domain begins with a digit, every number does
	}
}

// Addresses of the own network, which Config.Private can open.
var own = prefixes("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7")

// Addresses that are no public server's (IANA's special-purpose registries).
// NAT64 and 6to4 addresses contain others, which nobody would look at.
var special = append(own[:len(own):len(own)], prefixes("0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24",
	"192.88.99.0/24", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3", "2001::/23", "2001:db8::/32", "2002::/16",
	"2620:4f:8000::/48", "3fff::/20")...)

// Addresses at which clouds answer for their machines, besides the link-local ones:
// those of Azure, Alibaba, AWS and Google. Some look public, some like the own
// network, and nobody can open them.
var clouds = prefixes("168.63.129.16/32", "100.100.100.200/32", "fd00:ec2::/32", "fd20:ce::/64")

// unicast is all of IPv6 that is given out to public networks. What lies outside it,
// such as NAT64, site-local addresses and multicast, need not be listed.
var unicast = netip.MustParsePrefix("2000::/3")

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		out[i] = netip.MustParsePrefix(t)
	}
	return out
}

// vet refuses an address that is no public server's, or, for a private host,
// neither that nor one of the own network.
func vet(addr netip.Addr, private bool) error {
	in := func(list []netip.Prefix) bool {
		return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(addr.Unmap()) })
	}
	addr = addr.Unmap()
	switch {
	case addr.Zone() != "" || in(clouds):
	case private && in(own):
		return nil
	case !in(special) && (addr.Is4() || unicast.Contains(addr)):
		return nil
	}
	if private {
		return record.Invalid("the address %s is neither of the own network nor of a public server", addr)
	}
	return record.Invalid("the address %s is not of a public server; whoever runs the house may name the host with --private-issuer", addr)
}

// dial connects to the host of a place after it has looked at its addresses. One
// that is not good refuses all: somebody plays with the answers (FED-06). The
// connection ends by itself: http.Transport goes on with a handshake when nobody
// waits for it.
func (i *Issuers) dial(ctx context.Context, p place, network, hostPort string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, err
	}
	addrs := []netip.Addr{}
	if addr, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, addr)
	} else if addrs, err = i.conf.Lookup(ctx, host); err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("%s has no address", host)
	}
	for _, a := range addrs {
		if err := vet(a, p.private); err != nil {
			return nil, fmt.Errorf("%s: %w", host, err)
		}
	}
	var conn net.Conn
	for _, a := range addrs {
		if conn, err = i.conf.Dial(ctx, network, net.JoinHostPort(a.Unmap().String(), port)); err == nil {
			return conn, conn.SetDeadline(time.Now().Add(patience))
		}
	}
	return nil, err
}
