package estate

import (
	"iter"

	"github.com/gatehouse-io/gatehouse/internal/record"
)

// Reload returns the estate of records that were stored, at a revision. Unlike Load it
// takes those that refer to what is not there: a house that does not start refuses
// everybody, and then nobody can mend it. Such records can be read, replaced and
// deleted, and until then they grant nothing; see Dangling.
func Reload(revision int64, records iter.Seq[record.Record]) (*Snapshot, error) {
	e, err := bulk(revision, records)
	if err != nil {
		return nil, err
	}
	if err := e.checkTree(); err != nil {
		return nil, err
	}
	s := e.s
	for _, r := range e.put1 {
		if err := s.checkRefers(r); err != nil {
			s.dangle(r, err)
		}
	}
	return s, nil
}

func (s *Snapshot) dangle(r record.Record, why error) {
	if s.dangling == nil {
		s.dangling = make(map[record.Key]error)
	}
	s.dangling[r.Key()] = why
}

// Dangling yields the records that refer to what is not there, and why each does, in
// no order. No change makes one; an earlier version, or who wrote to the database, did.
func (s *Snapshot) Dangling() iter.Seq2[record.Key, error] {
	return func(yield func(record.Key, error) bool) {
		for key, why := range s.dangling {
			if !yield(key, why) {
				return
			}
		}
	}
}

// dangles reports whether a record is there and must grant nothing.
func (s *Snapshot) dangles(r record.Record) bool {
	return len(s.dangling) > 0 && s.dangling[r.Key()] != nil
}

// mend looks again at what dangled in the snapshot that s was made from.
func (s *Snapshot) mend() {
	was := s.dangling
	s.dangling = nil
	for key := range was {
		if r, ok := s.Get(key); ok {
			if err := s.checkRefers(r); err != nil {
				s.dangle(r, err)
			}
		}
	}
	if len(s.dangling) != len(was) {
		s.world = s.world.clone() // so that what everybody has is worked out again
	}
}
