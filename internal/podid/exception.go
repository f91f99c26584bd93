package podid

import (
	"errors"
	"fmt"
	"iter"
)

// An AzurePodIdentityException leaves pods of its own namespace alone: the node
// agent passes on what they ask.
type AzurePodIdentityException struct {
	head
	Spec   ExceptionSpec `json:"spec"`
	Status skipped       `json:"status,omitzero"`
}

// ExceptionSpec is the spec of an AzurePodIdentityException.
type ExceptionSpec struct {
	PodLabels map[string]string `json:"podLabels"`

	Metadata skipped `json:"metadata,omitzero"`
}

const exceptionKind = "AzurePodIdentityException"

// ParseException reads an AzurePodIdentityException, in JSON. Errors wrap
// record.ErrInvalid.
func ParseException(data []byte) (AzurePodIdentityException, error) {
	return parse[AzurePodIdentityException](data, exceptionKind)
}

// Covers reports whether the exception speaks of a pod: one of its namespace
// that has all its labels with exactly their values. Upstream is content with
// one label in any letter case; who wrote two wanted both.
func (e AzurePodIdentityException) Covers(pod Pod) bool {
	if e.Metadata.Namespace == "" || e.Metadata.Namespace != pod.Namespace || len(e.Spec.PodLabels) == 0 {
		return false
	}
	for name, value := range e.Spec.PodLabels {
		if have, ok := pod.Labels[name]; !ok || have != value {
			return false
		}
	}
	return true
}

// Excepted reports whether one of the exceptions speaks of a pod.
func Excepted(exceptions iter.Seq[AzurePodIdentityException], pod Pod) bool {
	for e := range exceptions {
		if e.Covers(pod) {
			return true
		}
	}
	return false
}

// Validate says what is wrong with an exception.
func (e AzurePodIdentityException) Validate() error {
	return invalid(exceptionKind, e.Metadata, e.check(exceptionKind), e.Spec.check())
}

func (s ExceptionSpec) check() error {
	if len(s.PodLabels) == 0 {
		return errors.New("spec.podLabels is empty: an exception for nobody, or a slip for everybody")
	}
	for name, value := range s.PodLabels {
		if name == "" || value != "" && !isLabelValue(value) {
			return fmt.Errorf("spec.podLabels: %.80q: %.80q cannot be a pod's label", name, value)
		}
	}
	return nil
}
