package csi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/gatehouse-io/gatehouse/internal/reply"
)

// vaultResource is what tokens for vaults are for.
const vaultResource = "https://vault.azure.net"

const exchangeAudience = "api://AzureADTokenExchange"

// A way is how a mount gets the token of its identity. The zero way is none.
type way struct {
	how    how
	client string // id of the managed identity or application; empty: the machine's own

	assertion string // workload identity: the token of the pod's service account
	password  string // service principal: the secret of the application

	namespace, pod string // pod identity: whose token it is
}

// A how is one of the ways of a SecretProviderClass.
type how int

const (
	noWay how = iota
	machineIdentity
	podIdentity
	workloadIdentity
	servicePrincipal
)

// unsupported are ways of Azure's provider that this one does not go.
var unsupported = []string{"useAzureTokenProxy", "usePodServiceAccountAnnotation"}

// parseWay says which way a class asks for: exactly one.
func parseWay(p map[string]string, secrets string) (way, error) {
	for _, name := range unsupported {
		on, err := flag(p, name)
		if err != nil {
			return way{}, err
		}
		if on {
			return way{}, fmt.Errorf("%s is not supported: name the identity of the workload in clientID", name)
		}
	}
	vm, err := flag(p, "useVMManagedIdentity")
	if err != nil {
		return way{}, err
	}
	pod, err := flag(p, "usePodIdentity")
	if err != nil {
		return way{}, err
	}
	client := p["clientID"]
	own, err := credentialsIn(secrets)
	if err != nil {
		return way{}, err
	}
	switch {
	case own.how != noWay && (vm || pod || client != ""):
		return way{}, errors.New("nodePublishSecretRef has a clientid or clientsecret, and the class says another identity: a mount has one identity")
	case own.how != noWay:
		return own, nil
	case vm && pod:
		return way{}, errors.New("useVMManagedIdentity and usePodIdentity are both true: a mount has one identity")
	case vm && client != "":
		return way{}, errors.New("useVMManagedIdentity is true and clientID is there: userAssignedIdentityID names the identity of a machine, clientID that of a workload")
	case pod && client != "":
		return way{}, errors.New("usePodIdentity is true and clientID is there: the pod's binding says which identity it has")
	case vm:
		return way{how: machineIdentity, client: p["userAssignedIdentityID"]}, nil
	case pod:
		w := way{how: podIdentity, namespace: p["csi.storage.k8s.io/pod.namespace"], pod: p["csi.storage.k8s.io/pod.name"]}
		if w.namespace == "" || w.pod == "" {
			return way{}, errors.New("the driver does not say which pod the mount is for")
		}
		return w, nil
	case client != "":
		w := way{how: workloadIdentity, client: client}
		w.assertion = assertionIn(p["csi.storage.k8s.io/serviceAccount.tokens"])
		if w.assertion == "" {
			w.assertion = assertionInSecrets(secrets)
		}
		if w.assertion == "" {
			return way{}, fmt.Errorf("the driver sends no token of the pod's service account for %s: its CSIDriver object must have it in tokenRequests", exchangeAudience)
		}
		return w, nil
	}
	return way{}, errors.New("the class says no identity: it takes useVMManagedIdentity, usePodIdentity or clientID, or the pod a nodePublishSecretRef with clientid and clientsecret")
}

func flag(p map[string]string, name string) (bool, error) {
	switch strings.ToLower(p[name]) {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, fmt.Errorf("%s is %.20q: want true or false", name, p[name])
}

// assertionIn returns the token for the exchange from what kubelet gives CSI drivers.
func assertionIn(text string) string {
	var tokens map[string]struct {
		Token string `json:"token"`
	}
	if text == "" || json.Unmarshal([]byte(text), &tokens) != nil {
		return ""
	}
	return tokens[exchangeAudience].Token
}

// assertionInSecrets is where kubelet puts it for drivers that do not want it among
// the attributes.
func assertionInSecrets(text string) string {
	var secrets map[string]string
	if text == "" || json.Unmarshal([]byte(text), &secrets) != nil {
		return ""
	}
	return assertionIn(secrets["csi.storage.k8s.io/serviceAccount.tokens"])
}

// credentialsIn is the way of a service principal, whose client id and secret are in
// the secret that nodePublishSecretRef names, in any letter case, as Azure's provider
// finds them. Without either, it is none.
func credentialsIn(text string) (way, error) {
	var secrets map[string]string
	if text != "" && json.Unmarshal([]byte(text), &secrets) != nil {
		return way{}, errors.New("the secrets of the mount are not an object of texts")
	}
	w := way{}
	for name, value := range secrets {
		at := map[string]*string{"clientid": &w.client, "clientsecret": &w.password}[strings.ToLower(name)]
		switch {
		case at == nil:
		case value == "":
			return way{}, fmt.Errorf("%.20s in nodePublishSecretRef is empty", name)
		case *at != "":
			return way{}, fmt.Errorf("nodePublishSecretRef has %s twice, in different letters", strings.ToLower(name))
		default:
			*at, w.how = value, servicePrincipal
		}
	}
	if (w.client == "") != (w.password == "") {
		return way{}, errors.New("nodePublishSecretRef must have both clientid and clientsecret")
	}
	return w, nil
}

// token returns the access token of a mount for vaults. Its errors hold no secret.
func (p *Provider) token(ctx context.Context, c class) (string, error) {
	switch c.way.how {
	case machineIdentity:
		return p.machineToken(ctx, c.way)
	case podIdentity:
		return p.podToken(ctx, c.way)
	case workloadIdentity:
		return p.clientToken(ctx, c, url.Values{"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {c.way.assertion}})
	case servicePrincipal:
		return p.clientToken(ctx, c, url.Values{"client_secret": {c.way.password}})
	}
	return "", errors.New("the mount has no identity")
}

func (p *Provider) machineToken(ctx context.Context, w way) (string, error) {
	q := url.Values{"api-version": {"2018-02-01"}, "resource": {vaultResource}}
	if w.client != "" {
		q.Set("client_id", w.client)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.conf.Metadata+"/metadata/identity/oauth2/token?"+q.Encode(), nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Metadata", "true")
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	err = reply.Read(p.local, req, "the identity of the machine", &answer, func() bool { return answer.AccessToken != "" })
	return answer.AccessToken, err
}

func (p *Provider) podToken(ctx context.Context, w way) (string, error) {
	if p.pods == nil {
		return "", errors.New("usePodIdentity: this provider was not told where the node agent of pod identity is (--nmi-socket)")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://nmi/host/token?"+url.Values{"resource": {vaultResource}}.Encode(), nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("podns", w.namespace)
	req.Header.Set("podname", w.pod)
	var answer struct {
		Token struct {
			AccessToken string `json:"access_token"`
		} `json:"token"`
	}
	err = reply.Read(p.pods, req, "the identity of pod "+w.namespace+"/"+w.pod, &answer, func() bool { return answer.Token.AccessToken != "" })
	return answer.Token.AccessToken, err
}

// clientToken asks the token service, with what proves that it is the client who asks.
func (p *Provider) clientToken(ctx context.Context, c class, form url.Values) (string, error) {
	form.Set("grant_type", "client_credentials")
	form.Set("client_id", c.way.client)
	form.Set("scope", vaultResource+"/.default")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.conf.Authority+"/"+c.tenant+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	err = reply.Read(p.house, req, "the identity with client id "+c.way.client, &answer, func() bool { return answer.AccessToken != "" })
	return answer.AccessToken, err
}
