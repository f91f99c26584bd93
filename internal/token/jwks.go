package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-io/gatehouse/internal/directory"
)

// jwk is one published key (RFC 7517), with the members and order of Entra.
type jwk struct {
	KeyType string   `json:"kty"`
	Use     string   `json:"use"`
	ID      string   `json:"kid"`
	X5T     string   `json:"x5t"`
	N       string   `json:"n,omitzero"`
	E       string   `json:"e,omitzero"`
	Curve   string   `json:"crv,omitzero"`
	X       string   `json:"x,omitzero"`
	Y       string   `json:"y,omitzero"`
	X5C     [][]byte `json:"x5c,omitzero"` // standard base64 (RFC 7517, section 4.7)
	Issuer  string   `json:"issuer,omitzero"`
}

// JWKS writes the document of a tenant's keys that will verify tokens now or
// later. Keys of purposes that are not published are left out.
func (s KeySet) JWKS(tenant directory.TenantID, issuer string, now time.Time) ([]byte, error) {
	return s.publish(tenant, issuer, now, AccessToken, IDToken)
}

// RegistryJWKS writes those for tokens of the tenant's container registries.
func (s KeySet) RegistryJWKS(tenant directory.TenantID, now time.Time) ([]byte, error) {
	return s.publish(tenant, "", now, RegistryToken)
}

func (s KeySet) publish(tenant directory.TenantID, issuer string, now time.Time, purposes ...Purpose) ([]byte, error) {
	doc := struct {
		Keys []jwk `json:"keys"`
	}{Keys: []jwk{}}
	for k := range s.All() {
		if k.Tenant != tenant || !now.Before(k.NotAfter) || !slices.Contains(purposes, k.Purpose) {
			continue
		}
		j := jwk{Use: "sig", ID: k.ID, X5T: k.ID, Issuer: issuer}
		if len(k.Certificate) > 0 {
			j.X5C = [][]byte{k.Certificate}
		}
		switch pub := k.Public.(type) {
		case *rsa.PublicKey:
			j.KeyType = "RSA"
			j.N = canonical.EncodeToString(pub.N.Bytes())
			j.E = canonical.EncodeToString(big.NewInt(int64(pub.E)).Bytes())
		case *ecdsa.PublicKey:
			point, err := pub.Bytes() // 4, X, Y
			if err != nil {
				return nil, fmt.Errorf("publish key %s: %w", k.ID, err)
			}
			j.KeyType, j.Curve = "EC", "P-256"
			j.X, j.Y = canonical.EncodeToString(point[1:33]), canonical.EncodeToString(point[33:])
		}
		doc.Keys = append(doc.Keys, j)
	}
	return json.Marshal(doc)
}

// Bounds on the documents of other issuers.
const (
	maxJWKS     = 256 << 10
	maxJWKSKeys = 100
)

// ParseJWKS reads the key document of another issuer. Keys that are not used
// here (symmetric, private, weak, for encryption, of other algorithms) are
// skipped, and skipped says why for each, for the log. The error wraps ErrInvalid
// and means that the document is not one.
func ParseJWKS(data []byte) (keys ForeignKeys, skipped []error, err error) {
	if len(data) > maxJWKS {
		return ForeignKeys{}, nil, fmt.Errorf("%w: key document of %d bytes", ErrMalformed, len(data))
	}
	var doc struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return ForeignKeys{}, nil, fmt.Errorf("%w: key document: %w", ErrMalformed, err)
	}
	if doc.Keys == nil || len(doc.Keys) > maxJWKSKeys {
		return ForeignKeys{}, nil, fmt.Errorf("%w: key document with %d keys", ErrMalformed, len(doc.Keys))
	}
	for i, raw := range doc.Keys {
		k, err := parseJWK(raw)
		if err != nil {
			skipped = append(skipped, fmt.Errorf("key %d: %w", i, err))
			continue
		}
		keys.keys = append(keys.keys, k)
	}
	return keys, skipped, nil
}

func parseJWK(raw jsontext.Value) (foreignKey, error) {
	var j struct {
		KeyType text           `json:"kty"`
		Use     text           `json:"use"`
		Ops     list           `json:"key_ops"`
		Alg     text           `json:"alg"`
		ID      text           `json:"kid"`
		N       text           `json:"n"`
		E       text           `json:"e"`
		Curve   text           `json:"crv"`
		X       text           `json:"x"`
		Y       text           `json:"y"`
		D       jsontext.Value `json:"d"`
		P       jsontext.Value `json:"p"`
		Q       jsontext.Value `json:"q"`
		K       jsontext.Value `json:"k"`
	}
	if err := json.Unmarshal(raw, &j); err != nil {
		return foreignKey{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	switch {
	case j.D != nil || j.P != nil || j.Q != nil || j.K != nil:
		// Whoever reads the document can sign with it.
		return foreignKey{}, fmt.Errorf("%w: its private half is published", ErrKey)
	case j.Use != "" && j.Use != "sig", j.Ops != nil && !slices.Contains(j.Ops, "verify"):
		return foreignKey{}, fmt.Errorf("%w: not for signatures", ErrKey)
	case j.ID != "" && !isID(string(j.ID)):
		return foreignKey{}, fmt.Errorf("%w: kid %.64q", ErrMalformed, string(j.ID))
	}
	k := foreignKey{id: string(j.ID)}
	var err error
	switch j.KeyType {
	case "RSA":
		k.alg = RS256
		k.public, err = rsaPublic(string(j.N), string(j.E))
	case "EC":
		k.alg = ES256
		k.public, err = ecPublic(string(j.Curve), string(j.X), string(j.Y))
	default:
		err = fmt.Errorf("%w: kty %.16q", ErrKey, string(j.KeyType))
	}
	if err != nil {
		return foreignKey{}, err
	}
	if j.Alg != "" && string(j.Alg) != k.alg {
		return foreignKey{}, fmt.Errorf("%w: algorithm %.16q", ErrKey, string(j.Alg))
	}
	return k, checkPublic(k.alg, k.public)
}

func rsaPublic(n, e string) (crypto.PublicKey, error) {
	nb, err := decode(n)
	if err != nil {
		return nil, err
	}
	eb, err := decode(e)
	if err != nil {
		return nil, err
	}
	if len(eb) > 4 || len(nb) > maxRSA/8+1 {
		return nil, fmt.Errorf("%w: RSA key of %d bytes with an exponent of %d bytes", ErrKey, len(nb), len(eb))
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(nb), E: int(new(big.Int).SetBytes(eb).Int64())}, nil
}

func ecPublic(curve, x, y string) (crypto.PublicKey, error) {
	if curve != "P-256" {
		return nil, fmt.Errorf("%w: curve %.16q", ErrKey, curve)
	}
	xb, err := decode(x)
	if err != nil {
		return nil, err
	}
	yb, err := decode(y)
	if err != nil {
		return nil, err
	}
	if len(xb) != 32 || len(yb) != 32 {
		return nil, fmt.Errorf("%w: coordinates of %d and %d bytes", ErrKey, len(xb), len(yb))
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, xb...), yb...))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return pub, nil
}
