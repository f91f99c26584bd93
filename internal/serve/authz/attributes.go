package authz

import "strings"

// maxValue bounds each value of a question, in bytes. Names of Kubernetes objects
// have at most 253; paths and the names of custom verbs have no limit of their own.
const maxValue = 2048

// complete says what a question lacks, or has too much of; "" when it is whole.
func (q *question) complete() string {
	a := &q.attributes
	switch {
	case q.user == "":
		return "the review names no user"
	case q.resource == q.path:
		return "the review must ask about a resource or about a path, and not about both"
	case a.Verb == "":
		return "the review names no verb"
	case q.resource && a.Resource == "":
		return "the review names no resource"
	case q.path && !strings.HasPrefix(a.Path, "/"):
		return "the review names no path"
	case len(q.user) > maxValue:
		return "the user name is too long"
	}
	return ""
}

// sound says what is wrong with a question that no honest client asks: values
// that a reader which joins or cleans paths takes for something else. An API
// server passes them on as its clients wrote them (catalogue 0.10, 0.11).
func (q *question) sound() string {
	a := &q.attributes
	for _, v := range [...]struct{ what, value string }{
		{"verb", a.Verb}, {"API group", a.APIGroup}, {"resource", a.Resource}, {"namespace", a.Namespace},
	} {
		if !soundSegment(v.value) {
			return "the " + v.what + " of the request is not a name"
		}
	}
	// Whoever impersonates asks for the name of a user or group, or for the key and
	// value of an extra, which may have slashes. No scope or action is made of them.
	if strings.HasPrefix(a.Verb, "impersonate") && len(a.Name) <= maxValue && len(a.Subresource) <= maxValue {
		return ""
	}
	if !soundSegment(a.Subresource) || !soundSegment(a.Name) {
		return "the name or subresource of the request is not a name"
	}
	if q.path && !soundPath(a.Path) {
		return "the path of the request is not in its plain form"
	}
	return ""
}

func soundSegment(s string) bool {
	if s == "." || s == ".." || len(s) > maxValue {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c == '/' || c == '\\' || c < 0x20 || c == 0x7f {
			return false
		}
	}
	return true
}

// soundPath accepts a path whose every reader sees the same segments.
func soundPath(path string) bool {
	if len(path) > maxValue || strings.Contains(path, "//") {
		return false
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		if !soundSegment(segment) {
			return false
		}
	}
	// Escaped dots and slashes: what reaches us has been unescaped once already.
	for i := range len(path) - 2 {
		if path[i] == '%' {
			switch strings.ToLower(path[i+1 : i+3]) {
			case "2e", "2f", "5c", "25", "00":
				return false
			}
		}
	}
	return true
}
