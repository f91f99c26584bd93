package azurerbac

import "github.com/gatehouse-io/gatehouse/internal/guid"

// Built-in roles that the house knows by id. Source: Azure, "Azure built-in roles".
var (
	Owner                   = wellKnown("8e3af657-a8ff-443c-a75c-2fe8c4bcb635")
	Contributor             = wellKnown("b24988ac-6180-42a0-ab88-20f7382dd24c")
	Reader                  = wellKnown("acdd72a7-3385-48ef-bd42-f606fba81ae7")
	UserAccessAdministrator = wellKnown("18d7d88d-d35e-4fb5-a5c3-7773c20a72d9")

	// ClusterAdmin lets its holder fetch the certificate of a cluster's local
	// administrator, and RBACClusterAdmin do everything in it.
	ClusterAdmin     = wellKnown("0ab0b1a8-8aac-4efd-b8c2-3ee1fb270be8")
	RBACClusterAdmin = wellKnown("b1ff04bb-8a4e-4dc4-8eb5-8693973ce19b")

	AcrPull          = wellKnown("7f951dda-4ed3-4680-a7ca-43fe172d538d")
	RepositoryReader = wellKnown("b93aa761-3e63-49ed-ac28-beffa264f7ac")
	CatalogLister    = wellKnown("bfdb9389-c9a5-478a-bb2f-ba9ca092c3c7")

	KeyVaultReader   = wellKnown("21090545-7ca7-4776-b22c-e363652d74d2")
	SecretsUser      = wellKnown("4633458b-17de-408a-b874-0445c86b69e6")
	CertificateUser  = wellKnown("db79e9a7-68ee-4b58-9aeb-b90e7c24fcba")
	CryptoUser       = wellKnown("12338af0-0e69-4776-bea7-57ae8d297424")
	MetricsPublisher = wellKnown("3913510d-42f4-4e42-8a64-420c390055eb")

	NetworkContributor = wellKnown("4d97b98b-1d4f-4787-a291-c67834d212e7")
)

func wellKnown(id string) DefinitionID { return guid.MustParse[definition](id) }

// addonRoles are the add-ons, in lower case, that get an identity of their own, with
// the roles that AKS gives it in the node resource group. Source: AKS, "Summary of
// managed identities used by AKS".
var addonRoles = map[string][]DefinitionID{
	"aciconnectorlinux":            {Contributor},
	"azurekeyvaultsecretsprovider": nil,
	"azurepolicy":                  nil,
	"httpapplicationrouting":       {Reader},
	"ingressapplicationgateway":    {Contributor},
	"omsagent":                     nil,
}

// AddonRoles returns the roles that AKS gives the identity of an add-on in the node
// resource group, and false for an add-on without an identity. Whatever else one
// needs, az or its owner gives it: Monitoring Metrics Publisher to that of omsagent,
// rights in a vault to that of the secrets provider. The name is in any letter case.
func AddonRoles(addon string) ([]DefinitionID, bool) {
	roles, ok := addonRoles[lower(addon)]
	return roles, ok
}
