package signin

import (
	"context"
	"errors"

	"golang.org/x/oauth2"
)

// Renew returns another token than the one that is kept, which its audience has
// refused before its time, as after an emergency stop of the key that signed it.
// It asks nobody at a terminal: who has to sign in again is told so.
func Renew(ctx context.Context, c Config) (*oauth2.Token, error) {
	ctx, err := c.client(ctx)
	if err != nil {
		return nil, err
	}
	if kept := c.load(); kept != nil && kept.RefreshToken != "" {
		if tok, err := c.refresh(ctx, kept.RefreshToken); err == nil {
			return tok, c.save(tok)
		}
	}
	if c.Method != Secret && c.Method != Password {
		return nil, errors.New("the kept token is refused, and cannot be renewed: sign in again with gatehouse login")
	}
	tok, err := c.signIn(ctx)
	if err != nil {
		return nil, c.explain(err)
	}
	return tok, c.save(tok)
}
