package issue

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/store"
)

// Guessing is counted in the store, so that replicas share the counts. A name is
// counted in its canonical spelling and whether or not it exists, and an attempt
// is counted before it is made, so that many at once are not more than the limit.
const (
	attemptWindow = 10 * time.Minute
	maxPerName    = 10
	maxPerSource  = 100

	// A user code has 20^9 values. With 300 wrong codes in a window, from everybody
	// together, and 10,000 codes waiting, the chance that somebody hits one within
	// a day is below 1 in 1,000.
	maxCodesPerBrowser = 5
	maxCodesPerSource  = 20
	maxCodesAtAll      = 300
)

// attempts is a counter that starts anew when its window is over.
type attempts struct {
	Count int       `json:"count"`
	Until time.Time `json:"until"`
}

func errLocked() *Error {
	return refuse(invalidGrant, 50053, "The account is locked, you've tried to sign in too many times with an incorrect user ID or password.")
}

func errTooManyCodes(until time.Duration) *Error {
	return &Error{OAuth: temporarily, Code: 90055, Status: http.StatusTooManyRequests, RetryAfter: until,
		Text: "Too many codes that do not exist were entered. Try again later."}
}

// reserve counts an attempt on a name before it is made, and refuses when the
// name or the source has had too many.
func (i *Issuer) reserve(ctx context.Context, source, name string) error {
	if n, err := i.count(ctx, "source", source); err != nil {
		return err
	} else if n >= maxPerSource {
		return errLocked()
	}
	if name == "" {
		return nil
	}
	ok, err := i.add(ctx, "name", name, maxPerName)
	switch {
	case err != nil:
		return err
	case !ok:
		return errLocked()
	}
	return nil
}

// countFailure counts a failed attempt of a source. It returns the refusal,
// unless it could not count: then nothing is said about the attempt.
func (i *Issuer) countFailure(ctx context.Context, source string, refusal *Error) error {
	if _, err := i.add(ctx, "source", source, maxPerSource); err != nil {
		return err
	}
	return refusal
}

// forgive forgets the attempts on a name whose owner has come.
func (i *Issuer) forgive(ctx context.Context, name string) error {
	err := i.commit(ctx, store.PrivateOp{Bucket: bucketAttempts, ID: []string{"name", digest("name", name)}})
	if errors.Is(err, errChanged) {
		return nil
	}
	return err
}

// count returns how many attempts a counter holds now.
func (i *Issuer) count(ctx context.Context, kind, key string) (int, error) {
	var a attempts
	_, err := i.load(ctx, &a, bucketAttempts, kind, digest(kind, key))
	switch {
	case errors.Is(err, errAbsent):
		return 0, nil
	case err != nil:
		return 0, err
	case !i.now().Before(a.Until):
		return 0, nil
	}
	return a.Count, nil
}

// add counts one more, unless limit is reached, and reports whether it did.
func (i *Issuer) add(ctx context.Context, kind, key string, limit int) (bool, error) {
	id := []string{kind, digest(kind, key)}
	for range 8 {
		var a attempts
		rev, err := i.load(ctx, &a, bucketAttempts, id...)
		if err != nil && !errors.Is(err, errAbsent) {
			return false, err
		}
		now := i.now()
		if err != nil || !now.Before(a.Until) {
			a = attempts{Until: now.Add(attemptWindow)}
		}
		if a.Count >= limit {
			return false, nil
		}
		a.Count++
		op, err := put(a, a.Until, &rev, bucketAttempts, id...)
		if err != nil {
			return false, err
		}
		if err = i.commit(ctx, op); err == nil {
			return true, nil
		} else if !errors.Is(err, errChanged) {
			return false, err
		}
	}
	return false, errBusy()
}
