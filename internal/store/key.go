package store

import (
	"crypto/sha256"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/record"
)

// The layout of the database. The audit chain's head lies beside the estate and
// not beside the audit records, so that one watch of the prefix watched brings
// each change together with its place in the chain.
// Prefix is where all keys of a store lie.
const Prefix = "/gatehouse/v1/"

const (
	root          = Prefix
	metaKey       = root + "meta"
	watched       = root + "estate"
	headKey       = root + "estate-head"
	estatePrefix  = root + "estate/"
	privatePrefix = root + "private/"
	auditPrefix   = root + "audit/"
)

// recordKey is where a record lies. Its parts are escaped one by one, so that
// no two records share a key whatever their names are made of.
func recordKey(k record.Key) string {
	n := len(k.Parts)
	for n > 0 && k.Parts[n-1] == "" {
		n--
	}
	return estatePrefix + string(k.Kind) + "/" + join(k.Parts[:n])
}

// parseRecordKey is the inverse of recordKey. Other spellings are refused.
func parseRecordKey(key string) (record.Key, error) {
	rest, ok := strings.CutPrefix(key, estatePrefix)
	kind, path, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 || !slices.Contains(record.Kinds, record.Kind(kind)) {
		return record.Key{}, fmt.Errorf("key %q is of no known kind: %w", key, ErrSchema)
	}
	parts, err := split(path)
	k := record.Key{Kind: record.Kind(kind)}
	if err != nil || len(parts) > len(k.Parts) {
		return record.Key{}, fmt.Errorf("key %q is malformed: %w", key, ErrSchema)
	}
	copy(k.Parts[:], parts)
	if recordKey(k) != key {
		return record.Key{}, fmt.Errorf("key %q is not in its one spelling: %w", key, ErrSchema)
	}
	return k, nil
}

// privateKey is where a private item lies.
func privateKey(bucket string, id []string) string {
	return privatePrefix + url.PathEscape(bucket) + "/" + join(id)
}

// auditKey is where an audit record lies; keys sort as their numbers do.
func auditKey(seq int64) string { return fmt.Sprintf("%s%020d", auditPrefix, seq) }

func join(parts []string) string {
	escaped := make([]string, len(parts))
	for i, p := range parts {
		escaped[i] = url.PathEscape(p)
	}
	return strings.Join(escaped, "/")
}

func split(path string) ([]string, error) {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		var err error
		if parts[i], err = url.PathUnescape(p); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// A digest stands for a key in memory: it is short, and nobody can make two
// keys that share one.
type digest [16]byte

func digestOf(key string) digest {
	sum := sha256.Sum256([]byte(key))
	return digest(sum[:16])
}
