package arm

import (
	"cmp"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// maxPage is how many things one answer lists at most.
const maxPage = 1000

// A row is a thing in a list, and the key by which it is ordered.
type row struct {
	key  string
	body any // or a func() any, which is asked only for the page that is shown
}

// A list is one page of an answer.
type list struct {
	Value    []any  `json:"value"`
	NextLink string `json:"nextLink,omitzero"`
}

const skipToken = "$skipToken"

// page returns the rows behind the one that the request names. The token of a next
// link is the key of the last row; whoever makes one up skips rows of his own list.
func (s *session) page(r *request, rows []row) (answer, error) {
	if key, given, err := r.skipped(); err != nil {
		return answer{}, err
	} else if given {
		rows = slices.DeleteFunc(rows, func(a row) bool { return a.key <= key })
	}
	size, err := r.pageSize()
	if err != nil {
		return answer{}, err
	}
	out := list{Value: []any{}}
	all := len(rows)
	if rows = first(rows, size); all > size {
		out.NextLink = s.nextLink(r, rows[size-1].key)
	}
	for _, one := range rows {
		if later, ok := one.body.(func() any); ok {
			one.body = later()
		}
		out.Value = append(out.Value, one.body)
	}
	return answer{status: http.StatusOK, body: out}, nil
}

// nextLink is the link to what follows a key.
func (s *session) nextLink(r *request, key string) string {
	q := url.Values{}
	for name, v := range r.query {
		q[name] = v
	}
	q.Set(skipToken, base64.RawURLEncoding.EncodeToString([]byte(string(r.kind)+"\n"+key)))
	return s.base + (&url.URL{Path: r.path}).EscapedPath() + "?" + q.Encode()
}

// skipped returns the key in the token of a next link, if the request has one.
func (r *request) skipped() (key string, given bool, err error) {
	text, given := r.query[skipToken]
	if !given {
		return "", false, nil
	}
	last, err := base64.RawURLEncoding.Strict().DecodeString(text[0])
	key, ok := strings.CutPrefix(string(last), string(r.kind)+"\n")
	if err != nil || !ok || key == "" || strings.ContainsFunc(key, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", false, badSkip()
	}
	return key, true, nil
}

func badSkip() error {
	return serve.Refuse(http.StatusBadRequest, "InvalidSkipToken", "The $skipToken is not one of a next link.")
}

// first returns the first n of rows in the order of their keys. It sorts little more
// than it returns, because a page of a long list is a small part of it.
func first(rows []row, n int) []row {
	inOrder := func(a, b row) int { return cmp.Compare(a.key, b.key) }
	if len(rows) <= 2*n {
		slices.SortFunc(rows, inOrder)
		return rows[:min(n, len(rows))]
	}
	best := make([]row, 0, 2*n)
	last := "" // the key that is too late once n are known that come before it
	for _, r := range rows {
		if last != "" && r.key > last {
			continue
		}
		if best = append(best, r); len(best) == 2*n {
			slices.SortFunc(best, inOrder)
			best, last = best[:n], best[n-1].key
		}
	}
	slices.SortFunc(best, inOrder)
	return best[:n]
}

// pageSize is how many things the caller wants in one answer, at most.
func (r *request) pageSize() (int, error) {
	text, given := r.query["$top"]
	if !given {
		return maxPage, nil
	}
	n, err := strconv.Atoi(text[0])
	if err != nil || n < 1 {
		return 0, serve.Refuse(http.StatusBadRequest, "InvalidTopParameter", "$top is a number from 1 on.")
	}
	return min(n, maxPage), nil
}
