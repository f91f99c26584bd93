package directory

// BindingCredentialName is the name of the credential by which the clusters that
// have an identity binding speak for a managed identity.
const BindingCredentialName = "aks-identity-binding"

// BindingCredential is that credential: one for all clusters, whose issuer is the
// identity's own and has no keys. Nobody signs a token of it; a cluster's token
// proxy stands in for one. Without the credential no binding is good for anything.
func BindingCredential(m ManagedIdentity) FederatedCredential {
	return FederatedCredential{
		Owner: m.ClientID, Name: BindingCredentialName,
		Issuer:  bindingIssuers + m.Tenant.String() + "/" + m.ClientID.String(),
		Subject: m.ID.String(), Audiences: []string{ExchangeAudience},
		Description: "Identity bindings of clusters",
	}
}

// bindingIssuers is how the issuers of all bindings begin in AKS.
const bindingIssuers = "https://ib.oic.prod-aks.azure.com/"
