package issue

import (
	"context"
	"errors"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// A Session is a browser that is signed in.
type Session struct {
	Identity
	User directory.User
}

// StartSession remembers a browser, and returns the text that it must show. The
// text says nothing by itself.
func (i *Issuer) StartSession(ctx context.Context, who Identity) (Secret, error) {
	text := randomText(32)
	var absent int64
	op, err := put(who, i.now().Add(SessionLife), &absent, bucketSession, digest("session", text))
	if err != nil {
		return Secret{}, err
	}
	if err := i.commit(ctx, op); err != nil {
		return Secret{}, err
	}
	return NewSecret(text), nil
}

// FindSession returns the session behind a text. The person is looked up anew: a
// session of a disabled user is none.
func (i *Issuer) FindSession(ctx context.Context, text Secret) (Session, bool, error) {
	if text.IsZero() {
		return Session{}, false, nil
	}
	est, err := i.estate()
	if err != nil {
		return Session{}, false, err
	}
	var who Identity
	_, err = i.load(ctx, &who, bucketSession, digest("session", text.Reveal()))
	switch {
	case errors.Is(err, errAbsent):
		return Session{}, false, nil
	case err != nil:
		return Session{}, false, err
	}
	u, err := person(est, who)
	if err != nil {
		return Session{}, false, nil
	}
	return Session{Identity: who, User: u}, true, nil
}

// EndSession forgets a browser.
func (i *Issuer) EndSession(ctx context.Context, text Secret) error {
	if text.IsZero() {
		return nil
	}
	err := i.commit(ctx, store.PrivateOp{Bucket: bucketSession, ID: []string{digest("session", text.Reveal())}})
	if errors.Is(err, errChanged) {
		return nil
	}
	return err
}
