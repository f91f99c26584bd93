// Package podid is the thinking half of AAD Pod Identity v1: its four kinds of
// object, which identities a pod gets by them, and the steps from what is
// assigned to what ought to be.
//
// A pod asks for an identity with a label. A binding says which identity the
// pods with a value of that label get; an exception says which pods are left
// alone. What comes out is written down as AzureAssignedIdentity objects, one
// for a pod and an identity, and a node agent gives out tokens by them: only to
// the pod whose UID is written there. Names come again, UIDs do not.
//
// The kinds are those of the group aadpodidentity.k8s.io/v1 of the archived
// aad-pod-identity, in the JSON of its custom resource definitions.
package podid

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-io/gatehouse/internal/record"
)

// APIVersion is the group and version of the four kinds.
const (
	Group      = "aadpodidentity.k8s.io"
	Version    = "v1"
	APIVersion = Group + "/" + Version
)

// The plural names of the kinds, as they are written in paths and in roles.
const (
	Identities         = "azureidentities"
	Bindings           = "azureidentitybindings"
	AssignedIdentities = "azureassignedidentities"
	Exceptions         = "azurepodidentityexceptions"
)

// BindingLabel on a pod, with the selector of a binding as its value, asks for
// the identities of all bindings with that selector.
const BindingLabel = "aadpodidbinding"

// A Ref names an object of some kind. It can be a map key.
type Ref struct{ Namespace, Name string }

func (r Ref) String() string { return r.Namespace + "/" + r.Name }

// Metadata is what pod identity reads of an object's metadata.
type Metadata struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitzero"`
	// UID is given by the API server; it is "" in an object that was not read
	// from one.
	UID             string            `json:"uid,omitzero"`
	ResourceVersion string            `json:"resourceVersion,omitzero"`
	Labels          map[string]string `json:"labels,omitzero"`
	Annotations     map[string]string `json:"annotations,omitzero"`
}

// UnmarshalJSONFrom skips the members that nobody here has a use for, such as
// managedFields. Duplicate names are refused there as well.
func (m *Metadata) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	type plain Metadata
	if err := json.UnmarshalDecode(dec, (*plain)(m), json.RejectUnknownMembers(false)); err != nil {
		return err
	}
	if len(m.Labels) == 0 {
		m.Labels = nil
	}
	if len(m.Annotations) == 0 {
		m.Annotations = nil
	}
	return nil
}

// Ref is how the object is named by others.
func (m Metadata) Ref() Ref { return Ref{m.Namespace, m.Name} }

func (m Metadata) check() error {
	switch {
	case !isSubdomain(m.Name):
		return fmt.Errorf("metadata.name %.300q is not a name", m.Name)
	case !isLabel(m.Namespace):
		return fmt.Errorf("metadata.namespace %.300q is not the name of a namespace", m.Namespace)
	}
	return nil
}

// skipped is a member that the kinds have and nothing uses. It is read past, and
// never written.
type skipped struct{}

func (*skipped) UnmarshalJSONFrom(dec *jsontext.Decoder) error { return dec.SkipValue() }

// head is what every object begins with.
type head struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   Metadata `json:"metadata"`
}

func (h head) check(kind string) error {
	if h.APIVersion != APIVersion || h.Kind != kind {
		return fmt.Errorf("this is a %.80q of %.80q, not a %s of %s", h.Kind, h.APIVersion, kind, APIVersion)
	}
	return h.Metadata.check()
}

// parse reads one object strictly: what is not a member of its spec is refused,
// so that a misspelled one is not taken for an absent one.
func parse[T interface{ Validate() error }](data []byte, kind string) (T, error) {
	var obj, none T
	if err := record.Unmarshal(data, &obj); err != nil {
		return none, fmt.Errorf("%s: %w", kind, err)
	}
	if err := obj.Validate(); err != nil {
		return none, err
	}
	return obj, nil
}

// invalid says what is wrong with an object.
func invalid(kind string, m Metadata, errs ...error) error {
	if err := errors.Join(errs...); err != nil {
		return record.Invalid("%s %.300q: %w", kind, m.Ref().String(), err)
	}
	return nil
}

// isLabel reports whether s is a DNS label (RFC 1123), as namespaces are.
func isLabel(s string) bool { return len(s) <= 63 && !strings.Contains(s, ".") && isSubdomain(s) }

// isSubdomain reports whether s is a DNS subdomain (RFC 1123), as most names are.
func isSubdomain(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || part[0] == '-' || part[len(part)-1] == '-' {
			return false
		}
		for i := range len(part) {
			c := part[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}

// isLabelValue reports whether s can be the value of a label, and says something.
func isLabelValue(s string) bool {
	alnum := func(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' }
	if s == "" || len(s) > 63 || !alnum(s[0]) || !alnum(s[len(s)-1]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !alnum(c) && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}
