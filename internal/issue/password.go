package issue

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// Bounds of a password, in bytes. What a machine makes is longer than any limit
// that helps; the upper one bounds the work of hashing it.
const (
	minPassword = 8
	maxPassword = 256
)

// The cost of a password: argon2id with 46 MiB in one pass by one thread, the
// first of the equivalent choices of OWASP's password storage guide. The form is
// that of the argon2 reference program, so the numbers can change later.
const (
	argonMemory = 47104 // KiB
	argonTime   = 1
	argonLanes  = 1
)

type storedPassword struct {
	Hash    string    `json:"hash"`
	Changed time.Time `json:"changed"`
	// MustChange is set for a password that somebody else chose: it is good for
	// choosing another, and for nothing else.
	MustChange bool `json:"mustChange,omitzero"`
}

// PasswordOp returns the op that gives a user a password. It ends no session:
// that is what the user's TokensValidFrom is for; see ChangePassword.
func PasswordOp(user principal.ID, password string, now time.Time) (store.PrivateOp, error) {
	return passwordOp(user, password, now, false)
}

// TemporaryPasswordOp is PasswordOp for a password that its user must replace when
// he signs in next.
func TemporaryPasswordOp(user principal.ID, password string, now time.Time) (store.PrivateOp, error) {
	return passwordOp(user, password, now, true)
}

func passwordOp(user principal.ID, password string, now time.Time, temporary bool) (store.PrivateOp, error) {
	switch {
	case user.IsZero():
		return store.PrivateOp{}, record.Invalid("a password needs a user")
	case len(password) < minPassword || len(password) > maxPassword || !utf8.ValidString(password):
		return store.PrivateOp{}, record.Invalid("a password has %d to %d bytes of UTF-8", minPassword, maxPassword)
	case strings.TrimSpace(password) != password:
		return store.PrivateOp{}, record.Invalid("a password has no blanks at its ends: clients cut them off")
	}
	return put(storedPassword{Hash: hashPassword(password), Changed: now, MustChange: temporary}, time.Time{}, nil, bucketPassword, user.String())
}

// ReplaceOp returns the op that makes the user of a password choose another when he
// signs in next, or no longer makes him. The error is store.ErrNotFound for a user
// without a password.
func ReplaceOp(ctx context.Context, state interface {
	Private(ctx context.Context, bucket string, id ...string) (store.PrivateItem, error)
}, user principal.ID, must bool) (store.PrivateOp, error) {
	item, err := state.Private(ctx, bucketPassword, user.String())
	if err != nil {
		return store.PrivateOp{}, err
	}
	var stored storedPassword
	if err := record.Unmarshal(item.Value, &stored); err != nil {
		return store.PrivateOp{}, fmt.Errorf("read %s: %w", bucketPassword, err)
	}
	stored.MustChange = must
	return put(stored, time.Time{}, &item.Rev, bucketPassword, user.String())
}

// ChangePassword sets a user's password, and ends every session and refresh token
// of the user, all in one transaction.
func (i *Issuer) ChangePassword(ctx context.Context, by, user principal.ID, password string) error {
	est, err := i.estate()
	if err != nil {
		return err
	}
	u, ok := est.User(user)
	if !ok {
		return fmt.Errorf("change the password of %s: %w", user, store.ErrNotFound)
	}
	now := i.now()
	op, err := PasswordOp(user, password, now)
	if err != nil {
		return err
	}
	u.TokensValidFrom = now
	_, err = i.state.Commit(ctx, store.Change{By: by, Why: "password changed", Ops: []estate.Op{{Put: u}}, Private: []store.PrivateOp{op}, Base: est})
	if err != nil {
		return fmt.Errorf("change the password of %s: %w", u.UserPrincipalName, err)
	}
	return nil
}

// SignIn checks a user's name and password. Whoever does not know the password
// learns nothing about the name: an unknown name costs the same time, counts the
// same, and gets the same answer. Source is where the attempt comes from. A
// password that somebody else chose signs nobody in: see Replace.
func (i *Issuer) SignIn(ctx context.Context, realm Realm, name string, password Secret, source string) (Identity, error) {
	who, temporary, err := i.checkUser(ctx, realm, name, password, source)
	if err == nil && temporary {
		return Identity{}, refuse(invalidGrant, MustReplace, "The password is expired.")
	}
	return who, err
}

