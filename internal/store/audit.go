package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-io/gatehouse/internal/alert"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

// An AuditRecord is one link of the audit chain: who changed what, when and why.
type AuditRecord struct {
	Schema int `json:"schema"`
	// Seq counts from 1 without a hole.
	Seq int64 `json:"seq"`
	// Prev is the SHA-256 of the record before as it lies in the database, in
	// hexadecimal; "" for the first.
	Prev string    `json:"prev"`
	Time time.Time `json:"time"`
	// Request is random and names the attempt, so that a writer that lost the
	// answer finds out what became of it.
	Request string `json:"request"`
	// By is who; the zero ID is the house itself.
	By      principal.ID   `json:"by,omitzero"`
	Why     string         `json:"why,omitzero"`
	Changes []AuditChange  `json:"changes,omitempty"`
	Private []AuditPrivate `json:"private,omitempty"`
	// Uses are secrets that were read and keys that were used, by whom each says
	// itself: many may share a record, so that reading is not slower than writing.
	Uses []Use `json:"uses,omitempty"`
	// Alerts are what somebody ought to look at: identities of clusters outside of
	// them. The changes of the record may have caused them.
	Alerts []alert.Alert `json:"alerts,omitempty"`
}

// A Use is one secret read, or one private key used.
type Use struct {
	By   principal.ID `json:"by"`
	Time time.Time    `json:"time"`
	// Action is the operation that was allowed, such as
	// Microsoft.KeyVault/vaults/secrets/getSecret/action.
	Action string `json:"action"`
	// On is what: the scope of the vault, the kind, the name and the version.
	On []string `json:"on"`
	// Request is the id of the request, which the answer carried.
	Request string `json:"request,omitzero"`
}

// An AuditChange is one record put (Value is the whole of it) or deleted (Was is).
type AuditChange struct {
	Kind  record.Kind    `json:"kind"`
	Parts []string       `json:"parts"`
	Value jsontext.Value `json:"value,omitempty"`
	Was   jsontext.Value `json:"was,omitempty"`
}

// An AuditPrivate is one private item put or deleted. Its value is not told.
type AuditPrivate struct {
	Bucket string   `json:"bucket"`
	ID     []string `json:"id"`
	Delete bool     `json:"delete,omitzero"`
}

// A head is the end of the chain: how many records it has, and the hash of the
// last one.
type head struct {
	seq  int64
	hash string
}

// sealedHead is a head in the database. The seal is made with the key of the
// house, so that who can write to the database but not open the key cannot end
// the chain elsewhere.
type sealedHead struct {
	Schema int    `json:"schema"`
	Seq    int64  `json:"seq"`
	Hash   string `json:"hash"`
	Seal   []byte `json:"seal"`
}

func (h head) binding(store string) []byte {
	return bind("audit head", store, strconv.FormatInt(h.seq, 10), h.hash)
}

func (s *Store) encodeHead(h head) ([]byte, error) {
	return record.Marshal(sealedHead{Schema: schema, Seq: h.seq, Hash: h.hash, Seal: s.sealer.Seal(nil, h.binding(s.id))})
}

func (s *Store) decodeHead(value []byte) (head, error) {
	var sealed sealedHead
	if err := record.Unmarshal(value, &sealed); err != nil {
		return head{}, fmt.Errorf("%s: %w: %w", headKey, ErrSchema, err)
	}
	if sealed.Schema != schema {
		return head{}, fmt.Errorf("%s has schema %d: %w", headKey, sealed.Schema, ErrSchema)
	}
	h := head{seq: sealed.Seq, hash: sealed.Hash}
	if _, err := s.sealer.Open(sealed.Seal, h.binding(s.id)); err != nil {
		return head{}, fmt.Errorf("%s: %w: %w", headKey, ErrTampered, err)
	}
	return h, nil
}

func (s *Store) readHead(ctx context.Context) (head, int64, error) {
	item, _, err := s.kv.Get(ctx, headKey)
	if err != nil {
		return head{}, 0, err
	}
	if item.Rev == 0 {
		return head{}, 0, fmt.Errorf("the head of the audit chain is missing: %w", ErrTampered)
	}
	h, err := s.decodeHead(item.Value)
	return h, item.Rev, err
}

// append returns the writes that put a record at the end of the chain, to be
// made under the condition that the head is still what it was.
func (s *Store) append(h head, r AuditRecord) ([]Write, head, error) {
	r.Schema, r.Seq, r.Prev = schema, h.seq+1, h.hash
	value, err := record.Marshal(r)
	if err != nil {
		return nil, head{}, fmt.Errorf("audit record: %w", err)
	}
	next := head{seq: r.Seq, hash: hashOf(value)}
	end, err := s.encodeHead(next)
	if err != nil {
		return nil, head{}, err
	}
	return []Write{{Key: auditKey(r.Seq), Value: value}, {Key: headKey, Value: end}}, next, nil
}

func hashOf(value []byte) string {
	sum := sha256.Sum256(value)
	return hex.EncodeToString(sum[:])
}

