package keyvault

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/vault"
)

// A route is one thing that can be asked for: a method, a path in which * is a
// name and ? a version, the data action that it takes below
// Microsoft.KeyVault/vaults, and what it does. Without an action nobody may.
type route struct {
	method, path string
	action       string
	do           func(*call) (answer, error)
	limit        int64 // of the body, in bytes; 0 takes none
}

// collections are what all three kinds of object have in common. {k} is the kind,
// {s} its action for looking at it, which tells nothing that is secret.
var collections = []route{
	{"GET", "{k}", "{s}", (*call).list, 0},
	{"GET", "{k}/*/versions", "{s}", (*call).listVersions, 0},
	{"PATCH", "{k}/*/?", "{k}/update/action", (*call).update, maxBody},
	{"PATCH", "{k}/*", "{k}/update/action", (*call).update, maxBody},
	{"DELETE", "{k}/*", "{k}/delete", (*call).delete, 0},
	{"POST", "{k}/*/backup", "{k}/backup/action", (*call).backup, 0},
	{"POST", "{k}/restore", "{k}/restore/action", (*call).restore, maxRestore},
	{"GET", "deleted{k}", "{s}", (*call).listDeleted, 0},
	{"GET", "deleted{k}/*", "{s}", (*call).getDeleted, 0},
	{"DELETE", "deleted{k}/*", "{k}/purge/action", (*call).purge, 0},
	{"POST", "deleted{k}/*/recover", "{k}/recover/action", (*call).recover, 0},
}

// special are those of one kind. Where two match, the first counts.
var special = []route{
	{"GET", "secrets/*", "secrets/getSecret/action", (*call).getSecret, 0},
	{"GET", "secrets/*/?", "secrets/getSecret/action", (*call).getSecret, 0},
	{"PUT", "secrets/*", "secrets/setSecret/action", (*call).setSecret, maxBody},

	{"GET", "keys/*", "keys/read", (*call).getKey, 0},
	{"GET", "keys/*/?", "keys/read", (*call).getKey, 0},
	{"PUT", "keys/*", "keys/import/action", (*call).importKey, maxBody},
	{"POST", "keys/*/create", "keys/create/action", (*call).createKey, maxBody},
	{"POST", "keys/*/rotate", "keys/rotate/action", (*call).rotateKey, 0},
	{"GET", "keys/*/rotationpolicy", "keyrotationpolicies/read", (*call).getRotation, 0},
	{"PUT", "keys/*/rotationpolicy", "keyrotationpolicies/write", (*call).putRotation, maxBody},
	{"POST", "keys/*/?/encrypt", "keys/encrypt/action", (*call).encrypt, maxBody},
	{"POST", "keys/*/?/decrypt", "keys/decrypt/action", (*call).decrypt, maxBody},
	{"POST", "keys/*/?/wrapkey", "keys/wrap/action", (*call).wrap, maxBody},
	{"POST", "keys/*/?/unwrapkey", "keys/unwrap/action", (*call).unwrap, maxBody},
	{"POST", "keys/*/?/sign", "keys/sign/action", (*call).sign, maxBody},
	{"POST", "keys/*/?/verify", "keys/verify/action", (*call).verify, maxBody},
	{"POST", "rng", "rng/action", (*call).random, maxBody},

	{"GET", "certificates/issuers", "certificatecas/read", (*call).listIssuers, 0},
	{"GET", "certificates/issuers/*", "certificatecas/read", (*call).noIssuer, 0},
	{"PUT", "certificates/issuers/*", "certificatecas/write", (*call).noIssuers, maxBody},
	{"GET", "certificates/contacts", "certificatecontacts/write", (*call).noContacts, 0},
	{"GET", "certificates/*", "certificates/read", (*call).getCertificate, 0},
	{"GET", "certificates/*/policy", "certificates/read", (*call).getPolicy, 0},
	{"PATCH", "certificates/*/policy", "certificates/update/action", (*call).updatePolicy, maxBody},
	{"GET", "certificates/*/pending", "certificates/read", (*call).getPending, 0},
	{"PATCH", "certificates/*/pending", "certificates/update/action", (*call).cancelPending, maxBody},
	{"DELETE", "certificates/*/pending", "certificates/update/action", (*call).deletePending, 0},
	{"POST", "certificates/*/pending/merge", "certificates/create/action", (*call).mergeCertificate, maxBody},
	{"POST", "certificates/*/create", "certificates/create/action", (*call).createCertificate, maxBody},
	{"POST", "certificates/*/import", "certificates/import/action", (*call).importCertificate, maxBody},
	{"GET", "certificates/*/?", "certificates/read", (*call).getCertificate, 0},
}

