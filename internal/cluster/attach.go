package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"

	"github.com/gatehouse-io/gatehouse/internal/principal"
)

// A Flavour is how an existing cluster was set up, and so where the settings of
// its API server are written.
type Flavour string

// The flavours that Attach knows.
const (
	Kubeadm Flavour = "kubeadm"
	K3s     Flavour = "k3s"
	Kind    Flavour = "kind"
)

// Flavours are all of them.
func Flavours() []Flavour { return []Flavour{Kubeadm, K3s, Kind} }

// AttachConfig describes a cluster that others run and that shall ask the house.
type AttachConfig struct {
	Name        string
	Flavour     Flavour
	House       House          // both URLs, as they are reached from the control plane
	AdminGroups []principal.ID // members become cluster-admin by Kubernetes RBAC
}

// Files are the texts of files by their slash-separated names. Names that end in
// .key are secret.
type Files map[string][]byte

// attachDir is where each flavour's API server finds the files of the folder
// gatehouse/. kubeadm and kind mount it into the API server's pod; the API
// server of k3s is a process of the host.
var attachDir = map[Flavour]string{
	Kubeadm: "/etc/kubernetes/gatehouse",
	K3s:     "/etc/rancher/k3s/gatehouse",
	Kind:    "/etc/kubernetes/gatehouse",
}

// Attach returns everything that an existing cluster needs in order to ask the
// house: configuration files, certificates, RBAC objects, the settings of the
// flavour, and a README that says where they go.
func Attach(conf AttachConfig) (Files, error) {
	dir, ok := attachDir[conf.Flavour]
	if !ok {
		return nil, fmt.Errorf("attach %s: %q is none of the flavours %v", conf.Name, conf.Flavour, Flavours())
	}
	if err := conf.check(); err != nil {
		return nil, fmt.Errorf("attach %s: %w", conf.Name, err)
	}
	at := func(name string) string { return path.Join(dir, name) }
	hook := webhookFiles{ca: at("house-ca.crt"), cert: at("house-client.crt"), key: at("house-client.key")}
	files := Files{
		"gatehouse/house-ca.crt":                   conf.House.CA,
		"gatehouse/house-client.crt":               conf.House.ClientCert,
		"gatehouse/house-client.key":               conf.House.ClientKey,
		"gatehouse/tokenreview.kubeconfig":         webhookKubeconfig(conf.House.TokenReview, hook),
		"gatehouse/subjectaccessreview.kubeconfig": webhookKubeconfig(conf.House.SubjectAccessReview, hook),
		"gatehouse/authentication.yaml":            marshal(authentication(conf.Flavour.anonymous())),
		"gatehouse/authorization.yaml":             marshal(authorization(at("subjectaccessreview.kubeconfig"), conf.Flavour.conditions())),
		"rbac.yaml":                                attachRBAC(conf.AdminGroups),
	}
	flags := []flag{
		{"authentication-config", at("authentication.yaml")},
		{"authentication-token-webhook-config-file", at("tokenreview.kubeconfig")},
		{"authentication-token-webhook-version", "v1"},
		{"authentication-token-webhook-cache-ttl", "0s"},
		{"authorization-config", at("authorization.yaml")},
	}
	switch conf.Flavour {
	case Kubeadm:
		files["kubeadm.yaml"] = marshal(clusterConfiguration(flags, dir))
	case K3s:
		files["k3s.yaml"] = k3sConfig(flags)
	case Kind:
		files["kind.yaml"] = kindConfig(flags, dir)
	}
	files["README.md"] = attachReadme(conf, dir)
	return files, nil
}

func (c AttachConfig) check() error {
	if c.Name == "" {
		return errors.New("the cluster has no name")
	}
	if c.House.TokenReview == "" || c.House.SubjectAccessReview == "" {
		return errors.New("an attached cluster needs both URLs of the house")
	}
	if err := c.House.check(); err != nil {
		return err
	}
	if c.Flavour != Kind {
		return nil
	}
	for _, u := range []string{c.House.TokenReview, c.House.SubjectAccessReview} {
		parsed, err := url.Parse(u)
		if err != nil {
			return err
		}
		if ip := net.ParseIP(parsed.Hostname()); parsed.Hostname() == "localhost" || ip.IsLoopback() {
			return fmt.Errorf("%s: inside a kind node that is the node itself; use an address of this machine that containers reach", u)
		}
	}
	return nil
}

// anonymous are the paths that the world may read without saying who it is.
func (f Flavour) anonymous() []string {
	if f == K3s {
		return healthPaths
	}
	return append([]string{joinPath}, healthPaths...)
}

// conditions keep out who never needs the house, besides system: users.
func (f Flavour) conditions() []string {
	switch f {
	case K3s:
		// The one component of k3s whose name does not start with system:.
		return []string{notSystem, notMirror, `request.user != 'k3s-cloud-controller-manager'`}
	case Kubeadm, Kind:
		return []string{notSystem, notMirror, notKubeadm}
	}
	return []string{notSystem, notMirror}
}

func attachRBAC(admins []principal.ID) []byte {
	docs := [][]byte{marshal(mirrorRole()), marshal(bindMirror())}
	if len(admins) > 0 {
		docs = append(docs, marshal(bindAdmins(admins)))
	}
	return bytes.Join(docs, []byte("---\n"))
}
