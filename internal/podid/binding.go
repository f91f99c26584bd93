package podid

import "fmt"

// An AzureIdentityBinding gives the pods whose label aadpodidbinding equals its
// selector the identity of a name, in its own namespace.
type AzureIdentityBinding struct {
	head
	Spec   BindingSpec `json:"spec"`
	Status skipped     `json:"status,omitzero"`
}

// BindingSpec is the spec of an AzureIdentityBinding.
type BindingSpec struct {
	AzureIdentity string `json:"azureIdentity"`
	Selector      string `json:"selector"`
	// Weight is read and written, and decides nothing: upstream never used it.
	Weight int `json:"weight,omitzero"`

	Metadata skipped `json:"metadata,omitzero"`
}

const bindingKind = "AzureIdentityBinding"

// ParseBinding reads an AzureIdentityBinding, in JSON. Errors wrap
// record.ErrInvalid.
func ParseBinding(data []byte) (AzureIdentityBinding, error) {
	return parse[AzureIdentityBinding](data, bindingKind)
}

// Identity is which identity the binding speaks of.
func (b AzureIdentityBinding) Identity() Ref {
	return Ref{b.Metadata.Namespace, b.Spec.AzureIdentity}
}

// Validate says what is wrong with a binding.
func (b AzureIdentityBinding) Validate() error {
	return invalid(bindingKind, b.Metadata, b.check(bindingKind), b.Spec.check())
}

func (s BindingSpec) check() error {
	switch {
	case !isSubdomain(s.AzureIdentity):
		return fmt.Errorf("spec.azureIdentity %.300q is not the name of an AzureIdentity", s.AzureIdentity)
	case !isLabelValue(s.Selector):
		return fmt.Errorf("spec.selector %.300q cannot be the value of a pod's label", s.Selector)
	}
	return nil
}
