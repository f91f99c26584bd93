package token

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// A ServiceAccount is what a token of a Kubernetes service account says of a pod
// that runs as it: the API server made it for that pod on that node alone. The uid
// of a node is that of the machine's record; another machine of the name has another.
type ServiceAccount struct {
	Namespace, Name string
	Pod, PodUID     string
	Node, NodeUID   string
	Expires         time.Time
}

// VerifyServiceAccount returns what a token of a service account says, if one of
// the keys of its cluster signed it, it is what want says, and it is bound to a pod
// and to a node, as Kubernetes writes it from 1.32 on. Every error wraps ErrInvalid.
func VerifyServiceAccount(raw string, keys ForeignKeys, want ForeignWant, now time.Time) (ServiceAccount, error) {
	f, err := VerifyForeign(raw, keys, []ForeignWant{want}, now)
	if err != nil {
		return ServiceAccount{}, err
	}
	jws, err := split(raw)
	if err != nil {
		return ServiceAccount{}, err
	}
	payload, err := decode(jws.payload)
	if err != nil {
		return ServiceAccount{}, err
	}
	var claims struct {
		Kubernetes boundTo        `json:"kubernetes.io"`
		Rest       jsontext.Value `json:",embed"`
	}
	if err := unmarshal(payload, &claims, func() jsontext.Value { return claims.Rest }, []string{"kubernetes.io"}); err != nil {
		return ServiceAccount{}, fmt.Errorf("payload: %w", err)
	}
	b := claims.Kubernetes
	s := ServiceAccount{
		Namespace: string(b.Namespace), Name: string(b.ServiceAccount.Name), Pod: string(b.Pod.Name), PodUID: string(b.Pod.UID),
		Node: string(b.Node.Name), NodeUID: string(b.Node.UID), Expires: f.Expires,
	}
	if f.Subject != "system:serviceaccount:"+s.Namespace+":"+s.Name {
		return ServiceAccount{}, fmt.Errorf("%w: the subject is not the service account that the token is bound to", ErrMalformed)
	}
	for _, part := range []string{s.Namespace, s.Name, s.Pod, s.PodUID, s.Node, s.NodeUID} {
		if !isForeign(part) {
			return ServiceAccount{}, fmt.Errorf("%w: the token is not bound to a pod and a node", ErrMalformed)
		}
	}
	return s, nil
}

// boundTo is the claim kubernetes.io.
type boundTo struct {
	Namespace      text           `json:"namespace"`
	ServiceAccount object         `json:"serviceaccount"`
	Pod            object         `json:"pod"`
	Node           object         `json:"node"`
	Rest           jsontext.Value `json:",embed"`
}

type object struct {
	Name text           `json:"name"`
	UID  text           `json:"uid"`
	Rest jsontext.Value `json:",embed"`
}