// readActions are the actions for looking at objects of a kind.
var readActions = map[vault.Kind]string{
	vault.Secrets: "secrets/readMetadata/action", vault.Keys: "keys/read", vault.Certificates: "certificates/read",
}

// routes are all of them. What is done with a version is done with the newest when
// none is named: some SDKs then write the path without it, others leave it empty.
func routes() []route {
	out := slices.Clone(special)
	for _, r := range special {
		if strings.Contains(r.path, "/?/") {
			r.path = strings.Replace(r.path, "/?/", "/", 1)
			out = append(out, r)
		}
	}
	for _, kind := range []vault.Kind{vault.Secrets, vault.Keys, vault.Certificates} {
		fill := strings.NewReplacer("{k}", string(kind), "{s}", readActions[kind])
		for _, r := range collections {
			r.path, r.action = fill.Replace(r.path), fill.Replace(r.action)
			out = append(out, r)
		}
	}
	return out
}

// A target is what a path speaks about.
type target struct {
	ref     vault.Ref // of an object; without a name, of a collection
	name    string    // as it was written
	version vault.ID  // zero is the newest
	parts   []string  // of the path
}

// reserved are what no certificate can be called: its path is another thing's.
var reserved = map[string]bool{"issuers": true, "contacts": true}

// match reads the segments of a path by a route, and says whether they fit.
func (r route) match(seg []string) (target, bool) {
	shape := strings.Split(r.path, "/")
	if len(seg) != len(shape) {
		return target{}, false
	}
	t := target{parts: seg}
	for i, want := range shape {
		switch want {
		case "*":
			name, err := vault.ParseName(seg[i])
			if err != nil || i == 1 && shape[0] == "certificates" && reserved[name.String()] {
				return target{}, false
			}
			t.ref.Name, t.name = name, seg[i]
		case "?":
			if seg[i] == "" {
				continue // SDKs write no version like this
			}
			id, err := vault.ParseID(seg[i])
			if err != nil {
				return target{}, false
			}
			t.version = id
		default:
			if !strings.EqualFold(seg[i], want) {
				return target{}, false
			}
		}
	}
	t.ref.Kind = vault.Kind(strings.TrimPrefix(shape[0], "deleted"))
	return t, true
}

// find understands the path and the query of a call. What is odd is refused, never
// repaired (ARM-08).
func (c *call) find() error {
	seg := strings.Split(strings.TrimSuffix(strings.TrimPrefix(c.path, "/"), "/"), "/")
	var allowed []string
	found := false
	for _, r := range c.d.routes {
		t, ok := r.match(seg)
		if !ok || found {
			continue
		}
		if r.method != c.r.Method {
			allowed = append(allowed, r.method)
			continue
		}
		c.route, c.target, found = r, t, true
	}
	switch {
	case found:
		c.target.ref.Vault = c.resource.Scope
		return c.parseQuery()
	case len(allowed) > 0:
		slices.Sort(allowed)
		c.w.Header().Set("Allow", strings.Join(slices.Compact(allowed), ", "))
		return refuse(http.StatusMethodNotAllowed, "BadParameter", "", "Method %s is not allowed here.", serve.Printable(c.r.Method, 20))
	}
	if len(seg) > 1 && seg[1] != "" {
		if _, err := vault.ParseName(seg[1]); err != nil {
			return err
		}
	}
	return refuse(http.StatusNotFound, "NotFound", "", "There is nothing at this path of a vault.")
}

// versions are how the API's versions are called. All are answered alike.
var versions = regexp.MustCompile(`^(7\.\d|20\d\d-\d\d-\d\d)(-preview(\.\d)?)?$`)

func (c *call) parseQuery() error {
	q, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil || len(c.r.URL.RawQuery) > 4096 {
		return refuse(http.StatusBadRequest, "BadParameter", "", "The query string is malformed.")
	}
	for name, values := range q {
		if len(values) > 1 {
			return refuse(http.StatusBadRequest, "BadParameter", "", "The query parameter %q is there twice.", serve.Printable(name, 40))
		}
	}
	if v := q.Get("api-version"); !versions.MatchString(v) {
		return refuse(http.StatusBadRequest, "BadParameter", "", "api-version must be specified, such as 7.6; it is %q.", serve.Printable(v, 40))
	}
	c.query = q
	return nil
}

// action is the whole name of the data action of a route.
func (r route) fullAction() string { return fmt.Sprintf("Microsoft.KeyVault/vaults/%s", r.action) }
