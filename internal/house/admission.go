package house

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/inject"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/admission"
)

// An eye is how the house looks into a cluster, as cluster.MirrorUser. Its
// certificate renews itself while connections are made.
type eye struct {
	cp  *cluster.Cluster
	now func() time.Time

	mu      sync.Mutex
	cert    *tls.Certificate
	renewAt time.Time
}

func (e *eye) certificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	if e.cert != nil && now.Before(e.renewAt) {
		return e.cert, nil
	}
	pair, err := e.cp.IssueMirror(leafLife)
	if err != nil {
		return nil, err
	}
	cert, err := pair.TLS()
	if err != nil {
		return nil, err
	}
	e.cert, e.renewAt = &cert, now.Add(2*leafLife/3)
	return e.cert, nil
}

// config is for clients of the cluster, which trust it alone.
func (e *eye) config(agent string) *rest.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(e.cp.CA())
	return &rest.Config{Host: e.cp.Server(), UserAgent: agent, QPS: -1, // the API server says itself when it is too much
		Transport: &http.Transport{ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, GetClientCertificate: e.certificate}}}
}

// Account reads a service account of a running cluster, as it is now.
func (c *clusters) Account(ctx context.Context, at scope.Scope, namespace, name string) (*corev1.ServiceAccount, error) {
	rec, _ := c.store.Current().Cluster(at)
	r, ok := c.running(rec)
	if !ok {
		return nil, fmt.Errorf("its control plane is %s", c.State(at))
	}
	return admission.Read(ctx, *r.core.Load(), namespace, name)
}

// Identity is how pods of a cluster get their workload identity: none when the
// cluster has it switched off.
func (c *clusters) Identity(at scope.Scope) (*inject.Config, error) {
	rec, ok := c.store.Current().Cluster(at)
	if !ok {
		return nil, fmt.Errorf("there is no cluster %s", at)
	}
	if !rec.WorkloadIdentity {
		return nil, nil
	}
	return &inject.Config{
		Tenant: rec.Tenant.String(), AuthorityHost: strings.TrimSuffix(c.authority, "/") + "/",
		Binding:       &inject.Binding{TokenProxy: c.proxyOf(rec), CAData: string(c.serverCA.CertPEM())},
		NativeSidecar: true, // the house runs no API server before 1.32
	}, nil
}
