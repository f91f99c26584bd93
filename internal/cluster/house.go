package cluster

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A House says where the identity plane answers one cluster, and how that
// cluster proves who it is. The zero House answers nothing: a cluster with it
// has neither sign-in nor Azure RBAC, only certificates and Kubernetes RBAC.
type House struct {
	TokenReview         string // https URL that reviews tokens; empty turns sign-in through the house off
	SubjectAccessReview string // https URL that reviews requests; empty leaves Node and RBAC alone in the chain
	PodMutation         string // https URL that gives pods their workload identity; empty leaves them as they are
	CA                  []byte // PEM: who signs the house's serving certificate
	ClientCert          []byte // PEM: the cluster's certificate, URI SAN gatehouse:cluster:{scope}
	ClientKey           []byte // PEM: its key
}

// serves reports whether the cluster asks the house anything at all.
func (h House) serves() bool {
	return h.TokenReview != "" || h.SubjectAccessReview != "" || h.PodMutation != ""
}

func (h House) check() error {
	for _, u := range []string{h.TokenReview, h.SubjectAccessReview, h.PodMutation} {
		if u == "" {
			continue
		}
		parsed, err := url.Parse(u)
		if err != nil || parsed.Scheme != "https" || parsed.Host == "" {
			return fmt.Errorf("%q: a webhook is an https URL with a host", u)
		}
	}
	if h.serves() && (len(h.CA) == 0 || len(h.ClientCert) == 0 || len(h.ClientKey) == 0) {
		return errors.New("a cluster that asks the house needs its CA and a client certificate with its key")
	}
	return nil
}

// webhookFiles are the paths, as the API server sees them, of what it needs to
// call the house.
type webhookFiles struct{ ca, cert, key string }

// webhookKubeconfig is the kubeconfig form in which kube-apiserver reads a
// webhook. The certificate and its key are named and not embedded, because
// kube-apiserver reads named files again when they change, so that a renewed
// certificate needs no restart.
func webhookKubeconfig(server string, files webhookFiles) []byte {
	return marshal(kubeconfig{
		APIVersion: "v1", Kind: "Config",
		Clusters:       []namedCluster{{Name: "gatehouse", Cluster: kubeCluster{Server: server, CAFile: files.ca}}},
		Users:          []namedUser{{Name: "cluster", User: kubeUser{CertFile: files.cert, KeyFile: files.key}}},
		Contexts:       []namedContext{{Name: "gatehouse", Context: kubeContext{Cluster: "gatehouse", User: "cluster"}}},
		CurrentContext: "gatehouse",
	})
}

// marshal renders a value of ours, which cannot fail.
func marshal(v any) []byte {
	var b strings.Builder
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(v); err != nil {
		panic(err) // only a type that YAML cannot express gets here
	}
	return []byte(b.String())
}
