package csi

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/pfx"
	"github.com/gatehouse-io/gatehouse/internal/reply"
)

// A found object is its content, and the version that it has.
type found struct {
	version string
	content []byte
}

// bundle is what a vault answers about an object of any kind.
type bundle struct {
	ID          string `json:"id"` // of a secret and a certificate
	Value       string `json:"value"`
	ContentType string `json:"contentType"`
	CER         []byte `json:"cer"`
	Key         struct {
		KID string `json:"kid"`
		KTY string `json:"kty"`
		CRV string `json:"crv"`
		N   string `json:"n"`
		E   string `json:"e"`
		X   string `json:"x"`
		Y   string `json:"y"`
	} `json:"key"`
}

var collections = map[kind]string{secret: "secrets", key: "keys", certificate: "certificates"}

// fetch reads an object of a vault.
func (p *Provider) fetch(ctx context.Context, token, vault string, o object) (found, error) {
	at := p.conf.Vaults + "/" + vault + "/" + collections[o.kind] + "/" + o.name
	if o.version != "" {
		at += "/" + o.version
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at+"?api-version=7.4", nil)
	if err != nil {
		return found{}, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	var b bundle
	of := fmt.Sprintf("%s %s of vault %s", o.kind, o.name, vault)
	if err := reply.Read(p.house, req, of, &b, func() bool { return b.ID != "" || b.Key.KID != "" }); err != nil {
		return found{}, err
	}
	f := found{version: versionIn(cmp.Or(b.Key.KID, b.ID))}
	if f.content, err = b.write(o); err != nil {
		return found{}, fmt.Errorf("%s: %w", of, err)
	}
	return f, nil
}

// write is an object in the form of its file.
func (b bundle) write(o object) ([]byte, error) {
	switch o.kind {
	case certificate:
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.CER}), nil
	case key:
		return b.publicKey()
	}
	kept := b.ContentType == "application/x-pkcs12"
	switch {
	case kept && o.format == "pem":
		return chain(b.Value)
	case !kept && o.format == "pfx":
		return nil, errors.New("objectFormat is pfx, and it is not kept as one")
	case o.encoding == "base64":
		raw, err := base64.StdEncoding.DecodeString(b.Value)
		if err != nil {
			return nil, errors.New("objectEncoding is base64, and the value is not")
		}
		return raw, nil
	case o.encoding == "hex":
		raw, err := hex.DecodeString(b.Value)
		if err != nil {
			return nil, errors.New("objectEncoding is hex, and the value is not")
		}
		return raw, nil
	}
	return []byte(b.Value), nil
}

// chain is the secret of a certificate that is kept as a PFX, as PEM: its private key
// and certificates.
func chain(value string) ([]byte, error) {
	der, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return nil, errors.New("the PFX is not written in base64")
	}
	c, err := pfx.Decode(der, "")
	if err != nil {
		return nil, errors.New("the PFX cannot be read")
	}
	raw, err := x509.MarshalPKCS8PrivateKey(c.Key)
	if err != nil {
		return nil, errors.New("the private key cannot be written")
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
	for _, cert := range c.Certificates {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	return out, nil
}

// publicKey is a key as PEM; the vault gives its public half.
func (b bundle) publicKey() ([]byte, error) {
	number := func(text string) (*big.Int, error) {
		raw, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || len(raw) == 0 {
			return nil, errors.New("a number of the key is not understood")
		}
		return new(big.Int).SetBytes(raw), nil
	}
	var public any
	switch strings.TrimSuffix(b.Key.KTY, "-HSM") {
	case "RSA":
		n, err1 := number(b.Key.N)
		e, err2 := number(b.Key.E)
		if err := errors.Join(err1, err2); err != nil || !e.IsInt64() {
			return nil, errors.New("the RSA key is not understood")
		}
		public = &rsa.PublicKey{N: n, E: int(e.Int64())}
	case "EC":
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[b.Key.CRV]
		x, err1 := number(b.Key.X)
		y, err2 := number(b.Key.Y)
		if err := errors.Join(err1, err2); err != nil || curve == nil {
			return nil, errors.New("the EC key is not understood")
		}
		size := (curve.Params().BitSize + 7) / 8
		if len(x.Bytes()) > size || len(y.Bytes()) > size {
			return nil, errors.New("the EC key is not on its curve")
		}
		point := make([]byte, 1+2*size)
		point[0] = 4 // uncompressed (SEC 1, section 2.3.3)
		x.FillBytes(point[1 : 1+size])
		y.FillBytes(point[1+size:])
		p, err := ecdsa.ParseUncompressedPublicKey(curve, point)
		if err != nil {
			return nil, errors.New("the EC key is not on its curve")
		}
		public = p
	default:
		return nil, fmt.Errorf("a key of type %.20q is not mounted", b.Key.KTY)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, errors.New("the key cannot be written")
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}
