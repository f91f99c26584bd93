package cluster

import (
	"encoding/base64"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"
)

// The kubeconfig file, as far as the house writes and reads it.
type kubeconfig struct {
	APIVersion     string         `yaml:"apiVersion"`
	Kind           string         `yaml:"kind"`
	Clusters       []namedCluster `yaml:"clusters"`
	Contexts       []namedContext `yaml:"contexts"`
	CurrentContext string         `yaml:"current-context"`
	Users          []namedUser    `yaml:"users"`
}

type namedCluster struct {
	Name    string      `yaml:"name"`
	Cluster kubeCluster `yaml:"cluster"`
}

type kubeCluster struct {
	Server             string     `yaml:"server"`
	CAFile             string     `yaml:"certificate-authority,omitempty"`
	CAData             base64Text `yaml:"certificate-authority-data,omitempty"`
	InsecureSkipVerify bool       `yaml:"insecure-skip-tls-verify,omitempty"`
	ServerName         string     `yaml:"tls-server-name,omitempty"`
}

type namedContext struct {
	Name    string      `yaml:"name"`
	Context kubeContext `yaml:"context"`
}

type kubeContext struct {
	Cluster string `yaml:"cluster"`
	User    string `yaml:"user"`
}

type namedUser struct {
	Name string   `yaml:"name"`
	User kubeUser `yaml:"user"`
}

type kubeUser struct {
	CertFile     string        `yaml:"client-certificate,omitempty"`
	KeyFile      string        `yaml:"client-key,omitempty"`
	CertData     base64Text    `yaml:"client-certificate-data,omitempty"`
	KeyData      base64Text    `yaml:"client-key-data,omitempty"`
	Token        string        `yaml:"token,omitempty"`
	Exec         *execPlugin   `yaml:"exec,omitempty"`
	AuthProvider *authProvider `yaml:"auth-provider,omitempty"`
}

// authProvider is how kubectl signed in before it had plugins.
type authProvider struct {
	Name   string            `yaml:"name"`
	Config map[string]string `yaml:"config"`
}

type execPlugin struct {
	APIVersion         string    `yaml:"apiVersion"`
	Command            string    `yaml:"command"`
	Args               []string  `yaml:"args"`
	Env                []execEnv `yaml:"env"`
	InstallHint        string    `yaml:"installHint,omitempty"`
	InteractiveMode    string    `yaml:"interactiveMode,omitempty"`
	ProvideClusterInfo bool      `yaml:"provideClusterInfo"`
}

type execEnv struct {
	Name  string `yaml:"name"`
	Value string `yaml:"value"`
}

// base64Text is bytes that the file writes in base64.
type base64Text []byte

// MarshalYAML implements yaml.Marshaler.
func (b base64Text) MarshalYAML() (any, error) { return base64.StdEncoding.EncodeToString(b), nil }

// IsZero leaves an empty field out of the file.
func (b base64Text) IsZero() bool { return len(b) == 0 }

// UnmarshalYAML implements yaml.Unmarshaler.
func (b *base64Text) UnmarshalYAML(n *yaml.Node) error {
	var text string
	if err := n.Decode(&text); err != nil {
		return err
	}
	data, err := base64.StdEncoding.DecodeString(text)
	*b = data
	return err
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
