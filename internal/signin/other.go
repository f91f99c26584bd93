package signin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/oauth2"
)

// ErrNotSignedIn says that a person has to sign in first.
var ErrNotSignedIn = errors.New("nobody is signed in, or the sign-in has ended")

// TokenFor returns a token for another resource than the one that was signed in
// for, such as a vault: as the same person by the same sign-in, or as the same
// program. It asks nobody at a terminal. Fresh asks for another one than is kept,
// which was refused.
func TokenFor(ctx context.Context, c Config, resource string, fresh bool) (*oauth2.Token, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	ctx, err := c.client(ctx)
	if err != nil {
		return nil, err
	}
	other := c
	other.Resource = resource
	if kept := other.load(); !fresh && kept != nil && c.Now().Add(early).Before(kept.Expiry) {
		return &kept.Token, nil
	}
	if c.Method == Secret || c.Method == Password {
		tok, err := other.signIn(ctx)
		if err != nil {
			return nil, c.explain(err)
		}
		tok.RefreshToken = "" // the sign-in for the first resource has one
		return tok, other.save(tok)
	}
	kept := c.load()
	if kept == nil || kept.RefreshToken == "" {
		return nil, ErrNotSignedIn
	}
	// A token source of x/oauth2 would ask for what was signed in for.
	tok, err := other.oauth().Exchange(ctx, "", oauth2.SetAuthURLParam("grant_type", "refresh_token"),
		oauth2.SetAuthURLParam("refresh_token", kept.RefreshToken), oauth2.SetAuthURLParam("scope", resource+"/.default offline_access"))
	if r, refused := errors.AsType[*oauth2.RetrieveError](err); refused && r.ErrorCode == "invalid_grant" {
		return nil, fmt.Errorf("%w: %w", ErrNotSignedIn, c.explain(err))
	}
	if err != nil {
		return nil, c.explain(err)
	}
	// The refresh token is used up. The next one is the sign-in's, and is kept first.
	if tok.RefreshToken != "" {
		kept.RefreshToken = tok.RefreshToken
		if err := c.save(&kept.Token); err != nil {
			return nil, err
		}
	}
	tok.RefreshToken = ""
	return tok, other.save(tok)
}
