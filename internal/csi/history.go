package csi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/reply"
)

// versionsPage is a part of the list of an object's versions.
type versionsPage struct {
	Value []struct {
		ID         string `json:"id"`
		KID        string `json:"kid"` // of keys, instead of id
		Attributes struct {
			Enabled bool  `json:"enabled"`
			Created int64 `json:"created"` // seconds of Unix
		} `json:"attributes"`
	} `json:"value"`
	NextLink string `json:"nextLink"`
}

// maxPages bounds how long a list of versions is read.
const maxPages = 100

// expand returns the files of an object: itself, or those of its history, as Azure's
// provider lays them out. In its folder, 0 is the version that is named or else the
// newest, and 1, 2 and so on are those that are older. Disabled ones are passed over.
func (p *Provider) expand(ctx context.Context, token, vault string, o object) ([]object, error) {
	if o.history <= 1 {
		return []object{o}, nil
	}
	ids, err := p.enabledVersions(ctx, token, vault, o)
	if err != nil {
		return nil, err
	}
	if o.version != "" {
		if i := slices.Index(ids, o.version); i >= 0 {
			ids = ids[i:]
		} else {
			return nil, &reply.Refusal{Status: http.StatusNotFound, Of: fmt.Sprintf("%s %s of vault %s", o.kind, o.name, vault), Text: "it has no enabled version " + o.version}
		}
	}
	var out []object
	for i, id := range ids[:min(len(ids), o.history)] {
		v := o
		v.version, v.index = id, strconv.Itoa(i)
		v.file = path.Join(o.file, v.index)
		out = append(out, v)
	}
	return out, nil
}

// enabledVersions lists the versions of an object, the newest first. Of those that
// were made within one second the vault says which is the newest.
func (p *Provider) enabledVersions(ctx context.Context, token, vault string, o object) ([]string, error) {
	of := fmt.Sprintf("the versions of %s %s of vault %s", o.kind, o.name, vault)
	type version struct {
		id      string
		created int64
	}
	var all []version
	q := url.Values{"api-version": {"7.4"}}
	for range maxPages {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.conf.Vaults+"/"+vault+"/"+collections[o.kind]+"/"+o.name+"/versions?"+q.Encode(), nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		var page versionsPage
		if err := reply.Read(p.house, req, of, &page, func() bool { return page.Value != nil }); err != nil {
			return nil, err
		}
		for _, v := range page.Value {
			if id := versionIn(cmp.Or(v.KID, v.ID)); v.Attributes.Enabled && versionID.MatchString(id) {
				all = append(all, version{id, v.Attributes.Created})
			}
		}
		if page.NextLink == "" {
			slices.SortStableFunc(all, func(a, b version) int { return cmp.Compare(b.created, a.created) })
			var ids []string
			for _, v := range all {
				ids = append(ids, v.id)
			}
			if len(ids) == 0 {
				return nil, &reply.Refusal{Status: http.StatusNotFound, Of: of, Text: "none is enabled"}
			}
			return ids, nil
		}
		// Where to go on is taken from the link, and never whom to ask: the token goes there.
		next, err := url.Parse(page.NextLink)
		if err != nil {
			return nil, &reply.Silence{Of: of, Err: errors.New("the link to the next page is not understood")}
		}
		q.Set("$skiptoken", next.Query().Get("$skiptoken"))
	}
	return nil, &reply.Silence{Of: of, Err: fmt.Errorf("there are more than %d pages", maxPages)}
}

// versionIn is the last part of the id of a version.
func versionIn(id string) string { return id[strings.LastIndex(id, "/")+1:] }
