package cluster

import (
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/directory"
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
	Method    string            // kubelogin's --login: devicecode (when empty), interactive, spn, ...
	Env       map[string]string // for the plugin, such as SSL_CERT_FILE for an authority with a CA of its own
}

// Kubelogin returns the exec plugin that Microsoft ships. It has to be told
// about an authority that is not Microsoft's, and not to ask Microsoft whether
// that authority exists.
func Kubelogin(s SignIn) Exec {
	method := s.Method
	if method == "" {
		method = "devicecode"
	}
	args := []string{"get-token", "--environment", "AzurePublicCloud", "--server-id", serverApp,
		"--client-id", clientApp, "--tenant-id", s.Tenant.String(), "--login", method}
	if authority := strings.TrimSuffix(s.Authority, "/"); authority != "" && authority != publicAuthority {
		args = append(args, "--authority-host", authority+"/", "--disable-instance-discovery")
	}
	return Exec{Command: "kubelogin", Args: args, Env: s.Env,
		InstallHint: "kubelogin is not installed; see https://azure.github.io/kubelogin/install.html, or use gatehouse credential, which needs no other program"}
}

// GatehouseCredential returns the house's own exec plugin, which takes the same
// settings under the same names. Command is the path of the gatehouse binary;
// empty means the one in PATH.
func GatehouseCredential(command string, s SignIn) Exec {
	if command == "" {
		command = "gatehouse"
	}
	args := []string{"credential", "--authority-host", strings.TrimSuffix(s.Authority, "/") + "/",
		"--server-id", serverApp, "--client-id", clientApp, "--tenant-id", s.Tenant.String()}
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

// AdminKubeconfig returns the kubeconfig of a local administrator. The name of
// its user starts with clusterAdmin, by which az knows it.
func AdminKubeconfig(e Endpoint, certPEM, keyPEM []byte) []byte {
	return e.kubeconfig("clusterAdmin_", e.Name+"-admin", kubeUser{CertData: certPEM, KeyData: keyPEM})
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
