package arm

import (
	"crypto/sha256"
	"net/http"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// checkVault wants a vault to trust the tenant of its subscription: it has no other
// way to know whom to believe.
func checkVault(s *session, o resource.Other, p members) error {
	var tenant directory.TenantID
	if tenant.UnmarshalText([]byte(p.text("tenantId"))) != nil || tenant != s.tenant {
		return serve.Refuse(http.StatusBadRequest, "BadRequest", "properties.tenantId of a vault is the tenant of its subscription, "+s.tenant.String()+".")
	}
	if _, sku := p["sku"]; !sku {
		return serve.Refuse(http.StatusBadRequest, "BadRequest", `properties.sku is missing: {"family":"A","name":"standard"}.`)
	}
	return nil
}

func showVault(_ *session, o resource.Other, p members) {
	p.set("vaultUri", "https://"+o.Scope.Name()+".vault.azure.net/")
	p.preset("accessPolicies", []string{})
	p.preset("enabledForDeployment", false)
	p.preset("enableRbacAuthorization", false)
	p.preset("enableSoftDelete", true)
	p.preset("softDeleteRetentionInDays", 90)
	p.preset("publicNetworkAccess", "Enabled")
}

func checkRegistry(_ *session, o resource.Other, _ members) error {
	if _, sku := membersOf(o.More)["sku"]; !sku {
		return serve.Refuse(http.StatusBadRequest, "InvalidRequestContent", `sku is missing: {"name":"Basic"}.`)
	}
	return nil
}

func showRegistry(_ *session, o resource.Other, p members) {
	p.set("loginServer", o.Scope.Name()+".azurecr.io")
	p.preset("adminUserEnabled", false)
	p.preset("publicNetworkAccess", "Enabled")
}

func showStorage(_ *session, o resource.Other, p members) {
	endpoints := make(map[string]string)
	for _, service := range []string{"blob", "file", "queue", "table"} {
		endpoints[service] = "https://" + o.Scope.Name() + "." + service + ".core.windows.net/"
	}
	p.set("primaryEndpoints", endpoints)
	p.set("primaryLocation", o.Location)
}

func showZone(_ *session, _ resource.Other, p members) {
	p.preset("numberOfRecordSets", 1)
	p.preset("numberOfVirtualNetworkLinks", 0)
}

// showWorkspace gives a workspace an id that follows from its place.
func showWorkspace(_ *session, o resource.Other, p members) {
	sum := sha256.Sum256([]byte(o.Scope.String()))
	id := guid.Of[otherType](sum[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // RFC 9562, section 5.8
	p.set("customerId", id.String())
}
