package issue_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// A distant state has no user code, and takes a second to say so.
type distant struct {
	issue.State
	mu     sync.Mutex
	items  map[string]store.PrivateItem
	looked int // at user codes
}

func (d *distant) Private(_ context.Context, bucket string, id ...string) (store.PrivateItem, error) {
	if bucket == "usercode" {
		time.Sleep(time.Second) // in the bubble
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if bucket == "usercode" {
		d.looked++
	}
	item, ok := d.items[bucket+" "+strings.Join(id, " ")]
	if !ok {
		return store.PrivateItem{}, store.ErrNotFound
	}
	return item, nil
}

func (d *distant) CommitPrivate(_ context.Context, ops ...store.PrivateOp) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, op := range ops {
		key := op.Bucket + " " + strings.Join(op.ID, " ")
		if was := d.items[key]; op.IfRev != nil && *op.IfRev != was.Rev {
			return store.ErrConflict
		}
		d.items[key] = store.PrivateItem{Value: op.Value, Expires: op.Expires, Rev: d.items[key].Rev + 1}
	}
	return nil
}

// No keys sign nothing.
type noKeys struct{ issue.Keys }

func (noKeys) Set() token.KeySet { return token.KeySet{} }

// OA-30: codes that are sent at once are counted as those that are sent one after the
// other, however long the store takes.
func TestUserCodesCannotBeGuessedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		state := &distant{items: make(map[string]store.PrivateItem)}
		i, err := issue.New(issue.Config{State: state, Keys: noKeys{}, Authority: "https://gatehouse.example"})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for n := range 40 {
			wg.Go(func() {
				typed := fmt.Sprintf("BCDFGHJ%c%c", "BCDFG"[n%5], "BCDFGHJK"[n/5])
				if _, err := i.FindDevice(t.Context(), typed, "browser", "source"); !errors.Is(err, issue.ErrNoSuchCode) && code(err) != 90055 {
					t.Errorf("guess %d: %v", n+1, err)
				}
			})
		}
		wg.Wait()
		if state.looked != 5 {
			t.Errorf("%d of 40 codes that one browser sent at once were looked at, want 5", state.looked)
		}
	})
}
