package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// KubernetesVersion is the version of the control planes that this package runs:
// that of gatehouse-kube.
const KubernetesVersion = "1.36.3"

// FQDN is the name that the API server of a cluster has in Azure. What follows the
// prefix makes it one of its own, and is the same for the same cluster.
func FQDN(prefix, uid, location string) string {
	sum := sha256.Sum256([]byte("name of cluster " + uid))
	return strings.ToLower(prefix) + "-" + hex.EncodeToString(sum[:4]) + ".hcp." + location + ".azmk8s.io"
}

// IssuerURL is the issuer of the service account tokens of a cluster of AKS.
func IssuerURL(location, tenant, uid string) string {
	return "https://" + location + ".oic.prod-aks.azure.com/" + tenant + "/" + uid + "/"
}
