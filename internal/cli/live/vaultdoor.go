package live

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/client"
	"github.com/gatehouse-io/gatehouse/internal/serve/keyvault"
	"github.com/gatehouse-io/gatehouse/internal/signin"
	"github.com/gatehouse-io/gatehouse/internal/vault"
)

// A vaultDoor is a vault as the SDKs of Azure see it. Commands have no other way
// in: each request carries the caller's own token, and the vault decides.
type vaultDoor struct {
	name string
	base string // the vault's URL
	http *http.Client
	conf signin.Config
}

// openVault finds the way to a vault of the house that the flags and the
// environment name.
func openVault(cmd *cobra.Command, env *cli.Env, name string) (*vaultDoor, error) {
	server := cli.Server(cmd, env)
	if f := cmd.Flag("estate"); server == "" || f != nil && f.Value.String() != "" {
		return nil, cli.Usage("%s needs a running house: start it with gatehouse up, or name it with --server", cmd.CommandPath())
	}
	if _, err := vault.ParseName(name); err != nil {
		return nil, cli.Usage("%q is not the name of a vault: gatehouse vault list shows them", name)
	}
	conf, err := session(env.Getenv, server)
	if err != nil {
		return nil, err
	}
	hc, err := signin.Client(conf.CAFile)
	if err != nil {
		return nil, err
	}
	return &vaultDoor{name: name, base: server + keyvault.Prefix + name, http: hc, conf: conf}, nil
}

// A refusal is what a vault says in place of an answer.
type refusal struct {
	vault  string
	status int
	code   string
	lines  []string
}

func (r *refusal) Error() string {
	text := fmt.Sprintf("vault %s: (%s) %s", r.vault, r.code, strings.Join(r.lines, "\n  "))
	if r.status == http.StatusForbidden && slices.ContainsFunc(r.lines, func(l string) bool { return strings.HasPrefix(l, "Action: ") }) {
		text += "\nA role with that data action, given at that place, lets you: gatehouse role list, gatehouse assignment create"
	}
	return text
}

// Mistaken reports whether a name or a value is wrong. A conflict can be somebody
// else's change.
func (r *refusal) Mistaken() bool {
	return r.status == http.StatusNotFound || r.status == http.StatusBadRequest
}

// ask sends a request to the vault and reads the answer into out.
func (v *vaultDoor) ask(ctx context.Context, method, path string, query url.Values, body, out any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	err := v.send(ctx, method, path, query, text, out, false)
	if r, ok := errors.AsType[*refusal](err); ok && r.status == http.StatusUnauthorized {
		// The kept token was ended before its time. The vault did nothing.
		err = v.send(ctx, method, path, query, text, out, true)
	}
	return err
}

func (v *vaultDoor) send(ctx context.Context, method, path string, query url.Values, body []byte, out any, fresh bool) error {
	tok, err := signin.TokenFor(ctx, v.conf, keyvault.Resource, fresh)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return client.Silent(v.conf.Authority)
	case errors.Is(err, signin.ErrNotSignedIn):
		return fmt.Errorf("%w: run gatehouse logout, then gatehouse login", err)
	case err != nil:
		return err
	}
	q := url.Values{"api-version": {"7.6"}}
	for name, values := range query {
		q[name] = values
	}
	req, err := http.NewRequestWithContext(ctx, method, v.base+"/"+path+"?"+q.Encode(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+tok.AccessToken)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := v.http.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return client.Silent(v.conf.Authority)
	}
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxDocument))
	if err != nil {
		return err
	}
	if res.StatusCode/100 == 2 {
		if out == nil {
			return nil
		}
		// What is in an answer is in no error about it.
		if json.Unmarshal(text, out) != nil {
			return fmt.Errorf("vault %s: the answer is not understood", v.name)
		}
		return nil
	}
	var said struct {
		Error struct{ Code, Message string }
	}
	if json.Unmarshal(text, &said) != nil || said.Error.Code == "" {
		return fmt.Errorf("vault %s answers %s", v.name, res.Status)
	}
	r := &refusal{vault: v.name, status: res.StatusCode, code: cli.Printable(said.Error.Code)}
	for line := range strings.SplitSeq(said.Error.Message, "\r\n") {
		r.lines = append(r.lines, cli.Printable(line))
	}
	return r
}

