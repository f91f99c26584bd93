package inject

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Bounds and default of the token's life, in seconds.
const (
	minExpiration     = 3600
	maxExpiration     = 86400
	defaultExpiration = 3600
)

// An identity is what a pod's containers get.
type identity struct {
	vars   []corev1.EnvVar
	mount  corev1.VolumeMount
	volume corev1.Volume
	skip   []string // names of containers that get nothing
}

func newIdentity(pod *corev1.Pod, sa *corev1.ServiceAccount, conf Config) (*identity, error) {
	expiration, err := expirationOf(pod, sa)
	if err != nil {
		return nil, err
	}
	layout := conf.Layout
	tenant, named := sa.Annotations[TenantIDAnnotation]
	if !named {
		tenant = conf.Tenant // an empty annotation means none
	}
	id := &identity{
		mount: corev1.VolumeMount{Name: layout.volume(pod), MountPath: layout.mountPath(), ReadOnly: true},
		skip:  skipped(pod),
	}
	id.set(clientIDVar, sa.Annotations[ClientIDAnnotation])
	id.set(tenantIDVar, tenant)
	id.set(tokenFileVar, path.Join(layout.mountPath(), layout.tokenPath()))
	id.set(authorityHostVar, conf.AuthorityHost)

	audience := conf.audience()
	sources := []corev1.VolumeProjection{{}}
	if conf.Binding != nil && strings.EqualFold(pod.Annotations[IdentityBindingAnnotation], "true") {
		audience = BindingAudience
		sources = append(sources, id.bind(*conf.Binding, layout)...)
	}
	sources[0].ServiceAccountToken = &corev1.ServiceAccountTokenProjection{
		Path: layout.tokenPath(), ExpirationSeconds: &expiration, Audience: audience,
	}
	id.volume = corev1.Volume{Name: id.mount.Name, VolumeSource: corev1.VolumeSource{
		Projected: &corev1.ProjectedVolumeSource{Sources: sources},
	}}
	return id, nil
}

// set adds a variable. Empty ones are left out: SDKs take them for given.
func (id *identity) set(name, value string) {
	if value != "" {
		id.vars = append(id.vars, corev1.EnvVar{Name: name, Value: value})
	}
}

// bind adds what an identity binding needs, and returns what else goes into the
// volume.
func (id *identity) bind(b Binding, layout Layout) []corev1.VolumeProjection {
	id.set(tokenProxyVar, b.TokenProxy)
	id.set(sniNameVar, b.SNIName)
	if b.CAConfigMap == "" {
		id.set(caDataVar, b.CAData)
		return nil
	}
	id.set(caFileVar, path.Join(layout.mountPath(), caPath))
	return []corev1.VolumeProjection{{ConfigMap: &corev1.ConfigMapProjection{
		LocalObjectReference: corev1.LocalObjectReference{Name: b.CAConfigMap},
		Items:                []corev1.KeyToPath{{Key: "ca.crt", Path: caPath}},
		Optional:             new(false),
	}}}
}

// expirationOf is how long the token lives: the pod's annotation, else that of
// the service account, else an hour. An empty annotation is none.
func expirationOf(pod *corev1.Pod, sa *corev1.ServiceAccount) (int64, error) {
	of, text := "pod", pod.Annotations[ExpirationAnnotation]
	if text == "" {
		of, text = "service account", sa.Annotations[ExpirationAnnotation]
	}
	if text == "" {
		return defaultExpiration, nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("token expiration %.40q not valid. Expected a whole number of seconds between %d and %d in the annotation %s of the %s",
			text, minExpiration, maxExpiration, ExpirationAnnotation, of)
	}
	if seconds < minExpiration || seconds > maxExpiration {
		return 0, fmt.Errorf("token expiration %d not valid. Expected value to be between %d and %d: see the annotation %s of the %s",
			seconds, minExpiration, maxExpiration, ExpirationAnnotation, of)
	}
	return seconds, nil
}

// skipped are the names in the annotation of the pod.
func skipped(pod *corev1.Pod) []string {
	text := pod.Annotations[SkipContainersAnnotation]
	if text == "" {
		return nil
	}
	names := strings.Split(text, ";")
	for i, n := range names {
		names[i] = strings.TrimSpace(n)
	}
	return names
}

// equip gives the container at a path its variables and its mount.
func (id *identity) equip(p *patch, at string, c *corev1.Container) error {
	if slices.Contains(id.skip, c.Name) {
		return nil
	}
	extend(p, at+"/env", len(c.Env), id.missing(c)...)

	ours := -1
	for i, m := range c.VolumeMounts {
		switch onPath := path.Clean(m.MountPath) == id.mount.MountPath; {
		case m.Name == id.mount.Name && (ours < 0 || onPath):
			ours = i // of several, the one on our path: no two may be on one
		case m.Name != id.mount.Name && onPath:
			return fmt.Errorf("container %q mounts volume %q on %s, where the token of its workload identity goes; mount it elsewhere, or name the container in the annotation %s",
				c.Name, m.Name, m.MountPath, SkipContainersAnnotation)
		}
	}
	switch {
	case ours < 0:
		extend(p, at+"/volumeMounts", len(c.VolumeMounts), id.mount)
	case c.VolumeMounts[ours] != id.mount:
		p.put("replace", element(at+"/volumeMounts", ours), id.mount)
	}
	return nil
}

// missing are the variables that a container does not have. What it has, from
// wherever, stays.
func (id *identity) missing(c *corev1.Container) []corev1.EnvVar {
	var vars []corev1.EnvVar
	for _, v := range id.vars {
		if !slices.ContainsFunc(c.Env, func(has corev1.EnvVar) bool { return has.Name == v.Name }) {
			vars = append(vars, v)
		}
	}
	return vars
}

// addVolume gives the pod the volume. One of the same name goes: a token must not
// be mounted from elsewhere.
func (id *identity) addVolume(p *patch, pod *corev1.Pod) {
	for i, v := range pod.Spec.Volumes {
		if v.Name != id.volume.Name {
			continue
		}
		if !sameVolume(v, id.volume) {
			p.put("replace", element("/spec/volumes", i), id.volume)
		}
		return
	}
	extend(p, "/spec/volumes", len(pod.Spec.Volumes), id.volume)
}
