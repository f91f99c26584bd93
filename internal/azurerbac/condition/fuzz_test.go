package condition_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac/condition"
)

// FuzzParse states two laws: no condition together with an error, and the
// canonical form is the same condition.
func FuzzParse(f *testing.F) {
	for _, v := range readVectors(f) {
		f.Add(v.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := condition.Parse(text)
		if err != nil {
			if e != nil {
				t.Fatalf("Parse(%q) = %v together with %v", text, e, err)
			}
			return
		}
		again, err := condition.Parse(e.String())
		if err != nil {
			t.Fatalf("Parse(%q) = %q, which does not parse: %v", text, e, err)
		}
		if again.String() != e.String() {
			t.Fatalf("Parse(%q) = %q, which parses to %q", text, e, again)
		}
		in := condition.Input{Action: "a/read", Attribute: func(condition.Source, string) (condition.Value, bool) {
			return condition.String("a"), true
		}}
		ok, err := e.Eval(in)
		ok2, err2 := again.Eval(in)
		if ok != ok2 || (err == nil) != (err2 == nil) {
			t.Fatalf("%q is %t, %v, but its canonical form %t, %v", text, ok, err, ok2, err2)
		}
	})
}

// FuzzEval states: true never comes with an error, the negation of an error is
// an error, and no evaluation takes long.
func FuzzEval(f *testing.F) {
	for _, v := range readVectors(f) {
		f.Add(v.text, "a/b/read", "red", int64(10), uint8(0))
	}
	f.Fuzz(func(t *testing.T, text, action, s string, n int64, pick uint8) {
		e, err := condition.Parse(text)
		if err != nil {
			return
		}
		values := []condition.Value{
			{}, condition.String(s), condition.String(strings.Split(s, ",")...), condition.Number(n),
			condition.Bool(n > 0), condition.Time(time.Unix(n, 0)), condition.GUID([16]byte{15: byte(n)}),
		}
		in := condition.Input{Action: action, SubOperation: s, Now: time.Unix(1_700_000_000, 0), Attribute: func(_ condition.Source, name string) (condition.Value, bool) {
			return values[(int(pick)+len(name))%len(values)], true
		}}
		start := time.Now()
		ok, err := e.Eval(in)
		if took := time.Since(start); took > 10*time.Second {
			t.Fatalf("%q took %v", text, took)
		}
		if ok && err != nil {
			t.Fatalf("%q is true together with %v", text, err)
		}
		opposite, err2 := condition.Parse("NOT (" + e.String() + ")")
		if err2 != nil {
			return // too long or too deep with the negation
		}
		not, err2 := opposite.Eval(in)
		if (err == nil) != (err2 == nil) || err == nil && not == ok || err != nil && not {
			t.Fatalf("%q is %t, %v, but its negation is %t, %v", text, ok, err, not, err2)
		}
	})
}
