package token

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
)

// wire is a payload as it is written: the members of both versions, in the order
// of Entra.
type wire struct {
	Audience          text                   `json:"aud"`
	Issuer            text                   `json:"iss"`
	IssuedAt          date                   `json:"iat"`
	NotBefore         date                   `json:"nbf"`
	Expires           date                   `json:"exp"`
	ClaimNames        *claimNames            `json:"_claim_names,omitzero"`
	ClaimSources      map[string]claimSource `json:"_claim_sources,omitzero"`
	ACR               text                   `json:"acr,omitzero"`
	AMR               list                   `json:"amr,omitzero"`
	AppID             text                   `json:"appid,omitzero"`
	AppIDACR          text                   `json:"appidacr,omitzero"`
	AuthTime          date                   `json:"auth_time,omitzero"`
	AZP               text                   `json:"azp,omitzero"`
	AZPACR            text                   `json:"azpacr,omitzero"`
	Confirmation      jsontext.Value         `json:"cnf,omitzero"`
	FamilyName        text                   `json:"family_name,omitzero"`
	GivenName         text                   `json:"given_name,omitzero"`
	Groups            list                   `json:"groups,omitzero"`
	IDType            text                   `json:"idtyp,omitzero"`
	Name              text                   `json:"name,omitzero"`
	Nonce             text                   `json:"nonce,omitzero"`
	ObjectID          text                   `json:"oid"`
	PreferredUsername text                   `json:"preferred_username,omitzero"`
	Roles             list                   `json:"roles,omitzero"`
	Scopes            text                   `json:"scp,omitzero"`
	Subject           text                   `json:"sub"`
	Tenant            text                   `json:"tid"`
	UniqueName        text                   `json:"unique_name,omitzero"`
	UPN               text                   `json:"upn,omitzero"`
	ID                text                   `json:"uti"`
	Version           text                   `json:"ver"`
	Capabilities      list                   `json:"xms_cc,omitzero"`
	Use               text                   `json:"token_use"`
	Rest              jsontext.Value         `json:",embed"`
}

// claimNames and claimSource are distributed claims (OpenID Connect Core,
// section 5.6.2), of which Entra uses one.
type claimNames struct {
	Groups text `json:"groups,omitzero"`
}

type claimSource struct {
	Endpoint text `json:"endpoint,omitzero"`
}

// source is the name by which _claim_names points into _claim_sources.
const source = "src1"

var claimMembers = []string{
	"aud", "iss", "iat", "nbf", "exp", "_claim_names", "_claim_sources", "acr", "amr", "appid", "appidacr", "auth_time", "azp", "azpacr", "cnf",
	"family_name", "given_name", "groups", "idtyp", "name", "nonce", "oid", "preferred_username", "roles", "scp", "sub", "tid",
	"unique_name", "upn", "uti", "ver", "xms_cc", "token_use",
}

// MarshalJSON writes the claims in the shape of their version. Claims that the
// version does not have are left out.
func (c Claims) MarshalJSON() ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	w := wire{
		Audience: text(c.Audience), Issuer: text(c.Issuer), Subject: text(c.Subject), ID: text(c.ID),
		IssuedAt: date{c.IssuedAt}, NotBefore: date{c.NotBefore}, Expires: date{c.Expires}, AuthTime: date{c.AuthTime},
		Tenant: text(c.Tenant.String()), ObjectID: text(c.ObjectID.String()),
		Name: text(c.Name), Nonce: text(c.Nonce), IDType: text(c.IDType), Version: text(c.Version), Use: text(c.Use),
		Roles: orNone(c.Roles), Capabilities: orNone(c.Capabilities), Scopes: text(strings.Join(c.Scopes, " ")),
	}
	if c.Version == V1 {
		w.AppID, w.AppIDACR = text(c.AppID.String()), text(c.AppAuth)
		w.UPN, w.UniqueName = text(c.UPN), text(c.Username)
		w.GivenName, w.FamilyName = text(c.GivenName), text(c.FamilyName)
		w.AMR, w.ACR = orNone(c.AMR), text(c.ACR)
	} else {
		w.AZP, w.AZPACR = text(c.AppID.String()), text(c.AppAuth)
		w.PreferredUsername = text(c.Username)
	}
	if c.KeyID != "" {
		cnf, err := json.Marshal(bound{ID: text(c.KeyID)})
		if err != nil {
			return nil, err
		}
		w.Confirmation = cnf
	}
	switch {
	case len(c.Groups) > MaxGroups, len(c.Groups) == 0 && c.Overage != "":
		w.ClaimNames = &claimNames{Groups: source}
		w.ClaimSources = map[string]claimSource{source: {Endpoint: text(c.Overage)}}
	default:
		for _, g := range c.Groups {
			w.Groups = append(w.Groups, g.String())
		}
	}
	return json.Marshal(w)
}

