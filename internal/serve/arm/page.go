package arm

import (
	"cmp"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// pageSize is how many things one answer lists at most.
const pageSize = 1000

// A row is a thing in a list, and the key by which it is ordered.
type row struct {
	key  string
	body any
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
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a.key, b.key) })
	prefix := string(r.kind) + "\n"
	if text, given := r.query[skipToken]; given {
		last, err := base64.RawURLEncoding.Strict().DecodeString(text[0])
		key, ok := strings.CutPrefix(string(last), prefix)
		if err != nil || !ok || key == "" || strings.ContainsFunc(key, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return answer{}, serve.Refuse(http.StatusBadRequest, "InvalidSkipToken", "The $skipToken is not one of a next link.")
		}
		i, found := slices.BinarySearchFunc(rows, key, func(a row, key string) int { return cmp.Compare(a.key, key) })
		if found {
			i++
		}
		rows = rows[i:]
	}
	out := list{Value: []any{}}
	if len(rows) > pageSize {
		rows = rows[:pageSize]
		q := url.Values{}
		for name, v := range r.query {
			q[name] = v
		}
		q.Set(skipToken, base64.RawURLEncoding.EncodeToString([]byte(prefix+rows[pageSize-1].key)))
		out.NextLink = s.base + (&url.URL{Path: r.path}).EscapedPath() + "?" + q.Encode()
	}
	for _, one := range rows {
		out.Value = append(out.Value, one.body)
	}
	return answer{status: http.StatusOK, body: out}, nil
}
