package arm

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// etag is the entity tag of a record: the revision that wrote it.
func etag(rev int64) string { return `"` + strconv.FormatInt(rev, 10) + `"` }

// tag gives an answer the entity tag of what it shows, and holds the conditions of
// the request against it (RFC 9110, section 13.1). It comes after the handler, so
// that nobody learns by a condition what he may not read.
func (s *session) tag(r *request, out *answer) error {
	if out.of != (record.Key{}) {
		rev := s.rev(out.of)
		if rev > s.est.Revision() {
			return store.ErrConflict // the answer shows an older one
		}
		if rev > 0 {
			out.etag = etag(rev)
		}
	}
	reads := r.method == http.MethodGet || r.method == http.MethodHead
	match, none := r.header.Get("If-Match"), r.header.Get("If-None-Match")
	switch {
	case match != "" && !lists(match, out.etag) && (!reads || out.of != (record.Key{})):
	case none == "" || !lists(none, out.etag):
		return nil
	case reads:
		*out = answer{status: http.StatusNotModified, etag: out.etag}
		return nil
	}
	return serve.Refuse(http.StatusPreconditionFailed, "PreconditionFailed", "The resource does not match the condition of the request.")
}

// lists reports whether a list of entity tags has one. A star stands for every one
// that exists. Weak tags match like strong ones: there is one form of everything.
func lists(header, tag string) bool {
	if tag == "" {
		return false
	}
	for one := range strings.SplitSeq(header, ",") {
		if one = strings.TrimPrefix(strings.TrimSpace(one), "W/"); one == "*" || one == tag {
			return true
		}
	}
	return false
}
