package token

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// header holds the members of a JOSE header that mean something here. jwk, jku,
// x5u and x5c are never read: a token does not choose the key that proves it.
type header struct {
	Typ     text           `json:"typ,omitzero"`
	Alg     text           `json:"alg"`
	X5T     text           `json:"x5t,omitzero"`
	X5TS256 text           `json:"x5t#S256,omitzero"`
	Kid     text           `json:"kid,omitzero"`
	Crit    jsontext.Value `json:"crit,omitzero"`
	B64     jsontext.Value `json:"b64,omitzero"`
	Rest    jsontext.Value `json:",embed"`
}

var headerNames = []string{"typ", "alg", "x5t", "x5t#S256", "kid", "crit", "b64"}

// A jws is a token taken apart; nothing about it is proven.
type jws struct {
	header    header
	signed    string // header and payload as they came: what the signature is over
	payload   string // still base64url
	signature []byte
}

// split takes a token in compact serialization apart (RFC 7515, section 7.1).
func split(raw string) (jws, error) {
	if len(raw) > MaxSize {
		return jws{}, fmt.Errorf("%w: %d bytes", ErrMalformed, len(raw))
	}
	head, rest, ok := strings.Cut(raw, ".")
	payload, sig, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || head == "" || payload == "" || sig == "" || strings.Contains(sig, ".") {
		return jws{}, fmt.Errorf("%w: not three parts", ErrMalformed)
	}
	text, err := decode(head)
	if err != nil {
		return jws{}, fmt.Errorf("header: %w", err)
	}
	var h header
	if err := unmarshal(text, &h, func() jsontext.Value { return h.Rest }, headerNames); err != nil {
		return jws{}, fmt.Errorf("header: %w", err)
	}
	// A critical extension must be understood (RFC 7515, section 4.1.11), and none
	// is; b64 changes what is signed (RFC 7797).
	if h.Crit != nil || h.B64 != nil {
		return jws{}, fmt.Errorf("%w: header has crit or b64", ErrMalformed)
	}
	signature, err := decode(sig)
	if err != nil {
		return jws{}, fmt.Errorf("signature: %w", err)
	}
	return jws{header: h, signed: raw[:len(head)+1+len(payload)], payload: payload, signature: signature}, nil
}

// canonical refuses non-zero trailing bits. It still skips line ends, see decode.
var canonical = base64.RawURLEncoding.Strict()

// decode accepts the one spelling that base64url without padding has for some bytes.
func decode(s string) ([]byte, error) {
	// encoding/base64 skips line ends in every mode.
	if strings.ContainsAny(s, "\r\n") {
		return nil, fmt.Errorf("%w: line end in base64url", ErrMalformed)
	}
	b, err := canonical.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("%w: base64url: %w", ErrMalformed, err)
	}
	return b, nil
}

// Sign returns the claims signed with the key. Claims are written in the shape
// of their version, and refused when their tenant or use is not the key's; any
// other value is written as json.Marshal does. The result is never longer than
// MaxSize.
func Sign(key SigningKey, claims any, typ string) (string, error) {
	if key.private == nil {
		return "", fmt.Errorf("%w: no private key", ErrKey)
	}
	h := header{Typ: text(typ), Alg: text(key.Alg), Kid: text(key.ID)}
	if c, ok := claims.(Claims); ok {
		if c.Tenant != key.Tenant || c.Use != key.Purpose {
			return "", fmt.Errorf("%w: key %s does not sign %q of tenant %s", ErrKey, key.ID, c.Use, c.Tenant)
		}
		if c.Version == V1 {
			h.X5T = h.Kid
		}
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("write claims: %w", err)
	}
	return key.seal(h, payload)
}

// seal signs a payload as it is.
func (k SigningKey) seal(h header, payload []byte) (string, error) {
	head, err := json.Marshal(h)
	if err != nil {
		return "", fmt.Errorf("write header: %w", err)
	}
	b := make([]byte, 0, canonical.EncodedLen(len(head))+canonical.EncodedLen(len(payload))+canonical.EncodedLen(512)+2)
	b = canonical.AppendEncode(b, head)
	b = append(b, '.')
	b = canonical.AppendEncode(b, payload)
	sig, err := k.sign(b)
	if err != nil {
		return "", fmt.Errorf("sign with %s: %w", k.ID, err)
	}
	b = append(b, '.')
	b = canonical.AppendEncode(b, sig)
	if len(b) > MaxSize {
		return "", fmt.Errorf("%w: the token would have %d bytes", ErrMalformed, len(b))
	}
	return string(b), nil
}

// NewID returns 128 random bits as text, for the claims uti and jti.
func NewID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand aborts the program instead
	return canonical.EncodeToString(b[:])
}

// Unverified is what a token says about itself. It proves nothing: use it to
// choose which keys to verify with, and in the text of a refusal.
type Unverified struct{ Issuer, Subject, Audience, KeyID string }

// Peek reads what a token says about itself. It is as strict as verifying about
// how a token is written.
func Peek(raw string) (Unverified, error) {
	jws, err := split(raw)
	if err != nil {
		return Unverified{}, err
	}
	f, err := jws.foreign()
	if err != nil {
		return Unverified{}, err
	}
	return Unverified{Issuer: string(f.Issuer), Subject: string(f.Subject), Audience: string(f.Audience), KeyID: string(jws.header.Kid)}, nil
}
