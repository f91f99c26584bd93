package token

import (
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// PoPLife is how long a request that a client signed is good, by the client's
// clock. kubectl sends one with every request that it makes in this time.
const PoPLife = 15 * time.Minute

// popType is the type of a request signed by a client's key, which holds an access
// token that is good with this key alone (draft-ietf-oauth-signed-http-request).
const popType = "pop"

// PoPWant is what such a request must say. The zero PoPWant refuses every one.
type PoPWant struct {
	// Hosts are the names of the place that it was sent to: one of them must be its
	// u, in any letter case.
	Hosts []string
	// Now is the instant by the clock that clients share.
	Now time.Time
}

// A Proof is what must be remembered of a signed request: until Until no other one
// of the same key may have this nonce.
type Proof struct {
	KeyID, Nonce string
	Until        time.Time
}

// IsPoP reports whether a text says that it is a request signed by a client's key.
func IsPoP(raw string) bool {
	jws, err := split(raw)
	return err == nil && strings.EqualFold(string(jws.header.Typ), popType)
}

// VerifyPoP returns the claims of the access token in a request that a client
// signed, if the token is what Verify would return for want, and is bound to the
// key that signed the request, and the request is for the wanted place and new.
// Every error wraps ErrInvalid and comes with zero Claims. The caller must refuse
// a second request with the same nonce.
func VerifyPoP(raw string, keys KeySet, want Want, pop PoPWant, now time.Time) (Claims, Proof, error) {
	jws, err := split(raw)
	if err != nil {
		return Claims{}, Proof{}, err
	}
	if !strings.EqualFold(string(jws.header.Typ), popType) || string(jws.header.Alg) != RS256 {
		return Claims{}, Proof{}, fmt.Errorf("%w: signed request of type %.32q with algorithm %.16q", ErrMalformed, string(jws.header.Typ), string(jws.header.Alg))
	}
	req, err := jws.request()
	if err != nil {
		return Claims{}, Proof{}, err
	}
	key, err := req.key()
	if err != nil {
		return Claims{}, Proof{}, err
	}
	// The key is in the request, so that the signature alone proves nothing: what
	// makes the key good is the name by which the access token knows it.
	kid := keyThumbprint(key)
	switch {
	case string(jws.header.Kid) != kid:
		return Claims{}, Proof{}, fmt.Errorf("%w: kid %.64q is not of the key of the signed request", ErrKey, string(jws.header.Kid))
	case !(Key{Public: key}).verify(RS256, jws.signed, jws.signature):
		return Claims{}, Proof{}, ErrSignature
	}
	claims, err := verify(string(req.AccessToken), keys, want, now)
	if err != nil {
		return Claims{}, Proof{}, fmt.Errorf("at: %w", err)
	}
	if claims.KeyID != kid {
		return Claims{}, Proof{}, fmt.Errorf("%w: the access token is not for the key of the signed request", ErrKey)
	}
	if err := req.satisfy(pop); err != nil {
		return Claims{}, Proof{}, err
	}
	return claims, Proof{KeyID: kid, Nonce: string(req.Nonce), Until: req.Time.Add(PoPLife)}, nil
}

// signedRequest is the payload of a signed request.
type signedRequest struct {
	AccessToken text           `json:"at"`
	Time        stamp          `json:"ts"`
	Host        text           `json:"u"`
	Nonce       text           `json:"nonce"`
	Key         confirmation   `json:"cnf"`
	Rest        jsontext.Value `json:",embed"`
}

type confirmation struct {
	JWK jsontext.Value `json:"jwk"`
}

var requestMembers = []string{"at", "ts", "u", "nonce", "cnf"}

func (t jws) request() (signedRequest, error) {
	payload, err := decode(t.payload)
	if err != nil {
		return signedRequest{}, fmt.Errorf("payload: %w", err)
	}
	var r signedRequest
	if err := unmarshal(payload, &r, func() jsontext.Value { return r.Rest }, requestMembers); err != nil {
		return signedRequest{}, fmt.Errorf("payload: %w", err)
	}
	if r.AccessToken == "" || r.Time.IsZero() || !isID(string(r.Nonce)) || r.Key.JWK == nil {
		return signedRequest{}, fmt.Errorf("%w: signed request without at, ts, nonce or cnf.jwk", ErrMalformed)
	}
	return r, nil
}

func (r signedRequest) key() (*rsa.PublicKey, error) {
	k, err := parseJWK(r.Key.JWK)
	if err != nil {
		return nil, fmt.Errorf("cnf: %w", err)
	}
	key, ok := k.public.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: cnf holds a %T", ErrKey, k.public)
	}
	return key, nil
}

func (r signedRequest) satisfy(want PoPWant) error {
	named := false
	for _, h := range want.Hosts {
		named = named || h != "" && lower(h) == lower(string(r.Host))
	}
	switch {
	case !named:
		return fmt.Errorf("%w: the signed request is for %.200q", ErrAudience, string(r.Host))
	case r.Time.After(want.Now.Add(Leeway)):
		return fmt.Errorf("%w: the signed request is of the future", ErrExpired)
	case !want.Now.Before(r.Time.Add(PoPLife)):
		return fmt.Errorf("%w: the signed request is of %s", ErrExpired, r.Time.Format(time.RFC3339))
	}
	return nil
}

// lower folds ASCII letters only.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// keyThumbprint names an RSA key (RFC 7638, section 3.1).
func keyThumbprint(key *rsa.PublicKey) string {
	e, n := canonical.EncodeToString(big.NewInt(int64(key.E)).Bytes()), canonical.EncodeToString(key.N.Bytes())
	sum := sha256.Sum256([]byte(`{"e":"` + e + `","kty":"RSA","n":"` + n + `"}`))
	return canonical.EncodeToString(sum[:])
}

// ParseConfirmation reads the parameter req_cnf, by which a client says which key
// its access token is to be good with. The error wraps ErrInvalid.
func ParseConfirmation(text string) (kid string, err error) {
	if len(text) > 1024 {
		return "", fmt.Errorf("%w: req_cnf of %d bytes", ErrMalformed, len(text))
	}
	raw, err := decode(text)
	if err != nil {
		return "", err
	}
	c, err := parseBound(raw)
	return string(c.ID), err
}

// bound is cnf in an access token: the name of a key (RFC 7800, section 3.4).
type bound struct {
	ID   text           `json:"kid"`
	Rest jsontext.Value `json:",embed"`
}

func parseBound(raw []byte) (bound, error) {
	var c bound
	if err := unmarshal(raw, &c, func() jsontext.Value { return c.Rest }, []string{"kid"}); err != nil {
		return bound{}, err
	}
	if sum, err := decode(string(c.ID)); err != nil || len(sum) != sha256.Size {
		return bound{}, fmt.Errorf("%w: kid %.64q is no SHA-256 thumbprint", ErrMalformed, string(c.ID))
	}
	return c, nil
}

// stamp is an instant in whole seconds, as a number or as a text: clients differ.
type stamp struct{ time.Time }

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (s *stamp) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != '"' {
		var d date
		err := d.UnmarshalJSONFrom(dec)
		s.Time = d.Time
		return err
	}
	var t text
	if err := t.UnmarshalJSONFrom(dec); err != nil {
		return err
	}
	n, err := strconv.ParseUint(string(t), 10, 40)
	if err != nil || n == 0 || n > lastDate {
		return fmt.Errorf("%w: no date: %.32q", ErrMalformed, string(t))
	}
	s.Time = time.Unix(int64(n), 0).UTC()
	return nil
}
