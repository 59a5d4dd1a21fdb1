package httpapi

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// ipv6Site is the length in bits of the IPv6 prefix that a provider assigns to one customer. The customer can vary the
// rest of the address.
const ipv6Site = 64

// address returns the network address of the client, under which its failed logins are counted.
//
// It is the address of the peer, unless the peer is our sidecar, which APP_API_TOKEN proves, or a trusted proxy. These
// append the address of their own peer to X-Forwarded-For. So the last entry is true, and the entry before it is true
// if the last one is the address of a trusted proxy, and so on. The client may have forged the rest.
//
// A calling sidecar appends the address of its own machine (daprd 1.18, messaging.addForwardedHeaders). To count the
// people behind a calling app such as a gateway one by one, TRUSTED_PROXIES must include the app's machine, and the app
// must set the header. A call through our own sidecar, which only processes on this machine can make, gets nothing
// appended. Such a process can forge any address, and only the limit of the account applies to it.
func (a api) address(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr // net/http always sets a valid one; a test server may not
	}
	client := peer.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i, trusted := len(hops)-1, a.guard.BySidecar(r) || a.trusts(client); i >= 0 && trusted; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		client = hop.Unmap().WithZone("")
		trusted = a.trusts(client)
	}
	if client.Is4() {
		return client.String()
	}
	return netip.PrefixFrom(client, ipv6Site).Masked().String()
}

// trusts reports whether the address is that of a trusted proxy.
func (a api) trusts(address netip.Addr) bool {
	return slices.ContainsFunc(a.proxies, func(p netip.Prefix) bool { return p.Contains(address) })
}