// MustReplace is the code of an Error about the right password of a user who must
// choose another before he signs in.
const MustReplace = 50055

// Replace signs a user in who chooses a new password, in one step: every session
// and refresh token from before ends.
func (i *Issuer) Replace(ctx context.Context, realm Realm, name string, password, next Secret, source string) (Identity, error) {
	who, _, err := i.checkUser(ctx, realm, name, password, source)
	if err != nil {
		return Identity{}, err
	}
	if next.Reveal() == password.Reveal() {
		return Identity{}, refuse(invalidGrant, MustReplace, "The new password must be another one.")
	}
	var changed error
	if err := i.passwords.do(ctx, func() { changed = i.ChangePassword(ctx, who.User, who.User, next.Reveal()) }); err != nil {
		return Identity{}, err
	}
	switch {
	case errors.Is(changed, record.ErrInvalid):
		return Identity{}, refuse(invalidGrant, MustReplace, "The new password must have %d to %d bytes, and no blanks at its ends.", minPassword, maxPassword)
	case changed != nil:
		return Identity{}, errUnavailable(changed)
	}
	who.SignedIn = i.now()
	return who, nil
}

// checkUser checks a name and a password, and reports whether it is one to replace.
func (i *Issuer) checkUser(ctx context.Context, realm Realm, name string, password Secret, source string) (who Identity, temporary bool, err error) {
	if name == "" || password.IsZero() {
		return Identity{}, false, errCredentials()
	}
	if len(name) > 256 || len(password.Reveal()) > maxPassword {
		return Identity{}, false, errCredentials()
	}
	canonical, err := directory.CanonicalUPN(name)
	if err != nil {
		canonical = "" // nobody, but he is counted and costs like anybody
	}
	if err := i.reserve(ctx, source, canonical); err != nil {
		return Identity{}, false, err
	}
	est, err := i.estate()
	if err != nil {
		return Identity{}, false, err
	}
	user, hash := directory.User{}, i.dummy
	if u, ok := est.UserByName(canonical); ok && realm.Admits(u.Tenant) {
		var stored storedPassword
		_, err := i.load(ctx, &stored, bucketPassword, u.ID.String())
		switch {
		case err == nil:
			user, hash, temporary = u, stored.Hash, stored.MustChange
		case !errors.Is(err, errAbsent):
			return Identity{}, false, err
		}
	}
	right := false
	if err := i.passwords.do(ctx, func() { right = checkPassword(hash, password.Reveal()) }); err != nil {
		return Identity{}, false, err
	}
	if !right || user.ID.IsZero() {
		return Identity{}, false, i.countFailure(ctx, source, errCredentials())
	}
	who = Identity{Tenant: user.Tenant, User: user.ID, SignedIn: i.now(), Methods: []string{"pwd"}}
	if _, err := person(i.state.Current(), who); err != nil {
		return Identity{}, false, err
	}
	return who, temporary, i.forgive(ctx, canonical)
}

func hashPassword(password string) string {
	var salt [16]byte
	rand.Read(salt[:]) // never fails
	key := argon2.IDKey([]byte(password), salt[:], argonTime, argonMemory, argonLanes, 32)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonLanes, b64.EncodeToString(salt[:]), b64.EncodeToString(key))
}

// checkPassword reports whether a password has a hash. A hash that it cannot
// read matches nothing.
func checkPassword(hash, password string) bool {
	var version, memory, rounds, lanes int
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return false
	}
	if n, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &memory, &rounds, &lanes); n != 4 || err != nil {
		return false
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	want, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(want) != 32 || version != argon2.Version ||
		memory < 8 || memory > 1<<20 || rounds < 1 || rounds > 16 || lanes < 1 || lanes > 8 {
		return false
	}
	got := argon2.IDKey([]byte(password), salt, uint32(rounds), uint32(memory), uint8(lanes), 32)
	return equal(string(got), string(want))
}
