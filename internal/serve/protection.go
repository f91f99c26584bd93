package serve

import (
	"net/http"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/vault"
)

// KeepsProtection refuses to write next over old, which may be nil, if that takes purge
// protection from a vault. It is there against those who rule the vault as well: they
// could take it away first, and purge then. The error is an Error in the words of Azure.
func KeepsProtection(old, next record.Record) error {
	if !protects(old) || protects(next) {
		return nil
	}
	return Refuse(http.StatusBadRequest, "BadRequest",
		`The property "enablePurgeProtection" cannot be set to false. Enabling the purge protection for a vault is an irreversible action.`)
}

// protects reports whether a record is a vault that keeps what is deleted. One whose
// properties are not understood does not.
func protects(r record.Record) bool {
	o, ok := r.(resource.Other)
	if !ok || o.Scope.Type() != "microsoft.keyvault/vaults" {
		return false
	}
	p, err := vault.ParseProperties([]byte(o.Properties.String()))
	return err == nil && p.Retention.PurgeProtection
}
