package issue

import "strings"

// redirectMatches reports whether a client that registered one redirect URI may
// be answered at the one asked for. The two are compared byte for byte, because
// every cleverness here has been an attack (OA-05), with one exception: a public
// client on a loopback address may use any port (RFC 8252, section 7.3). The
// name localhost is included, since that is what the command line clients send.
func redirectMatches(registered, asked string, public bool) bool {
	if registered == asked {
		return true
	}
	if !public {
		return false
	}
	for _, host := range []string{"http://localhost", "http://127.0.0.1", "http://[::1]"} {
		want, ok1 := strings.CutPrefix(registered, host)
		got, ok2 := strings.CutPrefix(asked, host)
		if !ok1 || !ok2 {
			continue
		}
		want, ok1 = cutPort(want)
		got, ok2 = cutPort(got)
		if ok1 && ok2 && want == got {
			return true
		}
	}
	return false
}

// cutPort takes ":1" to ":65535" from the front of s. What is left is empty or a
// path or query; anything else means that the host went on.
func cutPort(s string) (rest string, ok bool) {
	if port, ok := strings.CutPrefix(s, ":"); ok {
		n, i := 0, 0
		for i < len(port) && '0' <= port[i] && port[i] <= '9' && i < 5 {
			n = n*10 + int(port[i]-'0')
			i++
		}
		if i == 0 || port[0] == '0' || n > 65535 {
			return "", false
		}
		s = port[i:]
	}
	return s, s == "" || s[0] == '/' || s[0] == '?'
}
