package issue

import (
	"fmt"
	"slices"

	"github.com/gatehouse-io/gatehouse/internal/directory"
)

// At returns the same issuer as it is seen under another of its authorities: with
// the same keys, state and limits, but other names in its tokens, links and
// audiences. An authority that was not configured is refused, so that none can be
// taken from a request.
func (i *Issuer) At(authority string) (*Issuer, error) {
	authority, err := CheckAuthority(authority)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(i.fronts, authority) {
		return nil, fmt.Errorf("the issuer has no front %s", authority)
	}
	view := *i
	view.authority = authority
	return &view, nil
}

// Fronts are all authorities of the issuer, its own first. They must not be changed.
func (i *Issuer) Fronts() []string { return i.fronts }

// IssuersV1 are the issuers of a tenant's version 1.0 tokens, one for each front:
// who signed in under one name of the house is known under all of them.
func (i *Issuer) IssuersV1(tenant directory.TenantID) []string {
	var all []string
	for _, f := range i.fronts {
		all = append(all, IssuerV1(f, tenant.String()))
	}
	return all
}

// Issuers are the issuers of a tenant's tokens of both versions.
func (i *Issuer) Issuers(tenant directory.TenantID) []string {
	all := i.IssuersV1(tenant)
	for _, f := range i.fronts {
		all = append(all, IssuerV2(f, tenant.String()))
	}
	return all
}
