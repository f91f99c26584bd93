package keyvault

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/vault"
)

const (
	maxResults = "maxresults"
	skipToken  = "$skiptoken"
	pageSize   = 25 // as in Key Vault
)

// A page is a part of a list.
type page struct {
	Value    []item  `json:"value"`
	NextLink *string `json:"nextLink"`
}

// size is how much the caller wants at once.
func (c *call) size() (int, error) {
	text := c.query.Get(maxResults)
	if text == "" {
		return pageSize, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > pageSize {
		return 0, refuse(http.StatusBadRequest, "BadParameter", "", "maxresults must be between 1 and %d.", pageSize)
	}
	return n, nil
}

// after returns what the page before ended with, if there was one.
func (c *call) after() (string, error) {
	text, given := c.query[skipToken]
	if !given {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text[0])
	if err == nil && len(raw) > sha256.Size {
		last := string(raw[sha256.Size:])
		if hmac.Equal(raw[:sha256.Size], c.mac(last)) {
			return last, nil
		}
	}
	return "", refuse(http.StatusBadRequest, "BadParameter", "", "The $skiptoken is not one that this vault gave out for this list.")
}

// mac binds the token of a page to who asked for what (ARM-12).
func (c *call) mac(last string) []byte {
	h := hmac.New(sha256.New, c.d.conf.PageKey)
	for _, part := range []string{"gatehouse vault page", c.resource.Scope.String(), c.caller.ID.String(), strings.ToLower(strings.Join(c.target.parts, "/")), last} {
		h.Write([]byte(strconv.Quote(part)))
	}
	return h.Sum(nil)
}

// page answers a part of a list; last is what the next one goes on from, or "".
func (c *call) page(items []item, last string) (answer, error) {
	out := page{Value: items}
	if out.Value == nil {
		out.Value = []item{}
	}
	if last != "" {
		q := url.Values{}
		for name, values := range c.query {
			q[name] = values
		}
		q.Set(skipToken, base64.RawURLEncoding.EncodeToString(append(c.mac(last), last...)))
		base := "https://" + c.name + Suffix
		if c.d.conf.Base != "" {
			base = c.d.conf.Base + Prefix + c.name
		}
		out.NextLink = new(base + "/" + strings.Join(c.target.parts, "/") + "?" + q.Encode())
	}
	return ok(out)
}

// list lists the objects of a kind that are not deleted.
func (c *call) list() (answer, error) {
	awaited := c.query.Get("includePending") == "true"
	return c.listObjects(func(o vault.Object) bool { return o.Deleted == nil && (awaited || !o.Current.IsZero()) })
}

// listDeleted lists those that are.
func (c *call) listDeleted() (answer, error) {
	return c.listObjects(func(o vault.Object) bool { return o.Deleted != nil })
}

func (c *call) listObjects(keep func(vault.Object) bool) (answer, error) {
	limit, err := c.size()
	if err != nil {
		return answer{}, err
	}
	last, err := c.after()
	if err != nil {
		return answer{}, err
	}
	var from vault.Name
	if last != "" {
		if from, err = vault.ParseName(last); err != nil {
			return answer{}, err
		}
	}
	objects, next, err := c.d.conf.Safe.List(c.r.Context(), c.resource.Scope, c.target.ref.Kind, from, limit, keep)
	if err != nil {
		return answer{}, err
	}
	items := make([]item, len(objects))
	for i, o := range objects {
		items[i] = c.itemOf(o, o.Current, false)
	}
	return c.page(items, next.String())
}

// listVersions lists the versions of an object.
func (c *call) listVersions() (answer, error) {
	limit, err := c.size()
	if err != nil {
		return answer{}, err
	}
	last, err := c.after()
	if err != nil {
		return answer{}, err
	}
	var from vault.ID
	if err := from.UnmarshalText([]byte(last)); err != nil {
		return answer{}, err
	}
	o, _, err := c.object()
	if err != nil {
		return answer{}, err
	}
	versions, next, err := c.d.conf.Safe.Versions(c.r.Context(), o, from, limit)
	if err != nil {
		return answer{}, err
	}
	items := make([]item, len(versions))
	for i, v := range versions {
		items[i] = c.itemOf(o, v, true)
	}
	return c.page(items, next.String())
}
