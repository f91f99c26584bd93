package vault

import (
	"net/netip"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

// Properties are what the resource of a vault says that matters to those who use
// it. The zero Properties open nothing.
type Properties struct {
	// Tenant is whose principals may use the vault.
	Tenant directory.TenantID
	// RBAC says that role assignments decide. Otherwise access policies would, and
	// these are not evaluated.
	RBAC      bool
	Retention Retention
	// Private says that the vault is closed to all but private endpoints.
	Private bool
	// Firewall says that only Networks may reach the vault.
	Firewall bool
	Networks []netip.Prefix
}

// ParseProperties reads the properties of a Microsoft.KeyVault/vaults resource.
// Members that do not matter here are ignored; those that do are refused when
// they are not understood.
func ParseProperties(text []byte) (Properties, error) {
	var in struct {
		Tenant     directory.TenantID `json:"tenantId"`
		RBAC       *bool              `json:"enableRbacAuthorization"`
		Policies   []any              `json:"accessPolicies"`
		Days       *int               `json:"softDeleteRetentionInDays"`
		Protection *bool              `json:"enablePurgeProtection"`
		Public     *string            `json:"publicNetworkAccess"`
		Networks   *struct {
			Default *string `json:"defaultAction"`
			IPs     []struct {
				Value string `json:"value"`
			} `json:"ipRules"`
		} `json:"networkAcls"`
	}
	if err := json.Unmarshal(text, &in, json.MatchCaseInsensitiveNames(true)); err != nil {
		return Properties{}, record.Invalid("properties of a vault: %w", err)
	}
	p := Properties{Tenant: in.Tenant}
	// A vault that says nothing, as newer versions of Azure's API take it, is decided
	// by role assignments; with access policies in it, it was meant otherwise.
	p.RBAC = in.RBAC == nil && len(in.Policies) == 0 || in.RBAC != nil && *in.RBAC
	if in.Days != nil {
		if *in.Days < MinRetention || *in.Days > MaxRetention {
			return Properties{}, record.Invalid("softDeleteRetentionInDays is %d, want %d to %d", *in.Days, MinRetention, MaxRetention)
		}
		p.Retention.ForDays = *in.Days
	}
	p.Retention.PurgeProtection = in.Protection != nil && *in.Protection
	p.Private = in.Public != nil && !strings.EqualFold(*in.Public, "Enabled") && *in.Public != ""
	if n := in.Networks; n != nil && n.Default != nil && !strings.EqualFold(*n.Default, "Allow") {
		p.Firewall = true
		for _, rule := range n.IPs {
			prefix, err := parsePrefix(rule.Value)
			if err != nil {
				return Properties{}, err
			}
			p.Networks = append(p.Networks, prefix)
		}
	}
	return p, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return prefix.Masked(), nil
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, record.Invalid("ipRules: %.64q is not an address or a range", text)
	}
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}

// Reachable reports whether the vault's network rules let a caller at an address
// in. Rules about virtual networks let nobody in: nobody here knows them.
func (p Properties) Reachable(from netip.Addr) bool {
	if p.Private {
		return false
	}
	if !p.Firewall {
		return true
	}
	for _, n := range p.Networks {
		if n.Contains(from.Unmap()) {
			return true
		}
	}
	return false
}
