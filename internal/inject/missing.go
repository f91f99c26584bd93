package inject

import (
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// A Finding is something that keeps a pod's containers from their identity.
type Finding struct {
	ID        string // for programs; one of the constants below
	Container string // empty for the whole pod
	What      string // what is wrong, for people
	Fix       string // the smallest thing that mends it; empty if nothing has to be
}

// What Missing finds.
const (
	LabelValue        = "label-value"         // the label has a value that does not count
	LabelMissing      = "label-missing"       // the service account has an identity, and the pod does not ask for it
	NoServiceAccount  = "no-service-account"  // the pod's service account is gone
	WebhookMissed     = "webhook-missed"      // the pod was made without the webhook
	ContainerMissed   = "container-missed"    // one container came behind the webhook
	SkipUnknown       = "skip-unknown"        // a name among the skipped containers is no container
	TokenNotMounted   = "token-not-mounted"   // there is no volume where the token file should be
	TokenNotProjected = "token-not-projected" // what is there is no service account token
	TokenAudience     = "token-audience"      // the token is for somebody else
	TokenStale        = "token-stale"         // the token is good for its first life alone
	NoClientID        = "no-client-id"        // nobody says which identity to ask for
	ClientIDDiffers   = "client-id-differs"   // container and service account name two identities
	TenantDiffers     = "tenant-differs"      // container and service account name two tenants
	NotEvaluated      = "not-evaluated"       // the value comes from elsewhere, and was not looked at
)

// Missing looks at a pod that exists and at its service account, which is nil if
// there is none, and returns why its containers do not have the identity that
// they should. It knows the layouts of all webhooks: what counts is whether the
// variables lead to a token. Whether the token is accepted it cannot see.
func Missing(pod *corev1.Pod, sa *corev1.ServiceAccount) []Finding {
	m := &examination{pod: pod, sa: sa}
	if m.asks() {
		m.containers()
	}
	return m.findings
}

type examination struct {
	pod      *corev1.Pod
	sa       *corev1.ServiceAccount
	findings []Finding
}

func (m *examination) find(id, container, fix, what string, args ...any) {
	m.findings = append(m.findings, Finding{ID: id, Container: container, What: fmt.Sprintf(what, args...), Fix: fix})
}

const (
	remake    = "delete the pod, so that its controller makes it again"
	fixLabel  = `write the label ` + UseLabel + `: "true" into the template of the pod, with quotes`
	fixWriter = "take the variable out of the template of the pod, or write the same into the service account"
)

// asks reports whether the pod has the right label, and finds why not.
func (m *examination) asks() bool {
	if Wanted(m.pod) {
		return true
	}
	switch value, labelled := m.pod.Labels[UseLabel]; {
	case labelled:
		m.find(LabelValue, "", fixLabel, "the label %s has the value %q, and only \"true\" counts", UseLabel, value)
	case m.sa == nil || m.sa.Annotations[ClientIDAnnotation] == "" || slices.ContainsFunc(m.all(), hasTokenFile):
	case slices.ContainsFunc(m.all(), m.mayHaveTokenFile):
		m.find(NotEvaluated, "", "", "the pod is not labelled %s, and "+fromWhole, UseLabel, tokenFileVar)
	default:
		m.find(LabelMissing, "", fixLabel, "the service account %s has the identity %s, and the pod is not labelled %s",
			m.sa.Name, m.sa.Annotations[ClientIDAnnotation], UseLabel)
	}
	return false
}

// all are the containers that a webhook sees.
func (m *examination) all() []corev1.Container {
	return slices.Concat(m.pod.Spec.InitContainers, m.pod.Spec.Containers)
}

func (m *examination) containers() {
	if m.sa == nil {
		m.find(NoServiceAccount, "", "make the service account again, then "+remake, "the service account %s does not exist", ServiceAccountOf(m.pod))
	}
	all, skip := m.all(), skipped(m.pod)
	for _, name := range skip {
		if name != "" && !slices.ContainsFunc(all, func(c corev1.Container) bool { return c.Name == name }) {
			m.find(SkipUnknown, "", "write the name of a container into the annotation "+SkipContainersAnnotation,
				"the annotation %s names %q, and there is no such container", SkipContainersAnnotation, name)
		}
	}
	all = slices.DeleteFunc(all, func(c corev1.Container) bool { return slices.Contains(skip, c.Name) })
	if len(all) > 0 && !slices.ContainsFunc(all, func(c corev1.Container) bool { return hasTokenFile(c) || m.mayHaveTokenFile(c) }) {
		m.find(WebhookMissed, "", "see that the webhook is installed and not kept from namespace "+m.pod.Namespace+", then "+remake,
			"no container has the variable %s: the webhook did not see this pod", tokenFileVar)
		return
	}
	for i := range all {
		if m.mayHaveTokenFile(all[i]) {
			m.find(NotEvaluated, all[i].Name, "", fromWhole, tokenFileVar)
			continue
		}
		if !hasTokenFile(all[i]) {
			m.find(ContainerMissed, all[i].Name, "set reinvocationPolicy: IfNeeded on the webhook, then "+remake,
				"the container does not have the variable %s: another webhook added it afterwards", tokenFileVar)
			continue
		}
		m.token(&all[i])
		m.identity(&all[i])
	}
}

// variable returns a variable of a container. Of one that is there twice, the last counts.
func variable(c *corev1.Container, name string) (corev1.EnvVar, bool) {
	for _, v := range slices.Backward(c.Env) {
		if v.Name == name {
			return v, true
		}
	}
	return corev1.EnvVar{}, false
}

func hasTokenFile(c corev1.Container) bool {
	_, has := variable(&c, tokenFileVar)
	return has
}

// fromWhole is said of a variable that MayComeFromWhole.
const fromWhole = "whether %s comes from a whole config map or secret was not looked at"

// MayComeFromWhole reports whether a container that does not have a variable itself may
// have it from a whole config map or secret.
func MayComeFromWhole(c *corev1.Container, name string) bool {
	_, set := variable(c, name)
	return !set && slices.ContainsFunc(c.EnvFrom, func(e corev1.EnvFromSource) bool { return strings.HasPrefix(name, e.Prefix) })
}

// mayHaveTokenFile reports whether a container may have the variable from a whole config
// map or secret. Where no token that can be exchanged is mounted, that led to nothing.
func (m *examination) mayHaveTokenFile(c corev1.Container) bool {
	return MayComeFromWhole(&c, tokenFileVar) && slices.ContainsFunc(c.VolumeMounts, func(at corev1.VolumeMount) bool {
		return slices.ContainsFunc(m.pod.Spec.Volumes, func(v corev1.Volume) bool {
			return v.Name == at.Name && v.Projected != nil && slices.ContainsFunc(v.Projected.Sources, func(s corev1.VolumeProjection) bool {
				t := s.ServiceAccountToken
				return t != nil && (t.Audience == BindingAudience || strings.HasPrefix(t.Audience, DefaultAudience))
			})
		})
	})
}

// literal returns the value of a variable if the pod has one, and notes when it
// comes from elsewhere.
func (m *examination) literal(c *corev1.Container, name string) (value string, known, set bool) {
	v, set := variable(c, name)
	if set && (v.ValueFrom != nil || strings.Contains(v.Value, "$(")) {
		m.find(NotEvaluated, c.Name, "", "the value of %s comes from elsewhere, and was not looked at", name)
		return "", false, true
	}
	return v.Value, true, set
}

// token follows the path of the token file to a token.
func (m *examination) token(c *corev1.Container) {
	file, known, _ := m.literal(c, tokenFileVar)
	if !known {
		return
	}
	file = path.Clean(file)
	var at *corev1.VolumeMount
	for i, v := range c.VolumeMounts {
		if base := path.Clean(v.MountPath); file == base || strings.HasPrefix(file, strings.TrimSuffix(base, "/")+"/") {
			if at == nil || len(base) > len(path.Clean(at.MountPath)) {
				at = &c.VolumeMounts[i]
			}
		}
	}
	if at == nil {
		m.find(TokenNotMounted, c.Name, remake, "%s is %s, and nothing is mounted there", tokenFileVar, file)
		return
	}
	if at.SubPathExpr != "" {
		m.find(NotEvaluated, c.Name, "", "the path of volume %s that is mounted comes from elsewhere, and was not looked at", at.Name)
		return
	}
	inside := strings.TrimPrefix(strings.TrimPrefix(file, path.Clean(at.MountPath)), "/")
	if at.SubPath != "" {
		inside = path.Join(at.SubPath, inside)
	}
	source := m.projection(at.Name, inside)
	if source == nil {
		m.find(TokenNotProjected, c.Name, "take the volume out of the template of the pod, then "+remake,
			"%s is %s, and the volume %s has no service account token there", tokenFileVar, file, at.Name)
		return
	}
	want := DefaultAudience
	if _, bound := variable(c, tokenProxyVar); bound {
		want = BindingAudience
	}
	// The audiences of other clouds are the usual one with a suffix.
	if source.Audience != want && !(want == DefaultAudience && strings.HasPrefix(source.Audience, want)) {
		m.find(TokenAudience, c.Name, "take the volume out of the template of the pod, then "+remake,
			"the token of volume %s is for the audience %q, not for %s", at.Name, source.Audience, want)
	}
	if at.SubPath != "" {
		m.find(TokenStale, c.Name, "mount the volume without subPath, then "+remake,
			"the volume %s is mounted with a subPath, so the container never sees the next token, and has none when the first has ended", at.Name)
	}
}

// projection returns the token at a path of a volume, or nil.
func (m *examination) projection(volume, inside string) *corev1.ServiceAccountTokenProjection {
	for _, v := range m.pod.Spec.Volumes {
		if v.Name != volume || v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			if s.ServiceAccountToken != nil && path.Clean(s.ServiceAccountToken.Path) == inside {
				return s.ServiceAccountToken
			}
		}
	}
	return nil
}

