package trust

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"

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
	// Nothing is shared with other issuers, and nothing stays open.
	client := &http.Client{
		Transport: &http.Transport{
			DialContext: i.dial, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
			TLSClientConfig: &tls.Config{RootCAs: i.conf.Roots, MinVersion: tls.VersionTLS12},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	text, err := i.get(ctx, client, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", maxDocument)
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
	if text, err = i.get(ctx, client, doc.Keys, maxKeys); err != nil {
		return token.ForeignKeys{}, nil, fmt.Errorf("jwks_uri: %w", err)
	}
	return token.ParseJWKS(text)
}

// get returns a document of at most limit bytes.
func (i *Issuers) get(ctx context.Context, client *http.Client, raw string, limit int64) ([]byte, error) {
	if _, err := i.place(raw); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, raw, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
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
