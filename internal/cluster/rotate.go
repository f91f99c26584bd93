package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/pki"
)

// reloadWithin bounds the wait for the API server to read a file again. It looks
// once a minute, and normally hears of a change at once.
const reloadWithin = 90 * time.Second

// RotateAuthority gives the cluster another authority, and another one to local
// administrators, while it runs (LA-05). Until the end both the old and the new
// one are trusted, so that no program of the control plane is refused; whoever
// else reads the cluster changes over in handover, when IssueMirror and CA are
// the new ones already. When it returns, nothing that the old authorities signed
// is taken any more.
//
// What was interrupted is finished by the next start.
func (c *Cluster) RotateAuthority(ctx context.Context, handover func() error) error {
	if err := c.rotateAuthority(ctx, handover); err != nil {
		return fmt.Errorf("rotate the certificates of cluster %s: %w", c.conf.Name, err)
	}
	return nil
}

func (c *Cluster) rotateAuthority(ctx context.Context, handover func() error) error {
	before, err := c.IssueMirror(time.Hour)
	if err != nil {
		return err
	}
	after, err := c.overlap()
	if err != nil {
		return err
	}
	if err := c.restartManager(); err != nil { // it trusts both from here on
		return err
	}
	if err := c.await(ctx, "take certificates of the new authority", func() bool { return c.answers(after) == http.StatusOK }); err != nil {
		return err
	}
	c.certsMu.Lock()
	err = c.certs.issueLeaves(c.conf, c.conf.Now())
	next := c.certs.next
	c.certsMu.Unlock()
	if err != nil {
		return err
	}
	if err := c.await(ctx, "show a certificate of the new authority", func() bool { return c.shows(next) }); err != nil {
		return err
	}
	if err := errors.Join(handover(), c.restartManager()); err != nil {
		return err
	}
	if err := c.dropOld(); err != nil {
		return err
	}
	return c.await(ctx, "refuse certificates of the old authority", func() bool { return c.answers(before) == http.StatusUnauthorized })
}

// overlap makes the new authority trusted beside the old one, and returns a
// certificate that it signed.
func (c *Cluster) overlap() (pki.Pair, error) {
	c.certsMu.Lock()
	defer c.certsMu.Unlock()
	next, err := c.files.newAuthority("ca-next", "gatehouse:"+c.conf.Name, c.conf.Now())
	if err != nil {
		return pki.Pair{}, err
	}
	c.certs.next = next
	if err := c.certs.trust(); err != nil {
		return pki.Pair{}, err
	}
	return next.Issue(pki.Leaf{CommonName: MirrorUser, Client: true, Life: time.Hour}, c.conf.Now())
}

// dropOld ends the overlap.
func (c *Cluster) dropOld() error {
	c.certsMu.Lock()
	defer c.certsMu.Unlock()
	if err := c.files.promote("ca"); err != nil {
		return err
	}
	c.certs.ca, c.certs.next = c.certs.next, nil
	if c.certs.admins != nil {
		admins, err := c.files.newAuthority("local-admins", localAdminsAuthority(c.conf.Name), c.conf.Now())
		if err != nil {
			return err
		}
		c.certs.admins = admins
	}
	return c.certs.trust()
}

// await waits until the API server does what it is to do.
func (c *Cluster) await(ctx context.Context, what string, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, reloadWithin)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-c.stopping:
			return errors.New("the cluster was stopped")
		case <-ctx.Done():
			return fmt.Errorf("kube-apiserver does not %s: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// answers returns the status that the API server answers who shows a certificate
// of the mirror; 0 when it does not answer.
func (c *Cluster) answers(pair pki.Pair) int {
	cert, err := pair.TLS()
	if err != nil {
		return 0
	}
	api, err := newAPI(c.Server(), c.CA(), &cert)
	if err != nil {
		return 0
	}
	defer api.close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err = api.do(ctx, http.MethodGet, rbacPath+"clusterroles/"+MirrorUser, "", nil)
	if e, ok := errors.AsType[*apiError](err); ok {
		return e.Code
	}
	if err != nil {
		return 0
	}
	return http.StatusOK
}

// shows reports whether the API server proves itself by a certificate of ca.
func (c *Cluster) shows(ca *pki.CA) bool {
	server, err := url.Parse(c.Server())
	if err != nil {
		return false
	}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", server.Host, &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"})
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
