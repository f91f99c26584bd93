package graph

import (
	"bytes"
	"cmp"
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
	filter *filter
	search search
	fields []string // nil is all
	expand []expansion
	order  order
	top    int
	count  bool
	after  place // behind which object the page begins
}

// An order is by a property, or with no field by object id.
type order struct {
	field string
	down  bool
}

// A place is that of an object in an order.
type place struct {
	key string
	id  principal.ID
}

func (o order) place(of object) place {
	p := place{id: of.id}
	if text := of.kind.texts[o.field]; text != nil {
		p.key = fold(text(of.v))
	}
	return p
}

func (o order) compare(a, b place) int {
	c := cmp.Or(cmp.Compare(a.key, b.key), bytes.Compare(a.id[:], b.id[:]))
	if o.down {
		return -c
	}
	return c
}

// Options of a collection, of a single object, and of a count.
var (
	ofList   = []string{"$filter", "$search", "$select", "$expand", "$orderby", "$top", "$count", "$skiptoken"}
	ofObject = []string{"$select", "$expand"}
	ofCount  = []string{"$filter", "$search"}
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
	for _, read := range []func(*http.Request, []*kind) error{q.readFilter, q.readSearch, q.readSelect, q.readExpand, q.readOrder, q.readTop, q.readCount} {
		if err := read(r, kinds); err != nil {
			return query{}, err
		}
	}
	if text, ok := q.get("$skiptoken"); ok {
		raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
		const fixed = sha256.Size + len(principal.ID{})
		if err != nil || len(raw) < fixed {
			return query{}, errPage()
		}
		q.after = place{string(raw[fixed:]), principal.ID(raw[sha256.Size:fixed])}
		if !hmac.Equal(raw[:sha256.Size], d.mac(r, s, q)) {
			return query{}, errPage()
		}
	}
	return q, nil
}

func (q *query) get(name string) (string, bool) {
	return q.values.Get(name), q.values.Has(name)
}

func (q *query) readFilter(_ *http.Request, kinds []*kind) (err error) {
	text, ok := q.get("$filter")
	if !ok {
		return nil
	}
	if q.filter, err = parseFilter(text); err != nil {
		return unsupported("Invalid filter clause: " + err.Error() + ".")
	}
	for _, k := range kinds {
		if err := q.filter.check(k); err != nil {
			return unsupported("Invalid filter clause: " + err.Error() + ".")
		}
	}
	return nil
}

func (q *query) readSearch(r *http.Request, kinds []*kind) (err error) {
	text, ok := q.get("$search")
	if !ok {
		return nil
	}
	if q.search, err = parseSearch(text); err != nil {
		return unsupported("Invalid $search: " + err.Error() + ".")
	}
	for _, k := range kinds {
		if err := q.search.check(k); err != nil {
			return unsupported("Invalid $search: " + err.Error() + ".")
		}
	}
	return eventual(r, "$search")
}

// eventual wants the header by which clients say that they know what advanced
// queries cost in Graph. Here they cost nothing more, but a script that goes without
// it here would fail there.
func eventual(r *http.Request, what string) error {
	if strings.EqualFold(r.Header.Get("ConsistencyLevel"), "eventual") {
		return nil
	}
	return unsupported(what + " needs the header 'ConsistencyLevel: eventual'.")
}

func (q *query) readSelect(_ *http.Request, kinds []*kind) (err error) {
	if text, ok := q.get("$select"); ok {
		q.fields, err = parseSelect(text, kinds)
	}
	return err
}

func (q *query) readOrder(_ *http.Request, kinds []*kind) error {
	text, ok := q.get("$orderby")
	if !ok {
		return nil
	}
	field, way, _ := strings.Cut(strings.TrimSpace(text), " ")
	for _, k := range kinds {
		if _, ok := k.texts[field]; !ok {
			return unsupported("Objects of " + k.name + " cannot be ordered by '" + serve.Printable(field, 64) + "'.")
		}
	}
	if way = strings.TrimSpace(way); way != "" && way != "asc" && way != "desc" {
		return unsupported("Invalid $orderby: want one property, and asc or desc.")
	}
	q.order = order{field, way == "desc"}
	return nil
}

