package csi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"
)

// vaultResource is what tokens for vaults are for.
const vaultResource = "https://vault.azure.net"

const exchangeAudience = "api://AzureADTokenExchange"

// A way is how a mount gets the token of its identity. The zero way is none.
type way struct {
	how    how
	client string // id of the managed identity or application; empty: the machine's own

	assertion string // workload identity: the token of the pod's service account

	namespace, pod string // pod identity: whose token it is
}

// A how is one of the three ways of a SecretProviderClass.
type how int

const (
	noWay how = iota
	machineIdentity
	podIdentity
	workloadIdentity
)

// parseWay says which way a class asks for: exactly one.
func parseWay(p map[string]string, secrets string) (way, error) {
	vm, err := flag(p, "useVMManagedIdentity")
	if err != nil {
		return way{}, err
	}
	pod, err := flag(p, "usePodIdentity")
	if err != nil {
		return way{}, err
	}
	client := p["clientID"]
	switch {
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
	return way{}, errors.New("the class says no identity: it takes useVMManagedIdentity, usePodIdentity or clientID")
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

// token returns the access token of a mount for vaults. Its errors hold no secret.
func (p *Provider) token(ctx context.Context, c class) (string, error) {
	switch c.way.how {
	case machineIdentity:
		return p.machineToken(ctx, c.way)
	case podIdentity:
		return p.podToken(ctx, c.way)
	case workloadIdentity:
		return p.workloadToken(ctx, c.tenant, c.way)
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
	err = ask(p.local, req, "the identity of the machine", &answer, func() bool { return answer.AccessToken != "" })
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
	err = ask(p.pods, req, "the identity of pod "+w.namespace+"/"+w.pod, &answer, func() bool { return answer.Token.AccessToken != "" })
	return answer.Token.AccessToken, err
}

func (p *Provider) workloadToken(ctx context.Context, tenant string, w way) (string, error) {
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {w.client}, "scope": {vaultResource + "/.default"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {w.assertion},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.conf.Authority+"/"+tenant+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	err = ask(p.house, req, "the identity with client id "+w.client, &answer, func() bool { return answer.AccessToken != "" })
	return answer.AccessToken, err
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 1 << 20

// A refusal is what a service answered instead of what was asked for.
type refusal struct {
	status int
	of     string
	text   string
}

func (r *refusal) Error() string { return fmt.Sprintf("%s: %d %s", r.of, r.status, r.text) }

// ask reads a JSON answer into v. Of a refusal, the description is passed on, which
// is for people and has no secret; of anything else, nothing.
func ask(client *http.Client, req *http.Request, of string, v any, good func() bool) error {
	res, err := client.Do(req)
	if err != nil {
		var at *url.Error
		if errors.As(err, &at) {
			err = at.Err // without the query
		}
		return fmt.Errorf("%s: %w", of, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", of, err)
	case len(body) > maxAnswer:
		return fmt.Errorf("%s: the answer has more than %d bytes", of, maxAnswer)
	case res.StatusCode != http.StatusOK:
		return &refusal{res.StatusCode, of, described(body)}
	}
	if json.Unmarshal(body, v) != nil || !good() {
		return fmt.Errorf("%s: the answer is not understood", of)
	}
	return nil
}

// described is what a refusal says to people: of OAuth, of Azure, or a line of text.
func described(body []byte) string {
	var e struct {
		Description string `json:"error_description"`
	}
	if json.Unmarshal(body, &e) == nil && e.Description != "" {
		return short(e.Description)
	}
	var azure struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &azure) == nil && azure.Error.Message != "" {
		return short(azure.Error.Code + ": " + azure.Error.Message)
	}
	return short(string(body))
}

// short is the first line of a text, and no more than fits in an event.
func short(text string) string {
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	return strings.ToValidUTF8(text[:min(len(text), 600)], "")
}
