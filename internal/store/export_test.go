package store

// The layout of keys is no business of other packages, but its laws are tested.
var (
	RecordKey      = recordKey
	ParseRecordKey = parseRecordKey
)

// Past is how many snapshots a store keeps for decisions that lag behind.
func Past(s *Store) int {
	s.past.mu.Lock()
	defer s.past.mu.Unlock()
	return len(s.past.list)
}
