package inject

import (
	"reflect"

	corev1 "k8s.io/api/core/v1"
)

// sameVolume reports whether has is want, or want with what API servers fill in
// between two calls of a webhook.
func sameVolume(has, want corev1.Volume) bool {
	if p := has.Projected; p != nil && p.DefaultMode != nil && *p.DefaultMode == corev1.ProjectedVolumeSourceDefaultMode {
		bare := *p
		bare.DefaultMode = nil
		has.Projected = &bare
	}
	return reflect.DeepEqual(has, want)
}
