package cluster

import (
	"fmt"
	"strings"
)

// A flag of kube-apiserver, without its dashes.
type flag struct{ name, value string }

// kubeadmCluster is the part of kubeadm's ClusterConfiguration (v1beta4) that
// concerns the API server. kubeadm leaves --authorization-mode out by itself when
// --authorization-config is given.
type kubeadmCluster struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	APIServer  struct {
		ExtraArgs    []nameValue  `yaml:"extraArgs"`
		ExtraVolumes []hostVolume `yaml:"extraVolumes"`
	} `yaml:"apiServer"`
}

type nameValue struct {
	Name  string `yaml:"name"`
	Value string `yaml:"value"`
}

type hostVolume struct {
	Name      string `yaml:"name"`
	HostPath  string `yaml:"hostPath"`
	MountPath string `yaml:"mountPath"`
	ReadOnly  bool   `yaml:"readOnly"`
	PathType  string `yaml:"pathType"`
}

func clusterConfiguration(flags []flag, dir string) kubeadmCluster {
	conf := kubeadmCluster{APIVersion: "kubeadm.k8s.io/v1beta4", Kind: "ClusterConfiguration"}
	for _, f := range flags {
		conf.APIServer.ExtraArgs = append(conf.APIServer.ExtraArgs, nameValue{Name: f.name, Value: f.value})
	}
	// A volume that must exist: without the files the API server would refuse to
	// start, and with an empty folder made for it nobody would see why.
	conf.APIServer.ExtraVolumes = []hostVolume{{Name: "gatehouse", HostPath: dir, MountPath: dir, ReadOnly: true, PathType: "Directory"}}
	return conf
}

// k3sConfig is a file for /etc/rancher/k3s/config.yaml.d. The plus sign adds to
// the arguments given elsewhere, where the plain name would replace them. k3s
// leaves its own --authorization-mode and --anonymous-auth out when it sees these.
func k3sConfig(flags []flag) []byte {
	var args []string
	for _, f := range flags {
		args = append(args, f.name+"="+f.value)
	}
	return marshal(map[string][]string{"kube-apiserver-arg+": args})
}

type kindCluster struct {
	APIVersion string     `yaml:"apiVersion"`
	Kind       string     `yaml:"kind"`
	Nodes      []kindNode `yaml:"nodes"`
	Patches    []string   `yaml:"kubeadmConfigPatches"`
}

type kindNode struct {
	Role        string      `yaml:"role"`
	ExtraMounts []kindMount `yaml:"extraMounts"`
}

type kindMount struct {
	HostPath      string `yaml:"hostPath"`
	ContainerPath string `yaml:"containerPath"`
	ReadOnly      bool   `yaml:"readOnly"`
}

func kindConfig(flags []flag, dir string) []byte {
	return marshal(kindCluster{
		APIVersion: "kind.x-k8s.io/v1alpha4", Kind: "Cluster",
		Nodes: []kindNode{{Role: "control-plane", ExtraMounts: []kindMount{
			{HostPath: "./gatehouse", ContainerPath: dir, ReadOnly: true}}}},
		Patches: []string{string(marshal(clusterConfiguration(flags, dir)))},
	})
}

// steps are the three steps of each flavour, %[1]s being the folder on the
// control plane.
var steps = map[Flavour]string{
	Kubeadm: `1. On every control-plane node, copy the folder gatehouse/ to %[1]s:

       sudo install -d -m 0700 %[1]s
       sudo install -m 0600 gatehouse/* %[1]s/

2. Merge kubeadm.yaml into the ClusterConfiguration and let kubeadm write the API server's manifest, one node after the other.
   For a new cluster, give the merged file to kubeadm init --config. For a running one:

       kubectl -n kube-system get configmap kubeadm-config -o jsonpath='{.data.ClusterConfiguration}' > cluster.yaml
       # merge kubeadm.yaml into cluster.yaml; remove any authorization-mode and anonymous-auth argument
       sudo kubeadm init phase upload-config kubeadm --config cluster.yaml
       sudo kubeadm init phase control-plane apiserver --config cluster.yaml

3. Add the objects, then look at what was done:

       kubectl apply -f rbac.yaml
       sudo gatehouse cluster doctor --manifest /etc/kubernetes/manifests/kube-apiserver.yaml
`,
	K3s: `1. On every server, copy the folder gatehouse/ to %[1]s:

       sudo install -d -m 0700 %[1]s
       sudo install -m 0600 gatehouse/* %[1]s/

2. Add the arguments and restart, one server after the other. k3s 1.34 or later leaves out the flags that would contradict them:

       sudo install -d /etc/rancher/k3s/config.yaml.d
       sudo install -m 0600 k3s.yaml /etc/rancher/k3s/config.yaml.d/gatehouse.yaml
       sudo systemctl restart k3s

3. Add the objects, then look at what was done:

       kubectl apply -f rbac.yaml
       sudo gatehouse cluster doctor --config %[1]s
`,
	Kind: `1. In this directory, make the cluster. kind 0.32 or later with a node image of Kubernetes 1.36 or later reads kind.yaml as it is;
   it mounts the folder gatehouse/ at %[1]s:

       kind create cluster --name NAME --config kind.yaml

2. Add the objects:

       kubectl apply -f rbac.yaml

3. Look at what was done:

       gatehouse cluster doctor --config gatehouse
`,
}

func attachReadme(conf AttachConfig, dir string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# Attach the cluster %s to Gatehouse (%s)\n\n", conf.Name, conf.Flavour)
	b.WriteString("Kubernetes 1.34 or later is needed: earlier API servers cannot switch off the authorization caches by name.\n\n")
	b.WriteString(strings.ReplaceAll(fmt.Sprintf(steps[conf.Flavour], dir), "NAME", conf.Name))
	fmt.Fprintf(&b, `
## What changes

- Tokens are reviewed at %s and requests at %s.
- The chain of authorizers is Node, Gatehouse, RBAC. What Gatehouse does not answer is refused, RBAC is not asked then, and nothing is cached.
- Nodes, service accounts and the control plane never come to Gatehouse, so the cluster runs on while Gatehouse is down.
- Anonymous requests reach the health checks%s and nothing else.
- gatehouse/house-client.key is this cluster's identity: keep it as secret as the API server's own key.

## When Gatehouse is down

%s
`, conf.House.TokenReview, conf.House.SubjectAccessReview, map[bool]string{true: "; cluster-info, which joining nodes read;"}[conf.Flavour != K3s],
		breakGlass[conf.Flavour])
	return []byte(b.String())
}

// breakGlass is the way in that does not depend on the house (WH-23).
var breakGlass = map[Flavour]string{
	Kubeadm: "/etc/kubernetes/admin.conf still works: its group kubeadm:cluster-admins never comes to Gatehouse. Keep that file on the control-plane nodes.",
	K3s:     "/etc/rancher/k3s/k3s.yaml still works: its group is system:masters, about which nobody is asked. Keep that file on the servers.",
	Kind:    "The kubeconfig that kind wrote still works: its group kubeadm:cluster-admins never comes to Gatehouse.",
}
