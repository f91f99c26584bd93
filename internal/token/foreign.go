package token

import (
	"crypto"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// ForeignWant is what a federated credential says a foreign token must be. The
// zero ForeignWant refuses every token.
type ForeignWant struct {
	Issuer, Subject string   // compared byte for byte
	Audiences       []string // one of them, byte for byte
}

// Foreign is what a token of another issuer says, of which nothing else is used.
// ID is its jti and may be empty; IssuedAt may be zero.
type Foreign struct {
	Issuer, Subject, Audience, ID string
	IssuedAt, Expires             time.Time
}

// VerifyForeign returns what a token of another issuer says, if one of its keys
// signed it and it is what is wanted. A token of more than MaxLife is refused,
// and so is one for several audiences. Every error wraps ErrInvalid and comes
// with a zero Foreign. ErrIssuer, ErrSubject and ErrAudience tell apart, in this
// order, what does not match, which clients are told by different codes; they are
// only given for a token whose signature is right.
func VerifyForeign(raw string, keys ForeignKeys, want ForeignWant, now time.Time) (Foreign, error) {
	jws, err := split(raw)
	if err != nil {
		return Foreign{}, err
	}
	switch jws.header.Typ {
	case "", "JWT", "at+jwt": // RFC 8725, section 3.11: another type is another protocol's
	default:
		return Foreign{}, fmt.Errorf("%w: type %.32q", ErrMalformed, string(jws.header.Typ))
	}
	if err := keys.verify(jws); err != nil {
		return Foreign{}, err
	}
	f, err := jws.foreign()
	if err != nil {
		return Foreign{}, err
	}
	switch {
	case want.Issuer == "" || string(f.Issuer) != want.Issuer:
		return Foreign{}, fmt.Errorf("%w: %.200q", ErrIssuer, string(f.Issuer))
	case want.Subject == "" || string(f.Subject) != want.Subject:
		return Foreign{}, fmt.Errorf("%w: %.200q", ErrSubject, string(f.Subject))
	case f.Audience == "" || !slices.Contains(want.Audiences, string(f.Audience)):
		return Foreign{}, fmt.Errorf("%w: %.200q", ErrAudience, string(f.Audience))
	}
	if err := checkTimes(f.IssuedAt.Time, f.NotBefore.Time, f.Expires.Time, now); err != nil {
		return Foreign{}, err
	}
	return Foreign{
		Issuer: string(f.Issuer), Subject: string(f.Subject), Audience: string(f.Audience), ID: string(f.ID),
		IssuedAt: f.IssuedAt.Time, Expires: f.Expires.Time,
	}, nil
}

// foreignWire is a payload of somebody else: seven members, and the rest.
type foreignWire struct {
	Issuer    text           `json:"iss"`
	Subject   text           `json:"sub"`
	Audience  audience       `json:"aud"`
	Expires   date           `json:"exp"`
	NotBefore date           `json:"nbf"`
	IssuedAt  date           `json:"iat"`
	ID        text           `json:"jti"`
	Rest      jsontext.Value `json:",embed"`
}

var foreignMembers = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"}

func (t jws) foreign() (foreignWire, error) {
	payload, err := decode(t.payload)
	if err != nil {
		return foreignWire{}, fmt.Errorf("payload: %w", err)
	}
	var f foreignWire
	if err := unmarshal(payload, &f, func() jsontext.Value { return f.Rest }, foreignMembers); err != nil {
		return foreignWire{}, fmt.Errorf("payload: %w", err)
	}
	for _, s := range []string{string(f.Issuer), string(f.Subject), string(f.ID)} {
		if s != "" && !isID(s) {
			return foreignWire{}, fmt.Errorf("%w: iss, sub or jti %.64q", ErrMalformed, s)
		}
	}
	return f, nil
}

// ForeignKeys are the keys of another issuer. The zero value has none.
type ForeignKeys struct{ keys []foreignKey }

type foreignKey struct {
	id, alg string
	public  crypto.PublicKey
}

// maxTried is how many keys of the same name are tried for one token.
const maxTried = 10

// Len is the number of keys that are used.
func (s ForeignKeys) Len() int { return len(s.keys) }

// verify tries the keys with the token's kid and algorithm. A token without kid
// fits keys without kid.
func (s ForeignKeys) verify(t jws) error {
	tried := 0
	for _, k := range s.keys {
		if k.id != string(t.header.Kid) || k.alg != string(t.header.Alg) {
			continue
		}
		if tried++; tried > maxTried {
			break
		}
		if (Key{Public: k.public}).verify(k.alg, t.signed, t.signature) {
			return nil
		}
	}
	if tried == 0 {
		return fmt.Errorf("%w: kid %.64q for %.16q", ErrKey, string(t.header.Kid), string(t.header.Alg))
	}
	return ErrSignature
}
