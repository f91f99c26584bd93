package issue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// The buckets of private state. Ids are digests of what clients hold, or public ids.
const (
	bucketCode        = "code"
	bucketDevice      = "device"
	bucketUserCode    = "usercode"
	bucketFamily      = "family"
	bucketSession     = "session"
	bucketAttempts    = "attempts"
	bucketReplay      = "jti"
	bucketPassword    = "password"
	bucketSecret      = "clientsecret"
	bucketCertificate = "certificate"
	bucketIdentity    = "identitysession"
)

// Outcomes of state that callers in this package branch on.
var (
	errAbsent  = errors.New("no such state")
	errChanged = errors.New("the state changed meanwhile")
)

// load reads an item into v and returns its revision.
func (i *Issuer) load(ctx context.Context, v any, bucket string, id ...string) (int64, error) {
	item, err := i.state.Private(ctx, bucket, id...)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return 0, errAbsent
	case err != nil:
		return 0, errUnavailable(err)
	case !item.Expires.IsZero() && !i.now().Before(item.Expires):
		return item.Rev, errAbsent
	}
	if err := record.Unmarshal(item.Value, v); err != nil {
		return 0, fmt.Errorf("read %s: %w", bucket, err)
	}
	return item.Rev, nil
}

// put returns the op that stores v. A nil ifRev overwrites whatever is there.
func put(v any, expires time.Time, ifRev *int64, bucket string, id ...string) (store.PrivateOp, error) {
	data, err := record.Marshal(v)
	if err != nil {
		return store.PrivateOp{}, fmt.Errorf("write %s: %w", bucket, err)
	}
	return store.PrivateOp{Bucket: bucket, ID: id, Value: data, Expires: expires, IfRev: ifRev}, nil
}

// commit writes all ops or none.
func (i *Issuer) commit(ctx context.Context, ops ...store.PrivateOp) error {
	return translate(i.state.CommitPrivate(ctx, ops...))
}

// audited writes all ops or none, with a record of who did it and why.
func (i *Issuer) audited(ctx context.Context, change store.Change) error {
	_, err := i.state.Commit(ctx, change)
	return translate(err)
}

func translate(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrConflict):
		return errChanged
	}
	return errUnavailable(err)
}
