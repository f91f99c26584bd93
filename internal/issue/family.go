package issue

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// A family is one sign-in of a person through a client, and the line of refresh
// tokens that grew from it. One of them is live at a time. Using a token replaces
// it; using a replaced one again, after a short grace, means that it was copied,
// and ends the family (RFC 9700, section 4.14.2).
type family struct {
	Identity
	Client directory.AppID `json:"client"`
	Scopes Scopes          `json:"scopes"` // what the person was asked for
	V1     bool            `json:"v1,omitzero"`
	// Live is the digest of the live refresh token; "" if there is none.
	Live string `json:"live,omitzero"`
	// Key marks the tokens of this family, so that a made-up text cannot end it.
	Key []byte `json:"key"`
	// Recent are the last replacements, oldest first.
	Recent []rotation `json:"recent,omitzero"`
	Ended  time.Time  `json:"ended,omitzero"`
}

// A rotation replaced one token by the next. The next one can be computed from
// the two together: neither the store nor the token's holder has it alone, and
// all who use one token within the grace get the same successor.
type rotation struct {
	Was  string    `json:"was"` // digest of the token that was replaced
	Salt []byte    `json:"salt"`
	At   time.Time `json:"at"`
}

const (
	familyBytes = 16
	secretBytes = 32
	markBytes   = 16
)

// newFamily returns the family of a sign-in, its id, and its first refresh token,
// or no token if none was asked for.
func newFamily(p proof) (family, Secret) {
	f := family{Identity: p.who, Client: p.client.id, Scopes: p.scopes, V1: p.v1, Key: make([]byte, 32)}
	rand.Read(f.Key)
	if !p.scopes.Offline {
		return f, Secret{}
	}
	secret := make([]byte, secretBytes)
	rand.Read(secret)
	f.Live = digest("refresh", string(secret))
	return f, f.token(p.family, secret)
}

func newFamilyID() string { return randomText(familyBytes) }

// token writes a refresh token: the family, the secret, the family's mark.
func (f family) token(id string, secret []byte) Secret {
	raw, _ := base64.RawURLEncoding.DecodeString(id)
	raw = append(raw, secret...)
	raw = append(raw, f.mark(secret)...)
	return NewSecret(base64.RawURLEncoding.EncodeToString(raw))
}

func (f family) mark(secret []byte) []byte {
	m := hmac.New(sha256.New, f.Key)
	m.Write(secret)
	return m.Sum(nil)[:markBytes]
}

