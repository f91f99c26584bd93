// Package selfcert keeps the serving certificate of a webhook that runs in the
// cluster whose API server calls it: its authority and key in a Secret, which the
// replicas share, and the authority in the webhook's configuration, which is how
// the API server trusts it.
//
// Nobody has to do anything, ever. A new authority is published before it is used,
// so no call fails while certificates change. What somebody deletes or damages is
// put right within seconds.
package selfcert

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	admissionclient "k8s.io/client-go/kubernetes/typed/admissionregistration/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/gatehouse-io/gatehouse/internal/pki"
)

// Config says what to keep where. All but Log and Now are required.
type Config struct {
	Secrets coreclient.SecretsGetter
	// Configurations may get and patch the one of the webhook.
	Configurations admissionclient.MutatingWebhookConfigurationsGetter

	Namespace     string // of the Secret and the Service
	Secret        string
	Service       string // by whose DNS name the API server calls
	Configuration string // the MutatingWebhookConfiguration

	Log *slog.Logger     // nil discards
	Now func() time.Time // nil means time.Now
}

// A Keeper keeps a certificate. It is safe for concurrent use.
type Keeper struct {
	conf Config
	cert atomic.Pointer[tls.Certificate]
}

// New returns a Keeper that has no certificate yet.
func New(conf Config) (*Keeper, error) {
	if conf.Secrets == nil || conf.Configurations == nil || conf.Namespace == "" || conf.Secret == "" || conf.Service == "" || conf.Configuration == "" {
		return nil, errors.New("selfcert: clients, namespace and three names are required")
	}
	if conf.Log == nil {
		conf.Log = slog.New(slog.DiscardHandler)
	}
	if conf.Now == nil {
		conf.Now = time.Now
	}
	return &Keeper{conf: conf}, nil
}

// every is how often the certificate is looked after, and retry how soon again
// when that failed.
const (
	every = 15 * time.Second
	retry = 2 * time.Second
)

// Run looks after the certificate until the context ends.
func (k *Keeper) Run(ctx context.Context) {
	for {
		wait := every
		if err := k.Keep(ctx); err != nil && ctx.Err() == nil {
			k.conf.Log.Warn("the certificate of the webhook could not be looked after", "error", err)
			wait = retry
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// Certificate is for tls.Config.
func (k *Keeper) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := k.cert.Load(); c != nil {
		return c, nil
	}
	return nil, errors.New("there is no certificate yet")
}

// Ready reports whether there is a certificate that the API server trusts.
func (k *Keeper) Ready(context.Context) error {
	_, err := k.Certificate(nil)
	return err
}

// Names are the DNS names of the webhook. The first is what API servers ask for.
func (k *Keeper) Names() []string {
	host := k.conf.Service + "." + k.conf.Namespace + ".svc"
	return []string{host, host + ".cluster.local"}
}

// Keep does once what has to be done now. The order matters: what API servers do
// not trust yet is not served.
func (k *Keeper) Keep(ctx context.Context) error {
	m, err := k.material(ctx)
	if err != nil {
		return fmt.Errorf("secret %s/%s: %w", k.conf.Namespace, k.conf.Secret, err)
	}
	if err := k.publish(ctx, m.Authorities); err != nil {
		return fmt.Errorf("webhook configuration %s: %w", k.conf.Configuration, err)
	}
	cert, err := m.Serving.TLS()
	if err != nil {
		return err
	}
	k.cert.Store(&cert)
	return nil
}

// attempts bounds how often a replica that lost a race tries again at once.
const attempts = 5

// material reads the Secret, and brings it up to date.
func (k *Keeper) material(ctx context.Context) (Material, error) {
	secrets := k.conf.Secrets.Secrets(k.conf.Namespace)
	var err error
	for range attempts {
		var secret *corev1.Secret
		secret, err = secrets.Get(ctx, k.conf.Secret, metav1.GetOptions{})
		missing := apierrors.IsNotFound(err)
		if missing {
			secret = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: k.conf.Secret}}
		} else if err != nil {
			return Material{}, err
		}
		was := fromSecret(secret.Data)
		m, err2 := was.Next(k.Names(), k.conf.Now())
		if err2 != nil {
			return Material{}, err2
		}
		if m.Equal(was) {
			return m, nil
		}
		m.intoSecret(secret)
		if missing {
			_, err = secrets.Create(ctx, secret, metav1.CreateOptions{})
		} else {
			// With the version that was read: of two replicas, one is refused.
			_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{})
		}
		if err == nil {
			k.conf.Log.Info("the certificate of the webhook was renewed", "secret", k.conf.Namespace+"/"+k.conf.Secret)
			return m, nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
			return Material{}, err
		}
	}
	return Material{}, err
}

// Keys of the Secret.
const (
	keyAuthorities  = "ca.crt"
	keyAuthorityKey = "ca.key"
	keyCertificate  = corev1.TLSCertKey
	keyKey          = corev1.TLSPrivateKeyKey
)

func fromSecret(data map[string][]byte) Material {
	return Material{Authorities: data[keyAuthorities], AuthorityKey: data[keyAuthorityKey],
		Serving: pki.Pair{CertPEM: data[keyCertificate], KeyPEM: data[keyKey]}}
}

func (m Material) intoSecret(s *corev1.Secret) {
	if s.Data == nil {
		s.Data = make(map[string][]byte)
	}
	s.Data[keyAuthorities], s.Data[keyAuthorityKey] = m.Authorities, m.AuthorityKey
	s.Data[keyCertificate], s.Data[keyKey] = m.Serving.CertPEM, m.Serving.KeyPEM
}

// publish makes the configuration trust the authorities, and leaves everything
// else in it alone.
func (k *Keeper) publish(ctx context.Context, authorities []byte) error {
	configurations := k.conf.Configurations.MutatingWebhookConfigurations()
	conf, err := configurations.Get(ctx, k.conf.Configuration, metav1.GetOptions{})
	if err != nil {
		return err
	}
	ops, ours := k.trust(conf.Webhooks, authorities)
	if !ours {
		return fmt.Errorf("none of its webhooks calls the service %s/%s", k.conf.Namespace, k.conf.Service)
	}
	if len(ops) == 0 {
		return nil
	}
	patch, err := json.Marshal(ops)
	if err != nil {
		return err
	}
	_, err = configurations.Patch(ctx, k.conf.Configuration, types.JSONPatchType, patch, metav1.PatchOptions{})
	return err
}

// An op is an operation of a JSON Patch (RFC 6902).
type op struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// trust returns the patch that gives each webhook of our service the authorities,
// and whether there is one.
func (k *Keeper) trust(hooks []admissionv1.MutatingWebhook, authorities []byte) (ops []op, ours bool) {
	for i, h := range hooks {
		if s := h.ClientConfig.Service; s == nil || s.Namespace != k.conf.Namespace || s.Name != k.conf.Service {
			continue
		}
		ours = true
		if bytes.Equal(h.ClientConfig.CABundle, authorities) {
			continue
		}
		at := fmt.Sprintf("/webhooks/%d", i)
		// The test makes sure that it is still the same webhook.
		ops = append(ops, op{"test", at + "/name", h.Name}, op{"add", at + "/clientConfig/caBundle", authorities})
	}
	return ops, ours
}
