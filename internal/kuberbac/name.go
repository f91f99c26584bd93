package kuberbac

import (
	"strings"
	"unicode/utf8"
)

// isPathSegment reports whether a role or binding may have this name. Kubernetes
// allows everything that is one segment of a path: colons and capitals as well.
func isPathSegment(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/%") && utf8.ValidString(name)
}

// isDNSLabel reports whether s can name a namespace (RFC 1123).
func isDNSLabel(s string) bool {
	return s != "" && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-' && consists(s, lowerAlnum, "-")
}

// isDNSSubdomain reports whether s can name a service account: labels with dots
// between them. Unlike in DNS, a label may be as long as the whole.
func isDNSSubdomain(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' || !consists(label, lowerAlnum, "-") {
			return false
		}
	}
	return true
}

// isLabelKey reports whether s is "name" or "dns.prefix/name".
func isLabelKey(s string) bool {
	if prefix, name, ok := strings.Cut(s, "/"); ok {
		if !isDNSSubdomain(prefix) {
			return false
		}
		s = name
	}
	return s != "" && isLabelValue(s)
}

// isLabelValue reports whether s may be the value of a label; it may be empty.
func isLabelValue(s string) bool {
	return s == "" || len(s) <= 63 && alnum(s[0]) && alnum(s[len(s)-1]) && consists(s, alnum, "-_.")
}

func consists(s string, class func(byte) bool, extra string) bool {
	for i := range len(s) {
		if !class(s[i]) && strings.IndexByte(extra, s[i]) < 0 {
			return false
		}
	}
	return true
}

func lowerAlnum(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

func alnum(c byte) bool { return lowerAlnum(c) || 'A' <= c && c <= 'Z' }