// splitRefresh takes a refresh token apart. It has one spelling.
func splitRefresh(text string) (id string, secret, mark []byte, ok bool) {
	if len(text) > 256 || strings.ContainsAny(text, "\r\n") {
		return "", nil, nil, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != familyBytes+secretBytes+markBytes {
		return "", nil, nil, false
	}
	id = base64.RawURLEncoding.EncodeToString(raw[:familyBytes])
	return id, raw[familyBytes : familyBytes+secretBytes], raw[familyBytes+secretBytes:], true
}

// successor returns the live token's secret, reached from one that was replaced
// within the grace.
func (f family) successor(secret []byte, now time.Time) ([]byte, bool) {
	was := digest("refresh", string(secret))
	at := slices.IndexFunc(f.Recent, func(r rotation) bool { return equal(r.Was, was) })
	// A clock that was moved back since makes no grace longer.
	if at < 0 || now.Sub(f.Recent[at].At).Abs() > RefreshGrace {
		return nil, false
	}
	for _, r := range f.Recent[at:] {
		secret = next(r.Salt, secret)
	}
	return secret, equal(digest("refresh", string(secret)), f.Live)
}

// rotate replaces the live token, whose secret is given, and returns the next one's.
func (f *family) rotate(secret []byte, now time.Time) []byte {
	f.Recent = slices.DeleteFunc(slices.Clone(f.Recent), func(r rotation) bool { return now.Sub(r.At).Abs() > RefreshGrace })
	if len(f.Recent) >= maxRecent {
		f.Recent = f.Recent[1:]
	}
	r := rotation{Was: f.Live, Salt: make([]byte, 32), At: now}
	rand.Read(r.Salt)
	f.Recent = append(f.Recent, r)
	secret = next(r.Salt, secret)
	f.Live = digest("refresh", string(secret))
	return secret
}

// maxRecent bounds the replacements that are remembered within one grace.
const maxRecent = 64

func next(salt, secret []byte) []byte {
	m := hmac.New(sha256.New, salt)
	m.Write(secret)
	return m.Sum(nil)
}

// expires is when a family that was used now can be forgotten.
func (f family) expires(now time.Time) time.Time {
	if f.Live == "" {
		return now.Add(AccessLife)
	}
	return now.Add(RefreshLife)
}

func (f family) put(id string, rev int64, now time.Time) (store.PrivateOp, error) {
	return put(f, f.expires(now), &rev, bucketFamily, id)
}

// endFamily ends a sign-in: its refresh tokens are dead from now on, and Live is
// false for its access tokens. It is audited with the reason.
func (i *Issuer) endFamily(ctx context.Context, id, why string) error {
	for range 16 {
		var f family
		rev, err := i.load(ctx, &f, bucketFamily, id)
		switch {
		case errors.Is(err, errAbsent):
			return nil // expired: nothing of it lives
		case err != nil:
			return err
		case !f.Ended.IsZero():
			return nil
		}
		f.Ended = i.now()
		op, err := f.put(id, rev, i.now())
		if err != nil {
			return err
		}
		err = i.audited(ctx, store.Change{By: f.User, Why: why, Private: []store.PrivateOp{op}})
		if err == nil || !errors.Is(err, errChanged) {
			return err
		}
	}
	return errBusy()
}

// Live reports whether a token's sign-in still stands. A verified token is valid
// until it expires; whoever can ask should, because the code or the refresh token
// it came from may have turned out to be stolen. An application's or managed
// identity's own token belongs to no sign-in; it stands as long as its principal
// is there and enabled.
func (i *Issuer) Live(ctx context.Context, c token.Claims) (bool, error) {
	id := familyOf(c)
	if id == "" {
		p, ok := i.state.Current().Principal(c.ObjectID)
		return ok && !p.Disabled && p.Tenant == c.Tenant && c.IDType == "app", nil
	}
	var f family
	_, err := i.load(ctx, &f, bucketFamily, id)
	switch {
	case errors.Is(err, errAbsent):
		return false, nil
	case err != nil:
		return false, err
	}
	// Instants in tokens are whole seconds; when somebody signed in is known exactly.
	// Whether he is there, and enabled, is for others to say.
	u, there := i.state.Current().User(f.Identity.User)
	return f.Ended.IsZero() && (!there || !f.Identity.SignedIn.Before(u.TokensValidFrom)), nil
}

// refresh answers grant_type=refresh_token.
func (i *Issuer) refresh(ctx context.Context, req TokenRequest, realm Realm, c client) (Answer, error) {
	if req.RefreshToken.IsZero() {
		return Answer{}, errMissing("refresh_token")
	}
	id, secret, mark, ok := splitRefresh(req.RefreshToken.Reveal())
	if !ok {
		return Answer{}, errRefreshToken()
	}
	var ans Answer
	for range 16 {
		var f family
		rev, err := i.load(ctx, &f, bucketFamily, id)
		switch {
		case errors.Is(err, errAbsent):
			return Answer{}, errRefreshToken()
		case err != nil:
			return Answer{}, err
		case !hmac.Equal(mark, f.mark(secret)) || f.Client != c.id:
			return Answer{}, errRefreshToken()
		case !f.Ended.IsZero():
			return Answer{}, refuse(invalidGrant, 50173, "The provided grant has expired due to it being revoked, a fresh auth token is needed.")
		}
		now := i.now()
		live := equal(digest("refresh", string(secret)), f.Live)
		successor, recent := f.successor(secret, now)
		if !live && !recent {
			if err := i.endFamily(ctx, id, "refresh token used again: the sign-in was ended"); err != nil {
				return Answer{}, err
			}
			return Answer{}, refuse(invalidGrant, 50173, "The provided grant has expired due to it being revoked, a fresh auth token is needed.")
		}
		if ans.AccessToken == "" {
			if ans, err = i.refreshed(ctx, req, realm, c, f, id); err != nil {
				return Answer{}, err
			}
		}
		if recent {
			ans.RefreshToken = f.token(id, successor).Reveal()
			return ans, nil
		}
		ans.RefreshToken = f.token(id, f.rotate(secret, now)).Reveal()
		op, err := f.put(id, rev, now)
		if err != nil {
			return Answer{}, err
		}
		// The tokens are made before the old one is used up: whoever is refused for
		// want of a signature can try again.
		if err := i.commit(ctx, op); err == nil {
			return ans, nil
		} else if !errors.Is(err, errChanged) {
			return Answer{}, err
		}
	}
	return Answer{}, errBusy()
}

// refreshed makes the tokens for a refresh. A client that comes with the house may
// ask for any resource, as az does all the time; others for what the person was
// asked for.
func (i *Issuer) refreshed(ctx context.Context, req TokenRequest, realm Realm, c client, f family, id string) (Answer, error) {
	scopes, err := req.scopes(f.Scopes)
	if err != nil {
		return Answer{}, err
	}
	if !c.firstParty && !scopes.within(f.Scopes) {
		return Answer{}, refuse(invalidScope, 70011, "The provided value for the input parameter 'scope' is not valid. It exceeds what was granted.")
	}
	scopes.OpenID = scopes.OpenID || req.V1
	return i.grant(ctx, proof{realm: realm, client: c, scopes: scopes, who: f.Identity, family: id, v1: req.V1, spn: req.spn()})
}