// A secretItem is a secret or one of its versions as a vault tells of it.
type secretItem struct {
	ID          string  `json:"id"`
	Value       *string `json:"value"`
	ContentType string  `json:"contentType"`
	Attributes  struct {
		Enabled   bool   `json:"enabled"`
		NotBefore *int64 `json:"nbf"`
		Expires   *int64 `json:"exp"`
		Created   int64  `json:"created"`
		Updated   int64  `json:"updated"`
	} `json:"attributes"`
	Tags    map[string]string `json:"tags"`
	Managed bool              `json:"managed"`
	Deleted int64             `json:"deletedDate"`
	Purge   int64             `json:"scheduledPurgeDate"`
}

// A secretShown is a secret, or a version of one, as the command line tells of it.
type secretShown struct {
	Name        string            `json:"name"`
	Version     string            `json:"version,omitzero"`
	Enabled     bool              `json:"enabled"`
	ContentType string            `json:"contentType,omitzero"`
	Created     time.Time         `json:"created,omitzero"`
	Updated     time.Time         `json:"updated,omitzero"`
	NotBefore   time.Time         `json:"notBefore,omitzero"`
	Expires     time.Time         `json:"expires,omitzero"`
	Deleted     time.Time         `json:"deleted,omitzero"`
	Purge       time.Time         `json:"purge,omitzero"`
	Tags        map[string]string `json:"tags,omitempty"`
	// Certificate is set for the secret of a certificate.
	Certificate bool    `json:"certificate,omitzero"`
	Value       *string `json:"value,omitempty"`
}

// shown takes the id of a secret apart: https://{vault}/secrets/{name}/{version}.
func (i secretItem) shown() secretShown {
	out := secretShown{Enabled: i.Attributes.Enabled, ContentType: i.ContentType, Tags: i.Tags, Certificate: i.Managed, Value: i.Value,
		Created: since1970(&i.Attributes.Created), Updated: since1970(&i.Attributes.Updated), NotBefore: since1970(i.Attributes.NotBefore),
		Expires: since1970(i.Attributes.Expires), Deleted: since1970(&i.Deleted), Purge: since1970(&i.Purge)}
	if u, err := url.Parse(i.ID); err == nil {
		parts := strings.Split(strings.TrimPrefix(u.Path, "/"), "/")
		if len(parts) > 1 {
			out.Name = parts[1]
		}
		if len(parts) > 2 {
			out.Version = parts[2]
		}
	}
	return out
}

func since1970(seconds *int64) time.Time {
	if seconds == nil || *seconds == 0 {
		return time.Time{}
	}
	return time.Unix(*seconds, 0).UTC()
}

// list reads a list to its end, or up to limit entries; 0 is all. Of a link to the
// next page, only what it asks for is followed, never where it leads.
func (v *vaultDoor) list(ctx context.Context, path string, limit int) ([]secretShown, error) {
	out := []secretShown{}
	query := url.Values{}
	for {
		var page struct {
			Value    []secretItem `json:"value"`
			NextLink *string      `json:"nextLink"`
		}
		if err := v.ask(ctx, http.MethodGet, path, query, nil, &page); err != nil {
			return nil, err
		}
		for _, item := range page.Value {
			if out = append(out, item.shown()); len(out) == limit {
				return out, nil
			}
		}
		if page.NextLink == nil || *page.NextLink == "" {
			return out, nil
		}
		next, err := url.Parse(*page.NextLink)
		if err != nil {
			return nil, fmt.Errorf("vault %s: the link to the next page is not understood", v.name)
		}
		query = next.Query()
	}
}
