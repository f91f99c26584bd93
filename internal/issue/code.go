package issue

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
)

// An AuthorizeRequest is what a browser brought to an authorization endpoint.
type AuthorizeRequest struct {
	Realm string // the first segment of the path
	V1    bool   // the version 1.0 endpoint

	ClientID     string
	RedirectURI  string
	ResponseType string
	ResponseMode string
	Scope        string
	Resource     string // the version 1.0 endpoint's
	State        string
	Nonce        string
	// Challenge is code_challenge; ChallengeSent tells an empty one from none.
	Challenge       string
	ChallengeSent   bool
	ChallengeMethod string
	// Unsupported is set when request or request_uri was sent (OA-12).
	Unsupported bool
}

// An Authorization is a request of which the client and the redirect URI are
// known to belong together, so that an answer, even a refusal, may go there.
type Authorization struct {
	Realm       Realm
	ClientName  string
	Public      bool
	RedirectURI string
	// FormPost is set if the answer goes there in a form, otherwise in the query.
	FormPost bool
	State    string

	client    client
	scopes    Scopes
	nonce     string
	challenge string
	v1        bool
}

// CheckAuthorize checks everything about an authorization request that does not
// depend on the person. With an error, the Authorization has a RedirectURI if and
// only if the error may be sent there; otherwise it must be shown as a page,
// because the address may be an attacker's.
func (i *Issuer) CheckAuthorize(req AuthorizeRequest) (Authorization, error) {
	est, err := i.estate()
	if err != nil {
		return Authorization{}, err
	}
	realm, err := ResolveRealm(est, req.Realm)
	if err != nil {
		return Authorization{}, err
	}
	c, err := findClient(est, realm, req.ClientID)
	if err != nil {
		return Authorization{}, err
	}
	if req.RedirectURI == "" {
		return Authorization{}, errMissing("redirect_uri")
	}
	if !c.answersAt(req.RedirectURI) {
		return Authorization{}, refuse(invalidRequest, 50011, "The redirect URI specified in the request does not match the redirect URIs configured for the application '%s'.", c.id)
	}
	a := Authorization{
		Realm: realm, ClientName: c.name, Public: c.public, RedirectURI: req.RedirectURI, State: req.State,
		FormPost: req.ResponseMode == "form_post", client: c, nonce: req.Nonce, challenge: req.Challenge, v1: req.V1,
	}
	switch {
	case len(req.State) > 4096 || len(req.Nonce) > 1024:
		return a, refuse(invalidRequest, 90015, "The 'state' or 'nonce' is too long.")
	case req.Unsupported:
		return a, refuse("request_not_supported", 90023, "The parameters 'request' and 'request_uri' are not supported.")
	case req.ResponseType == "":
		return a, errMissing("response_type")
	case req.ResponseType != "code":
		return a, refuse(unsupportedResponse, 700054, "response_type '%.100s' is not enabled for the application.", req.ResponseType)
	case req.ResponseMode != "" && req.ResponseMode != "query" && req.ResponseMode != "form_post":
		return a, refuse(invalidRequest, 70007, "'%.100s' is not a supported value of 'response_mode' when requesting a code.", req.ResponseMode)
	}
	if err := checkChallenge(req, c); err != nil {
		return a, err
	}
	if req.V1 && req.Resource != "" {
		a.scopes, err = scopesOf(req.Resource)
	} else {
		a.scopes, err = ParseScopes(req.Scope)
		if req.V1 {
			a.scopes.OpenID, a.scopes.Profile, a.scopes.Offline = true, true, true
		} else if err == nil && req.Scope == "" {
			err = errMissing("scope")
		}
	}
	if err != nil {
		return a, err
	}
	r, _, err := i.resolveResource(est, realm, a.scopes.Resource)
	if err != nil {
		return a, err
	}
	_, _, err = r.grant(a.scopes)
	return a, err
}

// checkChallenge holds to PKCE (RFC 7636): S256 alone, and for public clients
// always. An empty challenge is not "none": that confusion let a verifier be
// skipped (OA-08).
func checkChallenge(req AuthorizeRequest, c client) error {
	switch {
	case !req.ChallengeSent && req.ChallengeMethod == "" && !c.public:
		return nil
	case !req.ChallengeSent || req.Challenge == "":
		return refuse(invalidRequest, 9002325, "Proof Key for Code Exchange is required for cross-origin and public-client authorization code redemption: 'code_challenge' is missing.")
	case req.ChallengeMethod != "S256":
		return refuse(invalidRequest, 501481, "The 'code_challenge_method' must be 'S256'.")
	}
	sum, err := base64.RawURLEncoding.Strict().DecodeString(req.Challenge)
	if err != nil || len(sum) != sha256.Size || len(req.Challenge) != 43 {
		return refuse(invalidRequest, 501491, "The 'code_challenge' is not a SHA-256 digest in base64url.")
	}
	return nil
}

// grantedCode is a code as it is stored, under its digest.
type grantedCode struct {
	Identity
	Client    directory.AppID `json:"client"`
	Redirect  string          `json:"redirect"`
	Scopes    Scopes          `json:"scopes"`
	Nonce     string          `json:"nonce,omitzero"`
	Challenge string          `json:"challenge,omitzero"`
	V1        bool            `json:"v1,omitzero"`
	Family    string          `json:"family"`
	Expires   time.Time       `json:"expires"`
	Redeemed  bool            `json:"redeemed,omitzero"`
}

