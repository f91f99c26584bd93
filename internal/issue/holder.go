package issue

import (
	"cmp"
	"context"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// A Holder is who signs in with a credential: an application, in every tenant
// that it is in, or with Principal set, one of its service principals.
type Holder struct {
	App       directory.AppID
	Principal principal.ID
}

// id is where a credential lies. Those of a service principal lie beside those of
// its application, so that the same certificate can be of both.
func (h Holder) id(own string) []string {
	id := []string{h.App.String(), own}
	if !h.Principal.IsZero() {
		id = append(id, h.Principal.String())
	}
	return id
}

type key struct{}

// A KeyID tells the credentials of a holder apart.
type KeyID = guid.Of[key]

// NewKeyID returns a fresh random id.
func NewKeyID() KeyID { return guid.New[key]() }

// ParseKeyID returns the id written as s.
func ParseKeyID(s string) (KeyID, error) { return guid.Parse[key](s) }

// A Credential is what a list shows of a secret or certificate: what tells it
// apart, and nothing that would let anybody in.
type Credential struct {
	ID          KeyID
	Name        string
	From, Until time.Time
	// Hint are the first characters of a secret; Thumbprint is the SHA-1 of a
	// certificate in upper-case hex.
	Hint, Thumbprint string
	// Remove is the op that ends it.
	Remove store.PrivateOp
}

// credentials is what listing needs from the store.
type credentials interface {
	PrivateList(ctx context.Context, bucket string, idPrefix ...string) ([]store.PrivateItem, error)
}

// Secrets lists the client secrets of a holder, the oldest first.
func Secrets(ctx context.Context, state credentials, of Holder) ([]Credential, error) {
	return list(ctx, state, bucketSecret, of, func(s storedSecret, item store.PrivateItem) (Credential, principal.ID, error) {
		id, err := secretKeyID(item.ID[1])
		return Credential{ID: id, Name: s.Name, From: s.Created, Until: s.Expires, Hint: s.Hint}, s.Principal, err
	})
}

// Certificates lists the certificates of a holder, the oldest first.
func Certificates(ctx context.Context, state credentials, of Holder) ([]Credential, error) {
	return list(ctx, state, bucketCertificate, of, func(s storedCertificate, _ store.PrivateItem) (Credential, principal.ID, error) {
		cert, err := x509.ParseCertificate(s.DER)
		if err != nil {
			return Credential{}, principal.ID{}, err
		}
		sum := sha1.Sum(cert.Raw)
		c := Credential{ID: s.KeyID, Name: s.Name, From: cert.NotBefore, Until: cert.NotAfter, Thumbprint: strings.ToUpper(hex.EncodeToString(sum[:]))}
		if c.ID.IsZero() { // registered before certificates had ids
			c.ID = KeyID(sum[:len(c.ID)])
		}
		if c.Name == "" {
			c.Name = cert.Subject.String()
		}
		return c, s.Principal, nil
	})
}

func list[T any](ctx context.Context, state credentials, bucket string, of Holder, show func(T, store.PrivateItem) (Credential, principal.ID, error)) ([]Credential, error) {
	items, err := state.PrivateList(ctx, bucket, of.App.String())
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	out := []Credential{}
	for _, item := range items {
		var stored T
		if err := record.Unmarshal(item.Value, &stored); err != nil {
			return nil, fmt.Errorf("read %s: %w", bucket, err)
		}
		c, who, err := show(stored, item)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", bucket, err)
		}
		if who == of.Principal {
			c.Remove = store.PrivateOp{Bucket: bucket, ID: item.ID}
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b Credential) int {
		return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.ID.String(), b.ID.String()))
	})
	return out, nil
}

// secretKeyID is the id of a client secret as a GUID: the same 16 bytes.
func secretKeyID(text string) (KeyID, error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) != len(KeyID{}) {
		return KeyID{}, record.Invalid("%.40q is not the id of a secret", text)
	}
	return KeyID(b), nil
}

// GUID is the id of a new secret by which it is listed.
func (s ClientSecret) GUID() KeyID {
	id, _ := secretKeyID(s.KeyID) // it was made here
	return id
}

// Ending returns the ops that end the credentials of the applications, service
// principals and users that some changes delete from an estate, in one order. A user
// who is made begins without a password, whoever had his id before. Whoever makes the
// changes asks again on the estate that he makes them on, since a credential may come
// between (DIR-05).
func Ending(ctx context.Context, state credentials, est *estate.Snapshot, changes []estate.Op) ([]store.PrivateOp, error) {
	var ops []store.PrivateOp
	for _, op := range changes {
		r, there := est.Get(op.Key())
		if op.Put != nil && !there {
			r = op.Put
		}
		var some []store.PrivateOp
		var err error
		switch r := r.(type) {
		case directory.User:
			if op.Put == nil || !there {
				some = []store.PrivateOp{{Bucket: bucketPassword, ID: []string{r.ID.String()}}}
			}
		case directory.Application:
			if op.Put == nil {
				some, err = forget(ctx, state, Holder{App: r.AppID})
			}
		case directory.ServicePrincipal:
			if op.Put == nil {
				some, err = forget(ctx, state, Holder{App: r.AppID, Principal: r.ID})
			}
		}
		if err != nil {
			return nil, err
		}
		for _, op := range some {
			same := func(o store.PrivateOp) bool { return o.Bucket == op.Bucket && slices.Equal(o.ID, op.ID) }
			if !slices.ContainsFunc(ops, same) {
				ops = append(ops, op)
			}
		}
	}
	return ops, nil
}

// forget returns the ops that end every credential of a holder; of an application,
// those of its service principals as well.
func forget(ctx context.Context, state credentials, of Holder) ([]store.PrivateOp, error) {
	var ops []store.PrivateOp
	if !of.Principal.IsZero() {
		secrets, err1 := Secrets(ctx, state, of)
		certs, err2 := Certificates(ctx, state, of)
		for _, c := range append(secrets, certs...) {
			ops = append(ops, c.Remove)
		}
		return ops, errors.Join(err1, err2)
	}
	for _, bucket := range []string{bucketSecret, bucketCertificate} {
		items, err := state.PrivateList(ctx, bucket, of.App.String())
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		for _, item := range items {
			ops = append(ops, store.PrivateOp{Bucket: bucket, ID: item.ID})
		}
	}
	return ops, nil
}
