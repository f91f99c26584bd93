package store

import (
	"context"
	"errors"
)

// Errors that callers branch on. Test for them with errors.Is.
var (
	// ErrNotFound says that nothing live is stored under the name.
	ErrNotFound = errors.New("not found")
	// ErrConflict says that something changed since it was read; nothing was written.
	ErrConflict = errors.New("changed since it was read")
	// ErrUnavailable says that the store cannot be asked right now. Unless the
	// error is ErrUnknown as well, nothing was written.
	ErrUnavailable = errors.New("the store is unavailable")
	// ErrUnknown says that a write may or may not have happened. Such errors are
	// ErrUnavailable too.
	ErrUnknown = errors.New("it is not known whether the write happened")
	// ErrNoSpace says that the store takes no writes before space is freed.
	ErrNoSpace = errors.New("the store is out of space")
	// ErrTooLarge says that a change exceeds what one transaction may hold. The
	// store never splits a change, because half of it could then be lost.
	ErrTooLarge = errors.New("too large for one transaction")
	// ErrCompacted says that the history asked for is gone: read everything anew.
	ErrCompacted = errors.New("the history was compacted")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("the store is closed")
)

// A KV is what the store needs from a database: one ordered map of keys under
// one sequence of revisions. Every transaction that writes takes the next
// revision. The package storetest says in tests what an implementation must do.
type KV interface {
	// Get returns the newest item under key, with its Rev 0 if there is none, and
	// the revision of the whole map. It is linearizable: it sees every write that
	// was acknowledged before it was called, through whichever member.
	Get(ctx context.Context, key string) (Item, int64, error)

	// Range returns, in order, up to limit items whose keys start with prefix and
	// come after the key after, as they were at revision rev; 0 is the newest, and
	// the Page says which that was. A revision that is gone is ErrCompacted.
	Range(ctx context.Context, prefix, after string, limit int, rev int64) (Page, error)

	// Txn makes all writes at one new revision if all conditions hold, and nothing
	// otherwise; ok says which. A key may be written once. A transaction over the
	// Limits is ErrTooLarge. An error that is not ErrUnknown means: not written.
	Txn(ctx context.Context, conds []Cond, writes []Write) (rev int64, ok bool, err error)

	// Watch follows the keys that start with prefix, from revision from on. The
	// Watcher must be closed.
	Watch(ctx context.Context, prefix string, from int64) Watcher

	// Limits are the bounds of one transaction.
	Limits() Limits

	Close() error
}

// An Item is one key's value and the revision that wrote it.
type Item struct {
	Key   string
	Value []byte
	Rev   int64
}

// A Page is a part of a range, all of one revision.
type Page struct {
	Items []Item
	Rev   int64
	More  bool // the range goes on after the last item
}

// A Cond holds if the key was last written at Rev; 0 if it does not exist.
type Cond struct {
	Key string
	Rev int64
}

// A Write sets a key, or deletes it.
type Write struct {
	Key    string
	Value  []byte
	Delete bool
}

// Limits bound one transaction: how many writes (and as many conditions), and
// how many bytes all in all.
type Limits struct{ Ops, Bytes int }

// A Watcher delivers changes in order of their revisions, none left out. What it
// cannot deliver it reports: a batch with Err is the last one.
type Watcher interface {
	// Batches is closed after a batch with Err, and after Close.
	Batches() <-chan Batch
	// AskProgress asks for a batch that says up to which revision everything was
	// delivered, even if nothing under the prefix changed. It may be lost.
	AskProgress(ctx context.Context) error
	Close()
}

// A Batch is news of a Watcher: every change up to Rev has been delivered when
// these events have been. It never ends inside a revision.
type Batch struct {
	Rev    int64
	Events []Event
	// Err ends the watch: ErrCompacted if the history is gone, else ErrUnavailable.
	Err error
}

// An Event is one key written or deleted at Item.Rev.
type Event struct {
	Item
	Delete bool
}
