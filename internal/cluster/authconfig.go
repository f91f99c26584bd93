package cluster

// The structured configuration files of kube-apiserver (apiserver.config.k8s.io/v1),
// as far as the house writes and reads them. The field names are those of
// k8s.io/apiserver/pkg/apis/apiserver/v1, which refuses any other.

const configAPIVersion = "apiserver.config.k8s.io/v1"

type authenticationConfiguration struct {
	APIVersion string         `yaml:"apiVersion"`
	Kind       string         `yaml:"kind"`
	JWT        []any          `yaml:"jwt,omitempty"`
	Anonymous  *anonymousAuth `yaml:"anonymous,omitempty"`
}

type anonymousAuth struct {
	Enabled    bool            `yaml:"enabled"`
	Conditions []anonymousPath `yaml:"conditions,omitempty"`
}

type anonymousPath struct {
	Path string `yaml:"path"`
}

type authorizationConfiguration struct {
	APIVersion  string       `yaml:"apiVersion"`
	Kind        string       `yaml:"kind"`
	Authorizers []authorizer `yaml:"authorizers"`
}

type authorizer struct {
	Type    string       `yaml:"type"`
	Name    string       `yaml:"name"`
	Webhook *authWebhook `yaml:"webhook,omitempty"`
}

// authWebhook has pointers where a missing field means something else than the
// zero value: both caches are on unless they are switched off by name.
type authWebhook struct {
	AuthorizedTTL             string           `yaml:"authorizedTTL,omitempty"`
	CacheAuthorizedRequests   *bool            `yaml:"cacheAuthorizedRequests,omitempty"`
	UnauthorizedTTL           string           `yaml:"unauthorizedTTL,omitempty"`
	CacheUnauthorizedRequests *bool            `yaml:"cacheUnauthorizedRequests,omitempty"`
	Timeout                   string           `yaml:"timeout"`
	ReviewVersion             string           `yaml:"subjectAccessReviewVersion"`
	ConditionVersion          string           `yaml:"matchConditionSubjectAccessReviewVersion"`
	FailurePolicy             string           `yaml:"failurePolicy"`
	ConnectionInfo            connectionInfo   `yaml:"connectionInfo"`
	MatchConditions           []matchCondition `yaml:"matchConditions,omitempty"`
}

type connectionInfo struct {
	Type           string `yaml:"type"`
	KubeConfigFile string `yaml:"kubeConfigFile,omitempty"`
}

type matchCondition struct {
	Expression string `yaml:"expression"`
}

// healthPaths are what the world may ask without saying who it is: probes, and
// nothing that tells anything about the cluster.
var healthPaths = []string{"/livez", "/readyz", "/healthz"}

// joinPath is where a node that joins a kubeadm cluster with a token reads,
// before it has any identity, whom it is about to trust. A kubeadm or kind
// cluster in which the world cannot read it takes no new nodes.
const joinPath = "/api/v1/namespaces/kube-public/configmaps/cluster-info"

func authentication(anonymous []string) authenticationConfiguration {
	conf := authenticationConfiguration{
		APIVersion: configAPIVersion, Kind: "AuthenticationConfiguration",
		Anonymous: &anonymousAuth{Enabled: true},
	}
	for _, p := range anonymous {
		conf.Anonymous.Conditions = append(conf.Anonymous.Conditions, anonymousPath{p})
	}
	return conf
}

// What never needs the house, in the CEL of match conditions (KR-13, WH-23).
//
// The conditions see the user that the request is finally made as. With
// impersonation that is the impersonated user, so a request as a system: user
// passes the house by; but whether the real user may impersonate is a request
// of its own, made before, with the real user's name, and that one comes here.
//
// A user in system:masters needs no condition: kube-apiserver puts an
// authorizer for that group in front of the whole chain.
const (
	// Nodes, service accounts, the control plane itself and the anonymous user.
	// No directory principal has such a name: the house refuses to produce one.
	notSystem = `!request.user.startsWith('system:')`
	// The house's own eye in the cluster must not depend on the house's answers.
	notMirror = `request.user != '` + MirrorUser + `'`
	// kubeadm's administrators, among them the API server when it talks to
	// kubelets: with them in, a house that is down would stop kubectl logs.
	notKubeadm = `!('kubeadm:cluster-admins' in request.groups)`
)

// authorization is the chain Node, Gatehouse, RBAC. Fail closed: a house that
// answers nothing, or nonsense, denies, and RBAC is not asked. Nothing is
// remembered: what was revoked is refused on the next request.
func authorization(kubeconfigFile string, conditions []string) authorizationConfiguration {
	conf := authorizationConfiguration{
		APIVersion: configAPIVersion, Kind: "AuthorizationConfiguration",
		Authorizers: []authorizer{{Type: "Node", Name: "node"}},
	}
	if kubeconfigFile != "" {
		hook := &authWebhook{
			// The switches are what turns the caches off: kube-apiserver reads a
			// lifetime of 0s as "the default", which is 5 minutes.
			CacheAuthorizedRequests:   new(false),
			CacheUnauthorizedRequests: new(false),
			Timeout:                   "3s",
			ReviewVersion:             "v1",
			ConditionVersion:          "v1",
			FailurePolicy:             "Deny",
			ConnectionInfo:            connectionInfo{Type: "KubeConfigFile", KubeConfigFile: kubeconfigFile},
		}
		for _, c := range conditions {
			hook.MatchConditions = append(hook.MatchConditions, matchCondition{c})
		}
		conf.Authorizers = append(conf.Authorizers, authorizer{Type: "Webhook", Name: "gatehouse", Webhook: hook})
	}
	conf.Authorizers = append(conf.Authorizers, authorizer{Type: "RBAC", Name: "rbac"})
	return conf
}
