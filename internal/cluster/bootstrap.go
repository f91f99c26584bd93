package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"os"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/principal"
)

// bootstrap writes the objects of the house into the cluster. It runs on every
// start: what somebody changed or deleted meanwhile is put right.
func (c *Cluster) bootstrap(ctx context.Context) error {
	api, err := c.asMaster()
	if err != nil {
		return err
	}
	defer api.close()
	return errors.Join(
		api.apply(ctx, rbacPath+"clusterroles/"+MirrorUser, mirrorRole()),
		api.apply(ctx, rbacPath+"clusterrolebindings/"+MirrorUser, bindMirror()),
		api.apply(ctx, rbacPath+"clusterrolebindings/"+LocalAdmins, bindLocalAdmins()),
		api.apply(ctx, rbacPath+"clusterroles/"+LocalMonitors, monitorRole()),
		api.apply(ctx, rbacPath+"clusterrolebindings/"+LocalMonitors, bindLocalMonitors()),
		bindAdminGroups(ctx, api, c.conf.AdminGroups),
		api.apply(ctx, rbacPath+"clusterroles/"+accountReader, accountRole()),
		api.apply(ctx, rbacPath+"clusterrolebindings/"+accountReader, bind(accountReader, accountReader, subject{rbacGroup, "User", MirrorUser})),
		api.apply(ctx, rbacPath+"clusterroles/"+workloadJudge, judgeRole()),
		api.apply(ctx, rbacPath+"clusterrolebindings/"+workloadJudge, bind(workloadJudge, workloadJudge, subject{rbacGroup, "User", MirrorUser})),
		registerMutation(ctx, api, c.conf.House, c.conf.WorkloadIdentity),
	)
}

// SetAdminGroups makes the members of these groups cluster-admin by Kubernetes
// RBAC, and the members of no other group. With none, the binding goes.
func (c *Cluster) SetAdminGroups(ctx context.Context, groups []principal.ID) error {
	api, err := c.asMaster()
	if err != nil {
		return err
	}
	defer api.close()
	return bindAdminGroups(ctx, api, groups)
}

func bindAdminGroups(ctx context.Context, api API, groups []principal.ID) error {
	path := rbacPath + "clusterrolebindings/" + adminBinding
	if len(groups) == 0 {
		return api.remove(ctx, path)
	}
	return api.apply(ctx, path, bindAdmins(groups))
}

// masterLife is how long the house's own certificate of system:masters is good.
const masterLife = 5 * time.Minute

// asMaster returns a way to the API server as a member of system:masters.
//
// Somebody has to make the first binding, and only system:masters may before
// there is one. The other ways are worse: writing the binding into etcd needs
// the storage format of each Kubernetes release and passes no validation; a
// bootstrap user allowed by our own webhook would be a hole in the engine that
// everybody asks, and would not exist on a cluster without the webhook; a token
// file is a secret on disk. So the house signs itself a certificate that nothing
// can revoke, and makes up for that: its key is made here, stays in memory, is
// never written and dies with the connection, and the certificate with it some
// minutes later. Package pki refuses to issue such a certificate to anybody,
// which is why this one is signed here.
func (c *Cluster) asMaster() (API, error) {
	pair, err := tls.LoadX509KeyPair(c.files.pki("ca.crt"), c.files.pki("ca.key"))
	if err != nil {
		return API{}, fmt.Errorf("authority of the cluster: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return API{}, err
	}
	serial := make([]byte, 16)
	rand.Read(serial) // never fails
	now := c.conf.Now()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		Subject:      pkix.Name{CommonName: "gatehouse:bootstrap", Organization: []string{"system:masters"}},
		NotBefore:    now.Add(-time.Minute), NotAfter: now.Add(masterLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, pair.Leaf, key.Public(), pair.PrivateKey)
	if err != nil {
		return API{}, err
	}
	ca, err := os.ReadFile(c.files.pki("ca.crt"))
	if err != nil {
		return API{}, err
	}
	return newAPI(c.Server(), ca, &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
}