// identity compares what the container asks for with the service account.
func (m *examination) identity(c *corev1.Container) {
	if m.sa == nil {
		return
	}
	annotated := m.sa.Annotations[ClientIDAnnotation]
	switch id, known, set := m.literal(c, clientIDVar); {
	case !known:
	case !set && MayComeFromWhole(c, clientIDVar):
		m.find(NotEvaluated, c.Name, "", fromWhole, clientIDVar)
	case !set && annotated == "":
		m.find(NoClientID, c.Name, "annotate the service account "+m.sa.Name+" with "+ClientIDAnnotation+", then "+remake+"; or name the identity in the program",
			"neither the container nor the service account %s says which identity to ask for", m.sa.Name)
	case !set:
		m.find(ClientIDDiffers, c.Name, remake, "the service account %s got the identity %s after the pod was made", m.sa.Name, annotated)
	case annotated != "" && !strings.EqualFold(id, annotated):
		m.find(ClientIDDiffers, c.Name, remake+"; or "+fixWriter, "the container asks for the identity %s, the service account %s has %s", id, m.sa.Name, annotated)
	}
	tenant, known, _ := m.literal(c, tenantIDVar)
	switch annotated := m.sa.Annotations[TenantIDAnnotation]; {
	case !known || annotated == "" || strings.EqualFold(tenant, annotated):
	case MayComeFromWhole(c, tenantIDVar):
		m.find(NotEvaluated, c.Name, "", fromWhole, tenantIDVar)
	default:
		m.find(TenantDiffers, c.Name, remake+"; or "+fixWriter, "the container asks in the tenant %s, the service account %s says %s", tenant, m.sa.Name, annotated)
	}
}
