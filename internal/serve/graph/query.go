package graph

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// Sizes of a page, as in Graph.
const (
	defaultTop = 100
	maxTop     = 999
	maxQuery   = 8 << 10 // bytes of a query string
)

// A query is what the options of a request say.
type query struct {
	values url.Values
	filter filter
	fields []string // nil is all
	top    int
	count  bool
	after  principal.ID // the last object of the page before
}

// options of a collection and of a single object.
var (
	ofList   = []string{"$filter", "$select", "$top", "$count", "$skiptoken"}
	ofLinks  = []string{"$select", "$top", "$count", "$skiptoken"}
	ofObject = []string{"$select"}
)

// parse reads the options of a request. Options that this house does not know
// are refused: whoever filters or orders and gets everything is misled.
func (d *Door) parse(r *http.Request, s *session, known []string, kinds ...*kind) (query, error) {
	q := query{top: defaultTop}
	if len(r.URL.RawQuery) > maxQuery {
		return query{}, unsupported("The query is longer than 8 KiB.")
	}
	var err error
	if q.values, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		return query{}, unsupported("The query is not validly encoded.")
	}
	for name, values := range q.values {
		if !slices.Contains(known, name) {
			return query{}, unsupported("The query option '" + serve.Printable(name, 64) + "' is not supported here. Supported are " + strings.Join(known, ", ") + ".")
		}
		if len(values) != 1 {
			return query{}, unsupported("The query option '" + name + "' is there more than once.")
		}
	}
	if text, ok := q.get("$filter"); ok {
		if q.filter, err = parseFilter(text); err == nil {
			err = q.filter.check(kinds[0])
		}
		if err != nil {
			return query{}, unsupported("Invalid filter clause: " + err.Error() + ".")
		}
	}
	if text, ok := q.get("$select"); ok {
		if q.fields, err = parseSelect(text, kinds); err != nil {
			return query{}, err
		}
	}
	if text, ok := q.get("$top"); ok {
		if q.top, err = strconv.Atoi(text); err != nil || q.top < 1 || q.top > maxTop {
			return query{}, unsupported("Invalid page size specified: '" + serve.Printable(text, 32) + "'. Must be between 1 and 999 inclusive.")
		}
	}
	if text, ok := q.get("$count"); ok {
		if text != "true" && text != "false" {
			return query{}, unsupported("$count must be true or false.")
		}
		if q.count = text == "true"; q.count && !strings.EqualFold(r.Header.Get("ConsistencyLevel"), "eventual") {
			return query{}, unsupported("$count=true needs the header 'ConsistencyLevel: eventual'.")
		}
	}
	if text, ok := q.get("$skiptoken"); ok {
		raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
		n := len(principal.ID{})
		if err != nil || len(raw) != n+sha256.Size {
			return query{}, errPage()
		}
		q.after = principal.ID(raw[:n])
		if !hmac.Equal(raw[n:], d.mac(r, s, q)) {
			return query{}, errPage()
		}
	}
	return q, nil
}

func (q query) get(name string) (string, bool) {
	return q.values.Get(name), q.values.Has(name)
}

func errPage() error {
	return serve.Refuse(http.StatusBadRequest, "Directory_ExpiredPageToken", "The specified page token value is not one that this service gave out for this query.")
}

// mac binds a page token to who asked what. Without it a token could be made by
// hand, and one of another query used to walk where its caller did not ask.
func (d *Door) mac(r *http.Request, s *session, q query) []byte {
	h := hmac.New(sha256.New, d.conf.PageKey)
	for _, part := range []string{"gatehouse graph page", s.tenant.String(), s.caller.ID.String(), r.URL.Path, q.encode(""), q.after.String()} {
		h.Write([]byte(strconv.Quote(part)))
	}
	return h.Sum(nil)
}

// encode writes the options with another page token, or without one.
func (q query) encode(token string) string {
	v := make(url.Values, len(q.values))
	for name, values := range q.values {
		if name != "$skiptoken" {
			v[name] = values
		}
	}
	if token != "" {
		v.Set("$skiptoken", token)
	}
	return v.Encode()
}

// next returns the link to the page after an object.
func (d *Door) next(r *http.Request, s *session, q query, last principal.ID) string {
	q.after = last
	token := append(slices.Clone(last[:]), d.mac(r, s, q)...)
	path := (&url.URL{Path: r.URL.Path}).EscapedPath()
	return d.conf.Base + path + "?" + q.encode(base64.RawURLEncoding.EncodeToString(token))
}

func parseSelect(text string, kinds []*kind) ([]string, error) {
	known := make(map[string]bool)
	for _, k := range kinds {
		for _, name := range k.properties {
			known[name] = true
		}
	}
	var fields []string
	for name := range strings.SplitSeq(text, ",") {
		name = strings.TrimSpace(name)
		if !known[name] {
			return nil, unsupported("Could not find a property named '" + serve.Printable(name, 64) + "' to select.")
		}
		if !slices.Contains(fields, name) {
			fields = append(fields, name)
		}
	}
	return fields, nil
}