// Audit yields the audit records from a sequence number on, as of one revision.
// It ends after the first error.
func (s *Store) Audit(ctx context.Context, from int64) iter.Seq2[AuditRecord, error] {
	return func(yield func(AuditRecord, error) bool) {
		after := auditKey(max(from, 1) - 1)
		for item, err := range s.items(ctx, auditPrefix, after, 0) {
			var r AuditRecord
			if err == nil {
				r, err = decodeAudit(item)
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// AuditBack yields the audit records from a sequence number on, back to the first,
// newest first. It ends after the first error. What is younger than from does not
// disturb it, because records are never changed.
func (s *Store) AuditBack(ctx context.Context, from int64) iter.Seq2[AuditRecord, error] {
	const pageSize = 50 // an audit record may be megabytes
	return func(yield func(AuditRecord, error) bool) {
		for ; from > 0; from -= pageSize {
			before := max(from-pageSize, 0)
			page, err := s.kv.Range(ctx, auditPrefix, auditKey(before), int(from-before), 0)
			if err != nil {
				yield(AuditRecord{}, err)
				return
			}
			for _, item := range slices.Backward(page.Items) {
				r, err := decodeAudit(item)
				if err == nil && r.Seq > from {
					continue // of a chain with a hole, which verify finds
				}
				if !yield(r, err) || err != nil {
					return
				}
			}
		}
	}
}

// AuditUntil returns the sequence number of the last audit record that is not from
// after an instant; 0 when there is none. The clocks of replicas may differ, so that
// a record near the instant may be on the wrong side.
func (s *Store) AuditUntil(ctx context.Context, until time.Time) (int64, error) {
	s.mu.Lock()
	first, end := int64(0), s.head.seq
	s.mu.Unlock()
	for first < end {
		middle := first + (end-first+1)/2
		item, _, err := s.kv.Get(ctx, auditKey(middle))
		if err != nil {
			return 0, err
		}
		r, err := decodeAudit(item)
		if err != nil {
			return 0, err
		}
		if r.Time.After(until) {
			end = middle - 1
		} else {
			first = middle
		}
	}
	return first, nil
}

func decodeAudit(item Item) (AuditRecord, error) {
	var r AuditRecord
	if err := record.Unmarshal(item.Value, &r); err != nil {
		return AuditRecord{}, fmt.Errorf("%s: %w: %w", item.Key, ErrTampered, err)
	}
	if r.Schema != schema {
		return AuditRecord{}, fmt.Errorf("%s has schema %d: %w", item.Key, r.Schema, ErrSchema)
	}
	return r, nil
}

// VerifyAudit walks the whole chain and returns how many records it has.
// ErrTampered says at which record something was changed, deleted, put in or
// cut off. It cannot tell that the whole database was set back to an earlier
// state; compare the count with one that was noted elsewhere.
func (s *Store) VerifyAudit(ctx context.Context) (int64, error) {
	page, err := s.kv.Range(ctx, headKey, "", 1, 0)
	if err != nil {
		return 0, fmt.Errorf("verify audit log: %w", err)
	}
	if len(page.Items) == 0 || page.Items[0].Key != headKey {
		return 0, fmt.Errorf("verify audit log: its head is missing: %w", ErrTampered)
	}
	end, err := s.decodeHead(page.Items[0].Value)
	if err != nil {
		return 0, fmt.Errorf("verify audit log: %w", err)
	}
	var at head
	for item, err := range s.items(ctx, auditPrefix, "", page.Rev) {
		if err != nil {
			return at.seq, fmt.Errorf("verify audit log: %w", err)
		}
		var r AuditRecord
		follows := item.Key == auditKey(at.seq+1)
		if follows {
			if r, err = decodeAudit(item); err != nil {
				return at.seq, fmt.Errorf("verify audit log: %w", err)
			}
		}
		if !follows || r.Seq != at.seq+1 || r.Prev != at.hash {
			return at.seq, fmt.Errorf("verify audit log: %s does not follow record %d: %w", item.Key, at.seq, ErrTampered)
		}
		// The bytes are hashed as they lie there; they must also be the only
		// spelling of what they say, or a reader might take them for another thing.
		if again, err := record.Marshal(r); err != nil || !bytes.Equal(again, item.Value) {
			return at.seq, fmt.Errorf("verify audit log: %s is not in its one spelling: %w", item.Key, ErrTampered)
		}
		at = head{seq: r.Seq, hash: hashOf(item.Value)}
	}
	if at != end {
		return at.seq, fmt.Errorf("verify audit log: it ends at record %d, its head says %d: %w", at.seq, end.seq, ErrTampered)
	}
	return at.seq, nil
}

// items yields what lies under a prefix after a key, in pages of one revision;
// 0 is the newest.
func (s *Store) items(ctx context.Context, prefix, after string, rev int64) iter.Seq2[Item, error] {
	const pageSize = 250 // an audit record may be megabytes
	return func(yield func(Item, error) bool) {
		for {
			page, err := s.kv.Range(ctx, prefix, after, pageSize, rev)
			if err != nil {
				yield(Item{}, err)
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
				after = item.Key
			}
			if !page.More || len(page.Items) == 0 {
				return
			}
			rev = page.Rev
		}
	}
}
