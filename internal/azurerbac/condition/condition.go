// Package condition is the language of conditions on role assignments and
// roles, version 2.0. Version 1.0 texts are read and evaluated alike.
//
//	expr    = unary { AND unary } | unary { OR unary }
//	unary   = NOT unary | "(" expr ")" | check
//	check   = ActionMatches{'operation'} | SubOperationMatches{'name'}
//	        | Exists attribute | operand operator operand
//	operand = attribute | literal | "{" literal { "," literal } "}"
//
// Keywords and operators are read in any letter case; && || ! stand for AND,
// OR, NOT. AND and OR do not mix without brackets, because people disagree
// about which of them binds tighter. An attribute is @Source[name] with one of
// four sources; a set needs one of the four prefixes such as
// ForAnyOfAnyValues:, whose first half counts the left side and whose second
// half counts the right side.
//
// Three laws hold. A comparison with an attribute that is absent is false,
// whatever the operator; ask with Exists where absence matters. A value of the
// wrong type is an error, and an error that could change the outcome comes out
// of Eval as an error, also from below a NOT. The result that accompanies an
// error is false.
package condition

import (
	"errors"
	"fmt"
	"time"
)

// Errors of this package. Test for them with errors.Is.
var (
	// ErrSyntax is wrapped by every error of Parse.
	ErrSyntax = errors.New("not a condition")
	// ErrType means that a value was not what its operator compares.
	ErrType = errors.New("wrong type")
	// ErrTooCostly means that the values were too many or too long to compare.
	ErrTooCostly = errors.New("too costly to evaluate")
)

const (
	// MaxLen is the longest text that Parse reads, in bytes.
	MaxLen = 8 << 10
	// maxDepth bounds how deep brackets and NOTs nest; Azure's own editor and
	// built-in roles stay below 10.
	maxDepth = 64
	// maxWork bounds one evaluation, in steps of some nanoseconds each.
	maxWork = 1 << 20
)

// A Source says where an attribute comes from.
type Source string

// The sources of attributes.
const (
	Request     Source = "Request"     // what is asked, such as the role of a new assignment
	Resource    Source = "Resource"    // what it is asked about, as it is now
	Principal   Source = "Principal"   // who asks
	Environment Source = "Environment" // when and from where
)

// Input is what a condition is evaluated against.
type Input struct {
	// Action is the operation, in any letter case.
	Action string
	// SubOperation refines the action, such as Blob.List; often empty. It is
	// also the attribute @Request[subOperation].
	SubOperation string
	// Attribute looks up an attribute by source and canonical name; see
	// CanonicalName. It answers false for one that is absent. Nil means that
	// every attribute is absent.
	Attribute func(source Source, name string) (Value, bool)
	// Now is the attribute @Environment[UtcNow]; the zero time makes it absent.
	Now time.Time
}

// An Expr is a parsed condition. It does not change and may be shared.
type Expr struct {
	root node
	text string
}

// Parse reads a condition.
func Parse(text string) (*Expr, error) {
	if len(text) > MaxLen {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrSyntax, len(text), MaxLen)
	}
	root, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	canonical := string(root.append(nil))
	// The canonical form spells out && and GUIDs, so that it can outgrow the
	// limit; then the text itself is the only form that can be read again.
	if len(canonical) > MaxLen {
		canonical = text
	}
	return &Expr{root, canonical}, nil
}

// String returns the canonical form, which Parse reads as the same condition:
// keywords as the documentation writes them, attributes, operations and GUIDs
// in lower case, no needless brackets. A condition whose canonical form would
// be longer than MaxLen is returned as it was written.
func (e *Expr) String() string {
	if e == nil {
		return ""
	}
	return e.text
}

// Eval reports whether the condition holds. With an error the result is false,
// which does not mean that the opposite holds: a caller that forbids something
// on a condition must forbid it on an error too. A nil Expr is an error.
func (e *Expr) Eval(in Input) (bool, error) {
	if e == nil || e.root == nil {
		return false, errors.New("no condition to evaluate")
	}
	ok, err := e.root.eval(&run{in: in, work: maxWork})
	if err != nil {
		return false, fmt.Errorf("condition: %w", err)
	}
	return ok, nil
}
