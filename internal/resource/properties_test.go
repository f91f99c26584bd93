package resource_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
)

func TestPropertiesHaveOneForm(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{`{}`, `{}`},
		{` { "b" : 1.50, "a" : [ null , 12345678901234567890 ] } `, `{"a":[null,12345678901234567890],"b":1.50}`},
		{`{"a":"\u0041"}`, `{"a":"A"}`},
	} {
		got, err := resource.ParseProperties([]byte(tt.in))
		if err != nil || got.String() != tt.want {
			t.Errorf("ParseProperties(%s) = %s, %v, want %s", tt.in, got, err, tt.want)
		}
		if got.IsZero() != (tt.want == "{}") {
			t.Errorf("%s: IsZero = %t", tt.in, got.IsZero())
		}
	}
	for law, in := range map[string]string{
		"nothing":             ``,
		"no object":           `[]`,
		"ARM-14 a name twice": `{"a":1,"a":2}`,
		"ARM-14 nesting":      `{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
		"a long text":         `{"a":"` + strings.Repeat("x", 40<<10) + `"}`,
		"something behind it": `{} {}`,
		"too much":            `{"a":[` + strings.Repeat("1,", 200<<10) + `1]}`,
	} {
		if got, err := resource.ParseProperties([]byte(in)); !errors.Is(err, record.ErrInvalid) || !got.IsZero() {
			t.Errorf("%s: ParseProperties = %.20s, %v, want ErrInvalid", law, got, err)
		}
	}
}

func FuzzProperties(f *testing.F) {
	f.Add(`{"a":[1.0,{"b":null}]}`)
	f.Fuzz(func(t *testing.T, in string) {
		p, err := resource.ParseProperties([]byte(in))
		if err != nil {
			return
		}
		if again, err := resource.ParseProperties([]byte(p.String())); err != nil || again != p {
			t.Fatalf("%q = %s, which is %s, %v", in, p, again, err)
		}
	})
}
