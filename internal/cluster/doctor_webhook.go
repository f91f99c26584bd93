package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// How long before its end a certificate is worth a word (TL-06), and how far
// two clocks may differ before tokens and certificates start to be refused.
const (
	soon    = 30 * 24 * time.Hour
	maxSkew = 30 * time.Second
)

// webhookChecks are about the connection to the house, seen from here with the
// cluster's own files: what the API server would meet.
var webhookChecks = []check{
	{
		id: "webhook-reachable", severity: Error,
		why: "what cannot be asked is refused: only system: users and members of system:masters get in",
		fix: "start Gatehouse, or correct the URL and the certificate authority in the webhook's kubeconfig",
		run: func(ctx context.Context, c *chart) (string, bool, error) {
			d, err := c.webhook()
			if err != nil {
				return "", false, err
			}
			res, err := d.knock(ctx)
			if err != nil {
				return fmt.Sprintf("%s: %v", d.server, err), false, nil
			}
			return fmt.Sprintf("%s takes the cluster's certificate", res.Request.URL.Host), true, nil
		},
	},
	{
		id: "webhook-cluster", severity: Error,
		why: "Gatehouse answers a cluster about itself only: the certificate and the URL must name the same one",
		fix: "attach the cluster again, and copy all files of one run",
		run: func(_ context.Context, c *chart) (string, bool, error) {
			d, err := c.webhook()
			if err != nil {
				return "", false, err
			}
			cert, err := firstCert(d.cert)
			if err != nil {
				return "the webhook's kubeconfig has no client certificate that can be read", false, nil
			}
			named := certCluster(cert)
			if named == "" {
				return "the client certificate names no cluster", false, nil
			}
			u, err := url.Parse(d.server)
			if err != nil || !strings.HasPrefix(u.Path, "/webhook/v1"+named+"/") {
				return fmt.Sprintf("the certificate is for %s, the URL is %s", named, d.server), false, nil
			}
			if !c.Scope.IsZero() && named != c.Scope.String() {
				return fmt.Sprintf("the certificate and the URL are for %s, but this is %s", named, c.Scope), false, nil
			}
			return "the certificate and the URL are for " + named, true, nil
		},
	},
	{
		id: "webhook-certificates", severity: Warning,
		why: "when the certificate or its authority ends, everybody is refused at once",
		fix: "attach the cluster again and replace the files house-*; the API server reads them within five minutes, without a restart",
		run: func(_ context.Context, c *chart) (string, bool, error) {
			d, err := c.webhook()
			if err != nil {
				return "", false, err
			}
			var ends time.Time
			for what, text := range map[string][]byte{"client certificate": d.cert, "authority": d.ca} {
				cert, err := firstCert(text)
				if err != nil {
					return fmt.Sprintf("the %s: %v", what, err), false, nil
				}
				if c.Now.Before(cert.NotBefore) {
					return fmt.Sprintf("the %s is valid only from %s on", what, cert.NotBefore.UTC().Format(time.RFC3339)), false, nil
				}
				if ends.IsZero() || cert.NotAfter.Before(ends) {
					ends = cert.NotAfter
				}
			}
			what := "the first one to end does so at " + ends.UTC().Format(time.RFC3339)
			return what, ends.Sub(c.Now) > soon, nil
		},
	},
	{
		id: "clock-skew", severity: Warning,
		why: "tokens and certificates are refused as not yet valid or expired, and just-in-time access ends at the wrong moment",
		fix: "let both machines follow the same time source",
		run: func(ctx context.Context, c *chart) (string, bool, error) {
			d, err := c.webhook()
			if err != nil {
				return "", false, err
			}
			res, err := d.knock(ctx)
			if err != nil {
				return "", false, notRead("Gatehouse does not answer")
			}
			there, err := http.ParseTime(res.Header.Get("Date"))
			if err != nil {
				return "", false, notRead("Gatehouse's answer has no date")
			}
			skew := c.Now.Sub(there).Round(time.Second)
			return fmt.Sprintf("this clock is %v ahead of Gatehouse's", skew), skew.Abs() <= maxSkew, nil
		},
	},
}

// webhook is the way to the house that the chain names.
func (c *chart) webhook() (dial, error) {
	_, hook, err := c.house()
	if err != nil {
		return dial{}, err
	}
	text, err := c.file(hook.kubeconfig)
	if err != nil {
		return dial{}, err
	}
	d, err := readDial(text, c.file)
	if err != nil {
		return dial{}, notRead("%s: %v", hook.kubeconfig, err)
	}
	return d, nil
}

// knock connects as the cluster and reads one answer, whatever it is. The answer
// is what proves the certificate: with TLS 1.3 a server refuses it only after
// the handshake. It asks with GET, which no review answers.
func (d dial) knock(ctx context.Context) (*http.Response, error) {
	if len(d.cert) == 0 {
		return nil, errors.New("the kubeconfig has no client certificate")
	}
	pair, err := tls.X509KeyPair(d.cert, d.key)
	if err != nil {
		return nil, err
	}
	api, err := newAPI(d.server, d.ca, &pair)
	if err != nil {
		return nil, err
	}
	defer api.close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.server, nil)
	if err != nil {
		return nil, err
	}
	res, err := api.Client.Do(req)
	if err != nil {
		return nil, err
	}
	return res, res.Body.Close()
}

// certCluster is the cluster that a client certificate names, or nothing.
func certCluster(cert *x509.Certificate) string {
	for _, u := range cert.URIs {
		if s, ok := strings.CutPrefix(u.String(), "gatehouse:cluster:"); ok {
			return s
		}
	}
	return ""
}

func firstCert(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("is no certificate in PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}
