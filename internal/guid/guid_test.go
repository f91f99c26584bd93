package guid_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/guid"
)

type thing struct{}

func TestOneSpellingInAndOneOut(t *testing.T) { // DIR-17
	t.Parallel()
	const canonical = "01234567-89ab-cdef-0123-456789abcdef"
	for _, in := range []string{canonical, strings.ToUpper(canonical)} {
		id, err := guid.Parse[thing](in)
		if err != nil || id.String() != canonical {
			t.Errorf("Parse(%q) = %q, %v, want %q", in, id, err, canonical)
		}
	}
	for _, in := range []string{
		"", "{" + canonical + "}", strings.ReplaceAll(canonical, "-", ""), " " + canonical, canonical + "\n",
		"01234567-89ab-cdef-0123-456789abcdeg", "0123456-789ab-cdef-0123-456789abcdef", "00000000-0000-0000-0000-000000000000",
	} {
		if id, err := guid.Parse[thing](in); !errors.Is(err, guid.ErrInvalid) || !id.IsZero() {
			t.Errorf("Parse(%q) = %q, %v, want nothing and ErrInvalid", in, id, err)
		}
	}
}

func TestTheZeroValueNamesNothing(t *testing.T) {
	t.Parallel()
	var id guid.Of[thing]
	if !id.IsZero() || id.String() != "" {
		t.Errorf("zero id: IsZero = %t, String = %q", id.IsZero(), id)
	}
	full := guid.New[thing]()
	if err := full.UnmarshalText(nil); err != nil || !full.IsZero() {
		t.Errorf("the empty text leaves %q, %v, want the zero id", full, err)
	}
	full = guid.New[thing]()
	kept := full
	if err := full.UnmarshalText([]byte("x")); err == nil || full != kept {
		t.Errorf("a bad text leaves %q, %v, want an error and %q", full, err, kept)
	}
}

func TestNewIdsDifferAndAreOfVersion4(t *testing.T) {
	t.Parallel()
	a, b := guid.New[thing](), guid.New[thing]()
	if a == b || a.String()[14] != '4' || !strings.ContainsRune("89ab", rune(a.String()[19])) {
		t.Errorf("New = %s and %s", a, b)
	}
}

func FuzzParseRoundTrips(f *testing.F) {
	f.Add("01234567-89AB-cdef-0123-456789abcdef")
	f.Fuzz(func(t *testing.T, in string) {
		id, err := guid.Parse[thing](in)
		if err != nil {
			if !id.IsZero() {
				t.Fatalf("Parse(%q) = %q together with %v", in, id, err)
			}
			return
		}
		if again, err := guid.Parse[thing](id.String()); err != nil || again != id || !strings.EqualFold(in, id.String()) {
			t.Fatalf("Parse(%q) = %q, which parses to %q, %v", in, id, again, err)
		}
	})
}
