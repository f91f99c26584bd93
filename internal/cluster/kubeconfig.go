package cluster

import (
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/pki"
)

// Ids that clients of AKS know by heart: the application whose tokens the API
// server takes, and the public client that asks for them.
const (
	serverApp = "6dae42f8-4368-4678-94ff-3960e28e3630"
	clientApp = "80faf920-1908-4b52-b5ef-a8e7bedfc67a"
)

// publicAuthority is the one authority that kubelogin needs no telling about.
const publicAuthority = "https://login.microsoftonline.com"

// An Endpoint is what every kubeconfig of a cluster says about it.
type Endpoint struct {
	Name          string // the cluster's name, as its owner writes it
	ResourceGroup string // its resource group; part of user names
	Server        string // https URL of the API server
	CA            []byte // PEM: who signs the API server's certificate
}

// An Exec is a program that gets a token for kubectl.
type Exec struct {
	Command     string
	Args        []string
	Env         map[string]string
	InstallHint string // shown by kubectl when the program is missing
}

// SignIn says at whom and how an exec plugin signs in.
type SignIn struct {
	Authority string // URL of the token service, without the tenant
	Tenant    directory.TenantID
	// Server and Client are those of the legacy integration; zero means those that
	// every cluster of AKS shares.
	Server, Client directory.AppID
	Method         string            // kubelogin's --login: devicecode (when empty), interactive, spn, ...
	Env            map[string]string // for the plugin, such as SSL_CERT_FILE for an authority with a CA of its own
}

// Kubelogin returns the exec plugin that Microsoft ships. It has to be told
// about an authority that is not Microsoft's, and not to ask Microsoft whether
// that authority exists.
func Kubelogin(s SignIn) Exec {
	method := s.Method
	if method == "" {
		method = "devicecode"
	}
	server, client := s.apps()
	args := []string{"get-token", "--environment", "AzurePublicCloud", "--server-id", server,
		"--client-id", client, "--tenant-id", s.Tenant.String(), "--login", method}
	if !s.Server.IsZero() {
		args = append(args, "--legacy")
	}
	if authority := strings.TrimSuffix(s.Authority, "/"); authority != "" && authority != publicAuthority {
		args = append(args, "--authority-host", authority+"/", "--disable-instance-discovery")
	}
	return Exec{Command: "kubelogin", Args: args, Env: s.Env,
		InstallHint: "kubelogin is not installed; see https://azure.github.io/kubelogin/install.html, or use gatehouse credential, which needs no other program"}
}

// apps are the applications whose token is asked for, and that asks.
func (s SignIn) apps() (server, client string) {
	if s.Server.IsZero() {
		return serverApp, clientApp
	}
	return s.Server.String(), s.Client.String()
}

// GatehouseCredential returns the house's own exec plugin, which takes the same
// settings under the same names. Command is the path of the gatehouse binary;
// empty means the one in PATH.
func GatehouseCredential(command string, s SignIn) Exec {
	if command == "" {
		command = "gatehouse"
	}
	server, client := s.apps()
	args := []string{"credential", "--authority-host", strings.TrimSuffix(s.Authority, "/") + "/",
		"--server-id", server, "--client-id", client, "--tenant-id", s.Tenant.String()}
	if s.Method != "" {
		args = append(args, "--login", s.Method)
	}
	return Exec{Command: command, Args: args, Env: s.Env, InstallHint: "the gatehouse program is not in PATH"}
}

// UserKubeconfig returns the kubeconfig of everyone who signs in: it holds no
// secret, and is the same on every call.
func UserKubeconfig(e Endpoint, plugin Exec) []byte {
	env := []execEnv{}
	for _, name := range sortedKeys(plugin.Env) {
		env = append(env, execEnv{Name: name, Value: plugin.Env[name]})
	}
	return e.kubeconfig("clusterUser_", e.Name, kubeUser{Exec: &execPlugin{
		APIVersion: "client.authentication.k8s.io/v1beta1", Command: plugin.Command, Args: plugin.Args, Env: env,
		InstallHint: plugin.InstallHint, InteractiveMode: "IfAvailable",
	}})
}

// AuthProviderKubeconfig returns the kubeconfig of everyone who signs in, in the form
// from before exec plugins. kubectl does not read it any more; kubelogin makes the
// other form of it.
func AuthProviderKubeconfig(e Endpoint, s SignIn) []byte {
	server, client := s.apps()
	return e.kubeconfig("clusterUser_", e.Name, kubeUser{AuthProvider: &authProvider{Name: "azure", Config: map[string]string{
		"apiserver-id": server, "client-id": client, "config-mode": "1", "environment": "AzurePublicCloud", "tenant-id": s.Tenant.String(),
	}}})
}

// CertificateKubeconfig returns the kubeconfig of somebody whom the cluster knows by
// a certificate. The user's name begins with prefix, and the context is the
// cluster's name with a suffix.
func CertificateKubeconfig(e Endpoint, prefix, suffix string, pair pki.Pair) []byte {
	return e.kubeconfig(prefix, e.Name+suffix, kubeUser{CertData: pair.CertPEM, KeyData: pair.KeyPEM})
}

// AdminKubeconfig returns the kubeconfig of a local administrator. The name of
// its user starts with clusterAdmin, by which az knows it.
func AdminKubeconfig(e Endpoint, certPEM, keyPEM []byte) []byte {
	return CertificateKubeconfig(e, "clusterAdmin_", "-admin", pki.Pair{CertPEM: certPEM, KeyPEM: keyPEM})
}

func (e Endpoint) kubeconfig(prefix, contextName string, user kubeUser) []byte {
	userName := prefix + e.ResourceGroup + "_" + e.Name
	return marshal(kubeconfig{
		APIVersion: "v1", Kind: "Config",
		Clusters:       []namedCluster{{Name: e.Name, Cluster: kubeCluster{Server: e.Server, CAData: e.CA}}},
		Users:          []namedUser{{Name: userName, User: user}},
		Contexts:       []namedContext{{Name: contextName, Context: kubeContext{Cluster: e.Name, User: userName}}},
		CurrentContext: contextName,
	})
}
