package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// writeConfig writes the files that the programs are started with.
func (c *Cluster) writeConfig() error {
	house, f := c.conf.House, c.files
	files := f.webhookFiles()
	err := f.writeHouse(house)
	put := func(path string, data []byte) {
		if err == nil {
			err = write(path, data)
		}
	}
	asks := ""
	if house.SubjectAccessReview != "" {
		asks = f.config("subjectaccessreview.kubeconfig")
		put(asks, webhookKubeconfig(house.SubjectAccessReview, files))
	}
	if house.TokenReview != "" {
		put(f.config("tokenreview.kubeconfig"), webhookKubeconfig(house.TokenReview, files))
	}
	if house.PodMutation != "" {
		put(f.config("admission.kubeconfig"), admissionKubeconfig(house.PodMutation, files))
		put(f.config("admission.yaml"), marshal(admission(f.config("admission.kubeconfig"))))
	}
	put(f.config("authentication.yaml"), marshal(authentication(healthPaths)))
	put(f.config("authorization.yaml"), marshal(authorization(asks, []string{notSystem, notMirror})))
	put(f.config("controller-manager.kubeconfig"), marshal(kubeconfig{
		APIVersion: "v1", Kind: "Config",
		Clusters: []namedCluster{{Name: c.conf.Name, Cluster: kubeCluster{Server: c.Server(), CAFile: f.pki("ca-bundle.crt")}}},
		Users: []namedUser{{Name: "controller-manager", User: kubeUser{
			CertFile: f.pki("controller-manager.crt"), KeyFile: f.pki("controller-manager.key")}}},
		Contexts:       []namedContext{{Name: "default", Context: kubeContext{Cluster: c.conf.Name, User: "controller-manager"}}},
		CurrentContext: "default",
	}))
	return err
}

func (l layout) webhookFiles() webhookFiles {
	return webhookFiles{ca: l.config("house-ca.crt"), cert: l.config("house-client.crt"), key: l.config("house-client.key")}
}

// writeHouse writes what the API server trusts the house by, and proves itself with.
func (l layout) writeHouse(house House) error {
	if !house.serves() {
		return nil
	}
	files := l.webhookFiles()
	return errors.Join(write(files.ca, house.CA), write(files.cert, house.ClientCert), write(files.key, house.ClientKey))
}

func (c *Cluster) apiServerArgs() []string {
	f, etcd := c.files, c.conf.Etcd
	prefix := etcd.Prefix
	if prefix == "" {
		prefix = DefaultPrefix(c.conf.Scope)
	}
	args := []string{
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(c.memory.Port),
		// A loopback address is no endpoint that pods could use, and writing it
		// fails once every ten seconds. There are no pods here.
		"--endpoint-reconciler-type=none",

		"--etcd-servers=" + strings.Join(etcd.Endpoints, ","),
		"--etcd-prefix=" + prefix,
		// The house compacts its etcd; two compactors would fight over the history
		// that the house's own watchers need.
		"--etcd-compaction-interval=0",

		"--client-ca-file=" + f.pki("clients-ca.crt"),
		"--tls-cert-file=" + f.pki("apiserver.crt"),
		"--tls-private-key-file=" + f.pki("apiserver.key"),
		"--tls-min-version=VersionTLS12",

		"--service-account-key-file=" + f.pki("sa-verify.pub"),
		"--service-account-signing-key-file=" + f.pki("sa.key"),
		// A key is retired for a day: no token may outlive that.
		"--service-account-max-token-expiration=24h",
		"--service-account-extend-token-expiration=false",
		"--service-cluster-ip-range=" + serviceRange,
		"--api-audiences=" + strings.Join(append(c.issuers(), c.conf.Audiences...), ","),

		"--authentication-config=" + f.config("authentication.yaml"),
		"--authorization-config=" + f.config("authorization.yaml"),
		"--enable-admission-plugins=NodeRestriction",
		"--profiling=false",
		// As on AKS: who may run privileged pods is a matter of pod security.
		"--allow-privileged=true",
	}
	if etcd.CertFile != "" {
		args = append(args, "--etcd-cafile="+etcd.CAFile, "--etcd-certfile="+etcd.CertFile, "--etcd-keyfile="+etcd.KeyFile)
	}
	if c.conf.House.PodMutation != "" {
		args = append(args, "--admission-control-config-file="+f.config("admission.yaml"))
	}
	for _, iss := range c.issuers() {
		args = append(args, "--service-account-issuer="+iss)
	}
	if iss := c.conf.ServiceAccountIssuer; iss != "" {
		args = append(args, "--service-account-jwks-uri="+iss+"openid/v1/jwks")
	}
	if c.conf.House.TokenReview != "" {
		args = append(args, tokenReviewArgs(f.config("tokenreview.kubeconfig"))...)
	}
	return args
}

// issuers are the values of iss that the API server accepts; it writes the first.
func (c *Cluster) issuers() []string {
	if first := c.ServiceAccountIssuer(); first != c.Server() {
		return []string{first, c.Server()}
	}
	return []string{c.Server()}
}

// tokenReviewArgs are the flags of sign-in; there is no structured form of them.
// The lifetime of 0s is real here and switches this cache off. kube-apiserver
// keeps a second one in front of it, of 10 s, that no flag reaches: what was
// revoked meanwhile is refused by authorization.
func tokenReviewArgs(kubeconfig string) []string {
	return []string{
		"--authentication-token-webhook-config-file=" + kubeconfig,
		"--authentication-token-webhook-version=v1",
		"--authentication-token-webhook-cache-ttl=0s",
	}
}

func (c *Cluster) managerArgs() []string {
	f := c.files
	return []string{
		"--kubeconfig=" + f.config("controller-manager.kubeconfig"),
		"--secure-port=0", // serves nothing: one open port less
		"--leader-elect=false",
		"--use-service-account-credentials=true",
		"--root-ca-file=" + f.pki("ca-bundle.crt"),
		"--service-account-private-key-file=" + f.pki("sa.key"),
		"--profiling=false",
	}
}

// waitReady returns when the API server says that it is ready, and at once when
// it ends.
func (c *Cluster) waitReady(ctx context.Context) error {
	api, err := newAPI(c.Server(), c.CA(), nil)
	if err != nil {
		return err
	}
	defer api.close()
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := api.do(ctx, http.MethodGet, "/readyz", "", nil)
		if err == nil {
			return nil
		}
		select {
		case <-c.apiServer.done:
			return c.apiServer.failure()
		case <-ctx.Done():
			return fmt.Errorf("kube-apiserver is not ready: %w; the last lines of its log:\n%s",
				errors.Join(ctx.Err(), err), tail(c.apiServer.logFile, 12))
		case <-tick.C:
		}
	}
}
