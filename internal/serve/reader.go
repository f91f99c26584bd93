package serve

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// ErrMalformed is wrapped by every error of a Reader.
var ErrMalformed = errors.New("malformed")

// A Reader reads JSON that others may extend, such as the reviews of a
// kube-apiserver that is newer than this house. Members that it does not know
// are skipped, but a name twice in one object, a known name in another letter
// case, invalid UTF-8, and anything behind the value are errors, so that no two
// readers can take one text for two things.
type Reader struct {
	src bytes.Buffer
	dec jsontext.Decoder
}

var readers = sync.Pool{New: func() any { return new(Reader) }}

// Read calls read with a Reader of text, and makes sure that nothing is left.
// Every error wraps ErrMalformed or comes from read.
func Read(text []byte, read func(*Reader) error) error {
	r := readers.Get().(*Reader)
	defer readers.Put(r)
	r.src = *bytes.NewBuffer(text)
	r.dec.Reset(&r.src)
	// The text belongs to the caller: keep no reference to it.
	defer func() { r.src = bytes.Buffer{}; r.dec.Reset(&r.src) }()
	if err := read(r); err != nil {
		return err
	}
	switch _, err := r.dec.ReadToken(); {
	case err == io.EOF:
		return nil
	case err != nil:
		return malformed(err)
	}
	return fmt.Errorf("%w: something follows the value", ErrMalformed)
}

func malformed(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: %w", ErrMalformed, err)
}

// Object reads an object, or null, which says nothing. It calls member for each
// member that is in known, in the order of the text; member must read the value.
func (r *Reader) Object(known []string, member func(name string) error) error {
	if r.Null() {
		return nil
	}
	if err := r.open('{'); err != nil {
		return err
	}
	for r.dec.PeekKind() != '}' {
		tok, err := r.dec.ReadToken()
		if err != nil {
			return malformed(err)
		}
		name, err := match(tok.String(), known)
		if err != nil {
			return err
		}
		if name == "" {
			err = r.skip()
		} else {
			err = member(name)
		}
		if err != nil {
			return err
		}
	}
	_, err := r.dec.ReadToken()
	return err
}

func match(name string, known []string) (string, error) {
	for _, k := range known {
		if k == name {
			return k, nil
		}
	}
	for _, k := range known {
		// EqualFold knows the long s and the Kelvin sign, as other readers do.
		if strings.EqualFold(k, name) {
			return "", fmt.Errorf("%w: member %.64q must be written %q", ErrMalformed, name, k)
		}
	}
	return "", nil
}

// Map reads an object whose members are lists of texts, or null. It calls entry
// for each.
func (r *Reader) Map(entry func(name string, values []string)) error {
	if r.Null() {
		return nil
	}
	if err := r.open('{'); err != nil {
		return err
	}
	for r.dec.PeekKind() != '}' {
		tok, err := r.dec.ReadToken()
		if err != nil {
			return malformed(err)
		}
		name := tok.String()
		values, err := r.Strings()
		if err != nil {
			return err
		}
		entry(name, values)
	}
	_, err := r.dec.ReadToken()
	return err
}

// Strings reads a list of texts, or null.
func (r *Reader) Strings() ([]string, error) {
	if r.Null() {
		return nil, nil
	}
	if err := r.open('['); err != nil {
		return nil, err
	}
	list := make([]string, 0, 4)
	for r.dec.PeekKind() != ']' {
		s, err := r.String()
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	_, err := r.dec.ReadToken()
	return list, err
}

// String reads a text, or null, which is the empty text.
func (r *Reader) String() (string, error) {
	tok, err := r.dec.ReadToken()
	switch {
	case err != nil:
		return "", malformed(err)
	case tok.Kind() == 'n':
		return "", nil
	case tok.Kind() != '"':
		return "", fmt.Errorf("%w: %v where a text belongs", ErrMalformed, tok.Kind())
	}
	return tok.String(), nil
}

// Raw returns a value as it is written, with no name twice in one object. It is
// the caller's to keep.
func (r *Reader) Raw() (jsontext.Value, error) {
	v, err := r.dec.ReadValue()
	if err != nil {
		return nil, malformed(err)
	}
	return v.Clone(), nil
}

// Skip reads a value and forgets it.
func (r *Reader) Skip() error { return r.skip() }

func (r *Reader) skip() error {
	if err := r.dec.SkipValue(); err != nil {
		return malformed(err)
	}
	return nil
}

// Null reads null, if that comes next, and reports whether it did.
func (r *Reader) Null() bool {
	if r.dec.PeekKind() != 'n' {
		return false
	}
	_, err := r.dec.ReadToken()
	return err == nil
}

func (r *Reader) open(kind jsontext.Kind) error {
	tok, err := r.dec.ReadToken()
	if err != nil {
		return malformed(err)
	}
	if tok.Kind() != kind {
		return fmt.Errorf("%w: %v where %v belongs", ErrMalformed, tok.Kind(), kind)
	}
	return nil
}