func (q *query) readTop(*http.Request, []*kind) (err error) {
	text, ok := q.get("$top")
	if !ok {
		return nil
	}
	if q.top, err = strconv.Atoi(text); err != nil || q.top < 1 || q.top > maxTop {
		return unsupported("Invalid page size specified: '" + serve.Printable(text, 32) + "'. Must be between 1 and 999 inclusive.")
	}
	return nil
}

func (q *query) readCount(r *http.Request, _ []*kind) error {
	text, ok := q.get("$count")
	if !ok {
		return nil
	}
	if text != "true" && text != "false" {
		return unsupported("$count must be true or false.")
	}
	if q.count = text == "true"; q.count {
		return eventual(r, "$count=true")
	}
	return nil
}

func errPage() error {
	return serve.Refuse(http.StatusBadRequest, "Directory_ExpiredPageToken", "The specified page token value is not one that this service gave out for this query.")
}

// mac binds a page token to who asked what. Without it a token could be made by
// hand, and one of another query used to walk where its caller did not ask (ARM-12).
func (d *Door) mac(r *http.Request, s *session, q query) []byte {
	h := hmac.New(sha256.New, d.conf.PageKey)
	for _, part := range []string{"gatehouse graph page", s.tenant.String(), s.caller.ID.String(), r.URL.Path, q.encode(""), q.after.id.String(), q.after.key} {
		h.Write([]byte(strconv.Quote(part)))
	}
	return h.Sum(nil)
}

// encode writes the options with another page token, or without one.
func (q *query) encode(token string) string {
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
func (d *Door) next(r *http.Request, s *session, q query, last object) string {
	q.after = q.order.place(last)
	token := slices.Concat(d.mac(r, s, q), q.after.id[:], []byte(q.after.key))
	// As the client wrote it: what it asks for may have been spelled out since.
	path := r.URL.Path
	if asked, err := url.ParseRequestURI(r.RequestURI); err == nil {
		path = asked.Path
	}
	return d.conf.Base + (&url.URL{Path: path}).EscapedPath() + "?" + q.encode(base64.RawURLEncoding.EncodeToString(token))
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

// An expansion is a link of an object whose objects come with it.
type expansion struct {
	name   string
	link   link
	fields []string
}

// readExpand reads $expand=members,owners($select=id,displayName).
func (q *query) readExpand(_ *http.Request, kinds []*kind) error {
	text, ok := q.get("$expand")
	if !ok {
		return nil
	}
	for rest := text; rest != ""; {
		end := strings.IndexAny(rest, ",(")
		name, options := rest, ""
		switch {
		case end >= 0 && rest[end] == '(':
			inside, after, closed := strings.Cut(rest[end+1:], ")")
			if !closed || after != "" && after[0] != ',' {
				return unsupported("Invalid $expand: want a closing bracket.")
			}
			name, options, rest = rest[:end], inside, strings.TrimPrefix(after, ",")
		case end >= 0:
			name, rest = rest[:end], rest[end+1:]
		default:
			rest = ""
		}
		e := expansion{name: strings.TrimSpace(name)}
		for _, k := range kinds {
			if e.link = linksOf(k)[e.name]; e.link.to == nil || len(q.expand) == maxExpand {
				return unsupported("'" + serve.Printable(name, 64) + "' is not a link of " + k.name + " that can be expanded, or it is one too many.")
			}
		}
		if options != "" {
			list, ok := strings.CutPrefix(options, "$select=")
			var err error
			if !ok {
				return unsupported("Of the options of $expand, $select is supported.")
			}
			if e.fields, err = parseSelect(list, e.link.kinds); err != nil {
				return err
			}
		}
		q.expand = append(q.expand, e)
	}
	return nil
}

// Bounds of $expand, as in Graph.
const (
	maxExpand   = 2
	maxExpanded = 20 // objects of one link
)
