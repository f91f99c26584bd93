package trust

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// Bounds of what an issuer answers, in bytes.
const (
	maxDocument = 64 << 10
	maxKeys     = 256 << 10
	maxHeader   = 16 << 10
)

// metadata is what is read of an issuer's document (OpenID Connect Discovery,
// section 3).
type metadata struct {
	Issuer string `json:"issuer"`
	Keys   string `json:"jwks_uri"`
}

// fetch asks an issuer for its keys, which its document points to. The document
// must be the issuer's, byte for byte (section 4.3).
func (i *Issuers) fetch(ctx context.Context, issuer string) (token.ForeignKeys, []error, error) {
	at, err := i.parse(issuer)
	if err != nil {
		return token.ForeignKeys{}, nil, err
	}
	text, err := i.get(ctx, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", at.private, maxDocument)
	if err != nil {
		return token.ForeignKeys{}, nil, err
	}
	var doc metadata
	if err := json.Unmarshal(text, &doc); err != nil {
		return token.ForeignKeys{}, nil, fmt.Errorf("discovery document: %w", err)
	}
	if doc.Issuer != issuer {
		return token.ForeignKeys{}, nil, fmt.Errorf("discovery document: it is of %.200q", doc.Issuer)
	}
	if text, err = i.get(ctx, doc.Keys, at.private, maxKeys); err != nil {
		return token.ForeignKeys{}, nil, fmt.Errorf("jwks_uri: %w", err)
	}
	return token.ParseJWKS(text)
}

// get returns a document of at most limit bytes. The own network is open to issuers
// that are there themselves: others would choose what is asked in it (FED-05).
func (i *Issuers) get(ctx context.Context, raw string, private bool, limit int64) ([]byte, error) {
	p, err := i.place(raw)
	if err != nil {
		return nil, err
	}
	if p.private && !private {
		return nil, record.Invalid("%.200q is in the own network, and its issuer is not", raw)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, raw, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	// Nothing is shared with other issuers, and nothing stays open.
	client := &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, hostPort string) (net.Conn, error) {
				return i.dial(ctx, p, network, hostPort)
			},
			DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
			TLSClientConfig: &tls.Config{RootCAs: i.conf.Roots, MinVersion: tls.VersionTLS12},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", req.URL.Host, res.Status)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > limit {
		return nil, errors.New("the answer is too large")
	}
	return text, nil
}