// parseClaims reads a payload, whose signature was verified, as strictly as it
// was written.
func parseClaims(payload []byte) (Claims, error) {
	var w wire
	if err := unmarshal(payload, &w, func() jsontext.Value { return w.Rest }, claimMembers); err != nil {
		return Claims{}, fmt.Errorf("payload: %w", err)
	}
	c := Claims{
		Version: string(w.Version), Use: Purpose(w.Use), Issuer: string(w.Issuer), Audience: string(w.Audience), Subject: string(w.Subject),
		ID: string(w.ID), IssuedAt: w.IssuedAt.Time, NotBefore: w.NotBefore.Time, Expires: w.Expires.Time, AuthTime: w.AuthTime.Time,
		UPN: string(w.UPN), Username: string(w.UniqueName), Name: string(w.Name), GivenName: string(w.GivenName), FamilyName: string(w.FamilyName),
		AMR: w.AMR, ACR: string(w.ACR), Roles: w.Roles, IDType: string(w.IDType), Nonce: string(w.Nonce), Capabilities: w.Capabilities,
		AppAuth: string(w.AppIDACR),
	}
	app := w.AppID
	if c.Version == V1 {
		if w.AZP != "" || w.AZPACR != "" || w.PreferredUsername != "" {
			return Claims{}, fmt.Errorf("%w: claims of version 2 in version 1", ErrMalformed)
		}
	} else {
		if w.AppID != "" || w.AppIDACR != "" || w.UPN != "" || w.UniqueName != "" || w.GivenName != "" || w.FamilyName != "" || w.AMR != nil || w.ACR != "" {
			return Claims{}, fmt.Errorf("%w: claims of version 1 in version 2", ErrMalformed)
		}
		app, c.AppAuth, c.Username = w.AZP, string(w.AZPACR), string(w.PreferredUsername)
	}
	if w.Confirmation != nil {
		cnf, err := parseBound(w.Confirmation)
		if err != nil {
			return Claims{}, fmt.Errorf("cnf: %w", err)
		}
		c.KeyID = string(cnf.ID)
	}
	if w.Scopes != "" {
		c.Scopes = strings.Split(string(w.Scopes), " ")
	}
	if err := w.ids(app, &c); err != nil {
		return Claims{}, err
	}
	if err := w.groups(&c); err != nil {
		return Claims{}, err
	}
	if err := c.check(); err != nil {
		return Claims{}, err
	}
	return c, nil
}

// ids reads the claims that are GUIDs.
func (w wire) ids(app text, c *Claims) error {
	if err := readID(&c.Tenant, w.Tenant); err != nil {
		return fmt.Errorf("tid: %w", err)
	}
	if err := readID(&c.ObjectID, w.ObjectID); err != nil {
		return fmt.Errorf("oid: %w", err)
	}
	if app == "" {
		return nil
	}
	if err := readID(&c.AppID, app); err != nil {
		return fmt.Errorf("appid: %w", err)
	}
	return nil
}

// readID reads an identifier that must be there.
func readID[T any](id *guid.Of[T], s text) error {
	got, err := guid.Parse[T](string(s))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	*id = got
	return nil
}

// groups reads the groups, or where they are.
func (w wire) groups(c *Claims) error {
	if len(w.Groups) > MaxGroups {
		return fmt.Errorf("%w: %d groups", ErrMalformed, len(w.Groups))
	}
	for _, g := range w.Groups {
		var id principal.ID
		if err := readID(&id, text(g)); err != nil {
			return fmt.Errorf("groups: %w", err)
		}
		c.Groups = append(c.Groups, id)
	}
	if w.ClaimNames == nil || w.ClaimNames.Groups == "" {
		return nil
	}
	from, ok := w.ClaimSources[string(w.ClaimNames.Groups)]
	if !ok || from.Endpoint == "" || w.Groups != nil {
		return fmt.Errorf("%w: _claim_names points nowhere, or there are groups as well", ErrMalformed)
	}
	c.Overage = string(from.Endpoint)
	return nil
}

// orNone makes an empty list an absent one.
func orNone(l []string) list {
	if len(l) == 0 {
		return nil
	}
	return l
}
