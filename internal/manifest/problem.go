package manifest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxProblems bounds what one Decode reports; whoever has more reads them in turns.
const maxProblems = 100

// A Problem is one mistake in an estate file: where it is, what it is, and what
// to do about it.
type Problem struct {
	File string
	Line int // counted from 1; 0 when the problem is the file itself
	What string
	Next string
}

// Error reads "file:line: what: next step".
func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	b.WriteString(": " + p.What)
	if p.Next != "" {
		b.WriteString(": " + p.Next)
	}
	return b.String()
}

// problems collects every mistake of a set of files.
type problems struct{ list []*Problem }

func (ps *problems) add(file string, line int, what, next string) {
	ps.list = append(ps.list, &Problem{File: file, Line: line, What: what, Next: next})
}

// err returns the problems by file and line, joined, or nil if there are none.
func (ps *problems) err() error {
	if len(ps.list) == 0 {
		return nil
	}
	slices.SortStableFunc(ps.list, func(a, b *Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	var errs []error
	for i, p := range ps.list {
		if i == maxProblems {
			errs = append(errs, fmt.Errorf("and %d more problems", len(ps.list)-i))
			break
		}
		errs = append(errs, p)
	}
	return errors.Join(errs...)
}
