package inject

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// A Layout is what the volume with the token is called and where containers find
// it. SDKs need no layout: AZURE_FEDERATED_TOKEN_FILE tells them. People who
// wrote the path into a manifest need theirs.
type Layout int

const (
	// LayoutAKS is that of AKS's documents, and of upstream up to v1.5.1.
	LayoutAKS Layout = iota
	// LayoutReserved is that of upstream v1.6.0, whose volume has another name in
	// each pod, so that no manifest refers to it.
	LayoutReserved
)

func (l Layout) known() bool { return l == LayoutAKS || l == LayoutReserved }

// reservedPrefix begins the names of volumes in LayoutReserved.
const reservedPrefix = "azure-workload-identity-reserved-"

// maxVolumeName is the longest name of a volume, a DNS label.
const maxVolumeName = 63

// caPath is where in the volume the certificate of the token proxy is.
const caPath = "ca-cert/ca.crt"

func (l Layout) mountPath() string {
	if l == LayoutReserved {
		return "/var/run/secrets/azure/wi"
	}
	return "/var/run/secrets/azure/tokens"
}

// tokenPath is where in the volume the token is.
func (l Layout) tokenPath() string {
	if l == LayoutReserved {
		return "token/azure-identity-token"
	}
	return "azure-identity-token"
}

// volume is the name of the pod's volume.
func (l Layout) volume(pod *corev1.Pod) string {
	if l == LayoutAKS {
		return "azure-identity-token"
	}
	// The name hangs on the pod's, and another webhook may have given it one since
	// we were here: a second volume would be mounted on the path of the first.
	for _, v := range pod.Spec.Volumes {
		if strings.HasPrefix(v.Name, reservedPrefix) {
			return v.Name
		}
	}
	name := pod.Name
	if name == "" {
		name = pod.GenerateName + " (prefix)"
	}
	sum := sha256.Sum256([]byte(name))
	return reservedPrefix + hex.EncodeToString(sum[:])[:maxVolumeName-len(reservedPrefix)]
}
