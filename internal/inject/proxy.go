package inject

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// The containers of the proxy, which answers requests to the managed identity
// endpoint for programs that know nothing else.
const (
	proxyName     = "azwi-proxy"
	proxyInitName = "azwi-proxy-init"

	defaultProxyPort = 8000

	defaultProxyImage     = "mcr.microsoft.com/oss/azure/workload-identity/proxy:v1.5.1"
	defaultProxyInitImage = "mcr.microsoft.com/oss/azure/workload-identity/proxy-init:v1.5.1"
)

// proxies are the containers that a pod gets. The zero value is none.
type proxies struct {
	sidecar, init *corev1.Container
	native        bool
}

func newProxies(pod *corev1.Pod, conf Config) (proxies, error) {
	if _, asked := pod.Annotations[InjectProxySidecarAnnotation]; !asked {
		return proxies{}, nil // its value, even "false", says nothing
	}
	if pod.Spec.HostNetwork {
		// The redirection would be the node's.
		return proxies{}, errors.New("hostNetwork is set to true, cannot inject proxy sidecar")
	}
	port, err := proxyPort(pod)
	if err != nil {
		return proxies{}, err
	}
	px := proxies{native: conf.NativeSidecar}
	if !hasContainer(pod, proxyInitName) {
		px.init = newProxyInit(conf.Proxy, port)
	}
	if !hasContainer(pod, proxyName) {
		px.sidecar = newProxy(conf.Proxy, port)
		if px.native {
			px.sidecar.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
		}
	}
	return px, nil
}

func proxyPort(pod *corev1.Pod) (int32, error) {
	text, given := pod.Annotations[ProxySidecarPortAnnotation]
	if !given {
		return defaultProxyPort, nil
	}
	port, err := strconv.ParseInt(text, 10, 32)
	if err != nil || port < 1 || port > 65535 {
		return 0, fmt.Errorf("failed to parse proxy sidecar port: the annotation %s is %.40q, not a port between 1 and 65535", ProxySidecarPortAnnotation, text)
	}
	return int32(port), nil
}

// hasContainer looks in both lists: no two containers of a pod may share a name.
func hasContainer(pod *corev1.Pod, name string) bool {
	named := func(c corev1.Container) bool { return c.Name == name }
	return slices.ContainsFunc(pod.Spec.InitContainers, named) || slices.ContainsFunc(pod.Spec.Containers, named)
}

func newProxyInit(images Images, port int32) *corev1.Container {
	return &corev1.Container{
		Name: proxyInitName, Image: or(images.Init, defaultProxyInitImage), ImagePullPolicy: corev1.PullIfNotPresent,
		// It writes the rules of the pod's network, and ends.
		SecurityContext: &corev1.SecurityContext{
			Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN"}, Drop: []corev1.Capability{"ALL"}},
			Privileged:   new(true), RunAsNonRoot: new(false), RunAsUser: new(int64(0)),
		},
		Env: []corev1.EnvVar{{Name: "PROXY_PORT", Value: strconv.Itoa(int(port))}},
	}
}

func newProxy(images Images, port int32) *corev1.Container {
	listen, level := fmt.Sprintf("--proxy-port=%d", port), "--log-level="+or(images.Level, "info")
	return &corev1.Container{
		Name: proxyName, Image: or(images.Sidecar, defaultProxyImage), ImagePullPolicy: corev1.PullIfNotPresent,
		Args:  []string{listen, level},
		Ports: []corev1.ContainerPort{{ContainerPort: port}},
		// The containers behind it start when it answers.
		Lifecycle: &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{
			Exec: &corev1.ExecAction{Command: []string{"/proxy", listen, "--probe", level}},
		}},
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			Privileged: new(false), ReadOnlyRootFilesystem: new(true), RunAsNonRoot: new(true),
		},
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// add puts the containers into the pod, with an identity of their own: the proxy
// is who asks for tokens. The sidecar comes first, so that it answers before
// anybody asks, and the init container behind the others, as upstream has them.
func (px proxies) add(p *patch, pod *corev1.Pod, id *identity) {
	inits := len(pod.Spec.InitContainers)
	if px.init != nil {
		extend(p, "/spec/initContainers", inits, id.equipped(px.init))
		inits++
	}
	if px.sidecar == nil {
		return
	}
	path, length := "/spec/containers", len(pod.Spec.Containers)
	if px.native {
		path, length = "/spec/initContainers", inits
	}
	if length == 0 {
		extend(p, path, length, id.equipped(px.sidecar))
	} else {
		p.put("add", element(path, 0), id.equipped(px.sidecar))
	}
}

// equipped returns a new container with its variables and its mount.
func (id *identity) equipped(c *corev1.Container) corev1.Container {
	if !slices.Contains(id.skip, c.Name) {
		c.Env = append(c.Env, id.missing(c)...)
		c.VolumeMounts = append(c.VolumeMounts, id.mount)
	}
	return *c
}
