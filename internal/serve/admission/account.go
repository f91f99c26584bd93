package admission

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
)

// Read reads a service account from its API server, which answers with what was
// written last. There is no cache: one would serve annotations of a moment ago,
// and cost memory and the right to list every account.
func Read(ctx context.Context, core coreclient.ServiceAccountsGetter, namespace, name string) (*corev1.ServiceAccount, error) {
	sa, err := core.ServiceAccounts(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return sa, err
}
