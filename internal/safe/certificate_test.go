package safe_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/safe"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/vault"
)

// A mute state does not answer about keys.
type mute struct{ *store.Store }

func (m mute) Private(ctx context.Context, bucket string, id ...string) (store.PrivateItem, error) {
	if len(id) > 1 && id[1] == string(vault.Keys) {
		return store.PrivateItem{}, store.ErrUnavailable
	}
	return m.Store.Private(ctx, bucket, id...)
}

// Whoever trusts a certificate by its key must not find another one because the store
// was away for a moment.
func TestAKeyThatIsToBeKeptIsNotReplacedByAFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := ref(kv, vault.Certificates, "c")
	policy, err := vault.Policy{Subject: "CN=c", Key: vault.KeySpec{Type: vault.EC}, ReuseKey: true}.Complete()
	w.must(err)
	n, err := w.Issue(safe.NewCertificate{Name: "c", Policy: policy}, vault.PrivateKey{})
	w.must(err)
	w.must(w.Edit(t.Context(), safe.Actor{}, safe.Companions(c), func(now []safe.Found) ([]safe.Edit, error) { return w.Edits(now, n) }))
	key := func() []byte {
		o, err := w.Get(t.Context(), safe.Companions(c)[1])
		w.must(err)
		return o.Current.Key.SPKI
	}
	before := key()
	silent, err := safe.New(safe.Config{State: mute{w.store}, Now: w.now})
	w.must(err)
	if got, err := silent.KeyOf(t.Context(), c, policy); !errors.Is(err, store.ErrUnavailable) || !got.IsZero() {
		t.Errorf("while the store does not answer: %v, want ErrUnavailable", err)
	}
	if _, err := w.Renew(t.Context(), safe.Actor{}, c, vault.ID{}); err != nil || !bytes.Equal(key(), before) {
		t.Errorf("the key was to be kept: %v", err)
	}
	if got, err := w.KeyOf(t.Context(), ref(kv, vault.Certificates, "none"), policy); err != nil || !got.IsZero() {
		t.Errorf("the first version has no key before it: %v", err)
	}
}