// GrantCode returns a code for the client of a checked authorization, in the name
// of a person who is signed in.
func (i *Issuer) GrantCode(ctx context.Context, a Authorization, who Identity) (Secret, error) {
	est, err := i.estate()
	if err != nil {
		return Secret{}, err
	}
	p := proof{realm: a.Realm, client: a.client, scopes: a.scopes, who: who, v1: a.v1}
	// The client shows who it is when it redeems the code. Whatever else would
	// refuse it then is said now, while somebody is there to read it.
	p.client.proof = proofPublic
	if _, err := i.admit(est, p); err != nil {
		return Secret{}, err
	}
	now := i.now()
	code := randomText(32)
	g := grantedCode{
		Identity: who, Client: a.client.id, Redirect: a.RedirectURI, Scopes: a.scopes, Nonce: a.nonce,
		Challenge: a.challenge, V1: a.v1, Family: newFamilyID(), Expires: now.Add(CodeLife),
	}
	var absent int64
	// It is kept as long as its tokens live, so that a second use is noticed.
	op, err := put(g, now.Add(CodeLife+AccessLife), &absent, bucketCode, digest("code", code))
	if err != nil {
		return Secret{}, err
	}
	return NewSecret(code), i.commit(ctx, op)
}

// redeem answers grant_type=authorization_code.
func (i *Issuer) redeem(ctx context.Context, req TokenRequest, realm Realm, c client) (Answer, error) {
	if req.Code.IsZero() {
		return Answer{}, errMissing("code")
	}
	id := digest("code", req.Code.Reveal())
	var g grantedCode
	rev, err := i.load(ctx, &g, bucketCode, id)
	switch {
	case errors.Is(err, errAbsent):
		return Answer{}, errCode()
	case err != nil:
		return Answer{}, err
	case g.Client != c.id || !realm.Admits(g.Tenant):
		return Answer{}, errCode()
	case g.Redeemed:
		return Answer{}, i.replayed(ctx, g.Family, "authorization code used again: the sign-in was ended")
	case !i.now().Before(g.Expires):
		return Answer{}, refuse(invalidGrant, 70008, "The provided authorization code or refresh token has expired due to inactivity. Send a new interactive authorization request for this user and resource.")
	case req.RedirectURI != g.Redirect:
		return Answer{}, refuse(invalidGrant, 50011, "The redirect URI '%.200s' specified in the request does not match the one that the code was sent to.", req.RedirectURI)
	}
	if err := checkVerifier(g.Challenge, req.Verifier); err != nil {
		return Answer{}, err
	}
	scopes, err := req.scopes(g.Scopes)
	if err != nil {
		return Answer{}, err
	}
	if !scopes.within(g.Scopes) {
		return Answer{}, refuse(invalidScope, 70011, "The provided value for the input parameter 'scope' is not valid. It exceeds what the code was granted for.")
	}
	scopes.OpenID, scopes.Offline = g.Scopes.OpenID, g.Scopes.Offline
	p := proof{realm: realm, client: c, scopes: scopes, who: g.Identity, nonce: g.Nonce, family: g.Family, v1: req.V1, spn: req.spn()}
	g.Redeemed = true
	used, err := put(g, i.now().Add(CodeLife+AccessLife), &rev, bucketCode, id)
	if err != nil {
		return Answer{}, err
	}
	ans, err := i.begin(ctx, p, used)
	if isLost(err) {
		return Answer{}, i.replayed(ctx, g.Family, "authorization code used twice at once: the sign-in was ended")
	}
	return ans, err
}

// replayed ends the sign-in that came from something that was used twice, and
// returns the refusal, unless it could not end it.
func (i *Issuer) replayed(ctx context.Context, family, why string) error {
	if err := i.endFamily(ctx, family, why); err != nil {
		return err
	}
	return refuse(invalidGrant, 54005, "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token.")
}

// checkVerifier refuses the two downgrades of RFC 9700 section 4.8 as well: no
// verifier although there is a challenge, and a verifier although there is none.
func checkVerifier(challenge string, verifier Secret) error {
	switch v := verifier.Reveal(); {
	case challenge == "" && verifier.IsZero():
		return nil
	case challenge == "":
		return refuse(invalidGrant, 501481, "The 'code_verifier' was sent, but the authorization request had no 'code_challenge'.")
	case verifier.IsZero():
		return refuse(invalidGrant, 50147, "The size of the 'code_verifier' parameter is not valid: it is missing.")
	case len(v) < 43 || len(v) > 128 || strings.ContainsFunc(v, func(r rune) bool { return !unreserved(r) }):
		return refuse(invalidGrant, 501491, "The 'code_verifier' must have 43 to 128 characters of A-Z, a-z, 0-9 and -._~.")
	default:
		sum := sha256.Sum256([]byte(v))
		if !equal(base64.RawURLEncoding.EncodeToString(sum[:]), challenge) {
			return refuse(invalidGrant, 501481, "The 'code_verifier' does not match the 'code_challenge' supplied in the authorization request.")
		}
		return nil
	}
}

func unreserved(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || slices.Contains([]rune("-._~"), r)
}
