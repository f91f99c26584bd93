package token

import (
	"crypto"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-io/gatehouse/internal/directory"
)

// ForeignWant is what a federated credential says a foreign token must be. The
// zero ForeignWant fits no token.
type ForeignWant struct {
	Issuer, Subject string   // compared byte for byte
	Audiences       []string // one of them, byte for byte
	// Pattern stands for many subjects, where there is no Subject.
	Pattern directory.SubjectPattern
}

// WantOf is what a federated credential wants.
func WantOf(f directory.FederatedCredential) ForeignWant {
	return ForeignWant{Issuer: f.Issuer, Subject: f.Subject, Audiences: f.Audiences, Pattern: f.SubjectPattern}
}

// A Fit says which parts of a token are what a federated credential says. The zero
// Fit fits nowhere.
type Fit struct{ Issuer, Subject, Audience bool }

// Whole reports whether a token is trusted.
func (f Fit) Whole() bool { return f.Issuer && f.Subject && f.Audience }

// Compare says which parts of a token are as they must be. An empty part is none.
func (w ForeignWant) Compare(issuer, subject, audience string) Fit {
	return Fit{
		Issuer:   issuer != "" && w.Issuer == issuer,
		Subject:  subject != "" && (w.Subject == subject || w.Pattern.Matches(subject)),
		Audience: audience != "" && slices.Contains(w.Audiences, audience),
	}
}

// Foreign is what a token of another issuer says, of which nothing else is used.
// ID is its jti and may be empty; IssuedAt may be zero.
type Foreign struct {
	Issuer, Subject, Audience, ID string
	IssuedAt, Expires             time.Time
	// Fits is the index of the first want that the token fits.
	Fits int
}

// VerifyForeign returns what a token of another issuer says, if one of its keys
// signed it and it is what one of wants says. A token of more than MaxLife is
// refused, and so is one for several audiences. Every error wraps ErrInvalid and
// comes with a zero Foreign. ErrIssuer, ErrSubject and ErrAudience tell apart, in
// this order, what no want has, which clients are told by different codes; they
// are only given for a token whose signature is right.
func VerifyForeign(raw string, keys ForeignKeys, wants []ForeignWant, now time.Time) (Foreign, error) {
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
	fits, err := Match(string(f.Issuer), string(f.Subject), string(f.Audience), wants)
	if err != nil {
		return Foreign{}, err
	}
	if err := checkTimes(f.IssuedAt.Time, f.NotBefore.Time, f.Expires.Time, now); err != nil {
		return Foreign{}, err
	}
	return Foreign{
		Issuer: string(f.Issuer), Subject: string(f.Subject), Audience: string(f.Audience), ID: string(f.ID),
		IssuedAt: f.IssuedAt.Time, Expires: f.Expires.Time, Fits: fits,
	}, nil
}

// Match returns the index of the first want that has exactly this issuer, subject
// and audience. Otherwise the error is ErrIssuer if no want has the issuer, then
// ErrSubject if none of those has the subject, or ErrSubjectCase if one differs
// from it in letter case alone, then ErrAudience.
func Match(issuer, subject, audience string, wants []ForeignWant) (int, error) {
	err := fmt.Errorf("%w: %.200q", ErrIssuer, issuer)
	near := 0 // how much of the best want fits
	for i, w := range wants {
		switch fit := w.Compare(issuer, subject, audience); {
		case !fit.Issuer:
		case !fit.Subject:
			if w.Subject != "" && strings.EqualFold(w.Subject, subject) && near < 2 {
				near, err = 2, fmt.Errorf("%w: %.200q", ErrSubjectCase, subject)
			} else if near < 1 {
				near, err = 1, fmt.Errorf("%w: %.200q", ErrSubject, subject)
			}
		case !fit.Audience:
			near, err = 3, fmt.Errorf("%w: %.200q", ErrAudience, audience)
		default:
			return i, nil
		}
	}
	return 0, err
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

// maxForeign is how long an issuer or a subject of somebody else may be, in bytes,
// as in Entra's federated credentials.
const maxForeign = 600

// isForeign reports whether a text can be the issuer, subject or id of somebody
// else's token: printable ASCII. Others have blanks in their subjects, but none at
// the ends, where nobody would see them.
func isForeign(s string) bool {
	if s == "" || len(s) > maxForeign || s[0] == ' ' || s[len(s)-1] == ' ' {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
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
	for _, s := range []text{f.Issuer, f.Subject, f.ID} {
		if s != "" && !isForeign(string(s)) {
			return foreignWire{}, fmt.Errorf("%w: iss, sub or jti %.64q", ErrMalformed, string(s))
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

// Has reports whether there is a key with this kid, which may be empty.
func (s ForeignKeys) Has(kid string) bool {
	return slices.ContainsFunc(s.keys, func(k foreignKey) bool { return k.id == kid })
}

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
