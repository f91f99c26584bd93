package condition_test

import (
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac/condition"
	"github.com/gatehouse-io/gatehouse/internal/guid"
)

//go:embed testdata/vectors.txt
var vectors string

// A vector is one line of testdata/vectors.txt, in its group.
type vector struct {
	law, given, want, text string
}

func readVectors(t testing.TB) []vector {
	t.Helper()
	var all []vector
	var at vector
	for line := range strings.Lines(vectors) {
		line = strings.TrimSpace(line)
		word, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		switch word {
		case "", "#":
		case "##":
			at = vector{law: rest}
		case "given":
			at.given = rest
		case "true", "false", "syntax", "type", "costly":
			at.want, at.text = word, rest
			all = append(all, at)
		default:
			t.Fatalf("testdata/vectors.txt: %q", line)
		}
	}
	return all
}

// TestVectors is the table of documented semantics (AZ-12, AZ-13).
func TestVectors(t *testing.T) {
	t.Parallel()
	all := readVectors(t)
	if len(all) < 200 {
		t.Fatalf("%d vectors, want at least 200", len(all))
	}
	for i, v := range all {
		t.Run(fmt.Sprintf("%s/%d", v.law, i), func(t *testing.T) {
			t.Parallel()
			e, err := condition.Parse(v.text)
			if v.want == "syntax" {
				if !errors.Is(err, condition.ErrSyntax) || e != nil {
					t.Errorf("Parse(%q) = %v, %v, want a syntax error and nothing else", v.text, e, err)
				}
				return
			}
			if err != nil {
				t.Fatalf("Parse(%q): %v", v.text, err)
			}
			in := input(t, v.given)
			if got := outcome(e, in); got != v.want {
				t.Errorf("%s\ngiven %s\nis %s, want %s", v.text, v.given, got, v.want)
			}
			again, err := condition.Parse(e.String())
			if err != nil || again.String() != e.String() {
				t.Fatalf("Parse(%q) = %v, %v, want the same condition", e, again, err)
			}
			if got := outcome(again, in); got != v.want {
				t.Errorf("canonical %s\nis %s, want %s", again, got, v.want)
			}
		})
	}
}

func outcome(e *condition.Expr, in condition.Input) string {
	ok, err := e.Eval(in)
	switch {
	case err != nil && ok:
		return "true with an error"
	case errors.Is(err, condition.ErrType):
		return "type"
	case errors.Is(err, condition.ErrTooCostly):
		return "costly"
	case err != nil:
		return err.Error()
	}
	return strconv.FormatBool(ok)
}

// input reads the "given" of a vector. Items are cut at spaces that stand
// outside quotes and brackets.
func input(t testing.TB, given string) condition.Input {
	t.Helper()
	in := condition.Input{}
	attrs := make(map[string]condition.Value)
	for _, item := range fields(given, ' ') {
		name, text, ok := cutOutside(item)
		if !ok {
			t.Fatalf("given %q", item)
		}
		switch name {
		case "action":
			in.Action = text
		case "sub":
			in.SubOperation = text
		case "now":
			in.Now = instant(t, text)
		default:
			source, inner, _ := strings.Cut(strings.TrimSuffix(name, "]"), "[")
			attrs[source+" "+condition.CanonicalName(inner)] = value(t, text)
		}
	}
	in.Attribute = func(source condition.Source, name string) (condition.Value, bool) {
		v, ok := attrs[string(source)+" "+name]
		return v, ok
	}
	return in
}

// fields cuts s at sep outside quotes and brackets.
func fields(s string, sep rune) []string {
	quoted, escaped, depth := false, false, 0
	return strings.FieldsFunc(s, func(r rune) bool {
		switch {
		case escaped:
			escaped = false
		case r == '\\':
			escaped = true
		case r == '\'':
			quoted = !quoted
		case quoted:
		case r == '[':
			depth++
		case r == ']':
			depth--
		case r == sep && depth == 0:
			return true
		}
		return false
	})
}

func cutOutside(item string) (name, text string, ok bool) {
	if i := strings.Index(item, "]="); i >= 0 {
		return item[:i+1], item[i+2:], true
	}
	return strings.Cut(item, "=")
}

func value(t testing.TB, text string) condition.Value {
	t.Helper()
	var strs []string
	var nums []int64
	for _, m := range fields(text, ',') {
		if inner, ok := strings.CutPrefix(m, "'"); ok {
			strs = append(strs, strings.ReplaceAll(strings.TrimSuffix(inner, "'"), `\'`, `'`))
		} else if when, ok := strings.CutPrefix(m, "t:"); ok {
			return condition.Time(instant(t, when))
		} else if b, err := strconv.ParseBool(m); err == nil && len(m) > 1 {
			return condition.Bool(b)
		} else if id, err := guid.Parse[struct{}](m); err == nil {
			return condition.GUID(id)
		} else if n, err := strconv.ParseInt(m, 10, 64); err == nil {
			nums = append(nums, n)
		} else {
			t.Fatalf("value %q", m)
		}
	}
	if nums != nil {
		return condition.Number(nums...)
	}
	return condition.String(strs...)
}

func instant(t testing.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestCanonicalForm(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"signs become words", `!(Exists @resource[A])&&exists @REQUEST[b]`, `NOT Exists @Resource[a] AND Exists @Request[b]`},
		{"needless brackets go", `((Exists @Resource[a]) AND ((Exists @Resource[b] AND Exists @Resource[c])))`, `Exists @Resource[a] AND Exists @Resource[b] AND Exists @Resource[c]`},
		{"needed brackets stay", `(Exists @Resource[a] OR Exists @Resource[b]) AND !(Exists @Resource[c] OR Exists @Resource[d])`, `(Exists @Resource[a] OR Exists @Resource[b]) AND NOT (Exists @Resource[c] OR Exists @Resource[d])`},
		{"GUIDs get hyphens", `@Request[r:Id] foranyofanyvalues:guidequals{4633458B17DE408AB8740445C86B69E6}`, `@Request[r:id] ForAnyOfAnyValues:GuidEquals {4633458b-17de-408a-b874-0445c86b69e6}`},
		{"strings keep their escapes", `@Resource[a] stringlike 'a\*\'*'`, `@Resource[a] StringLike 'a\*\'*'`},
		{"numbers lose their zeros", `@Resource[a] numericequals -007`, `@Resource[a] NumericEquals -7`},
		{"instants are quoted", `@Resource[a] datetimeequals 2023-05-01T13:00:00.500Z`, `@Resource[a] DateTimeEquals '2023-05-01T13:00:00.5Z'`},
		{"operations are lower case", `actionmatches {'A/B/Read'} AND suboperationmatches {'Blob.List'}`, `ActionMatches{'a/b/read'} AND SubOperationMatches{'blob.list'}`},
		{"keys keep their case", `Exists @Resource[X/tags:Project<$key_case_sensitive$>]`, `Exists @Resource[x/tags:Project<$key_case_sensitive$>]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, err := condition.Parse(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if e.String() != tt.want {
				t.Errorf("Parse(%q) prints\n%s, want\n%s", tt.text, e, tt.want)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	long := `@Resource[a] StringEquals '` + strings.Repeat("x", condition.MaxLen) + `'`
	guids := `@Resource[a] ForAnyOfAnyValues:GuidEquals{` + strings.Repeat("4633458b17de408ab8740445c86b69e6,", 240) + `4633458b17de408ab8740445c86b69e6}`
	tests := []struct {
		name, text string
		ok         bool
	}{
		{"a text of the greatest length is read", long[:condition.MaxLen-1] + "'", true},
		{"a longer text is not", long[:condition.MaxLen] + "'", false},
		{"a text whose canonical form is longer is read", guids, true},
		{"brackets nest", strings.Repeat("(", 60) + "Exists @Resource[a]" + strings.Repeat(")", 60), true},
		{"but not without end", strings.Repeat("(", 100) + "Exists @Resource[a]" + strings.Repeat(")", 100), false},
		{"negations nest", strings.Repeat("!", 60) + "Exists @Resource[a]", true},
		{"but not without end either", strings.Repeat("!", 4000) + "Exists @Resource[a]", false},
		{"NUL is refused", "Exists @Resource[a]\x00", false},
		{"control characters in strings are refused", "@Resource[a] StringEquals 'a\nb'", false},
		{"control characters in names are refused", "Exists @Resource[a\u0085b]", false},
		{"what is not UTF-8 is refused", "@Resource[a] StringEquals '\xff'", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, err := condition.Parse(tt.text)
			if (err == nil) != tt.ok {
				t.Fatalf("Parse of %d bytes: %v, want ok %t", len(tt.text), err, tt.ok)
			}
			if err != nil {
				return
			}
			if again, err := condition.Parse(e.String()); err != nil || again.String() != e.String() {
				t.Errorf("the canonical form does not parse to itself: %v", err)
			}
		})
	}
}

// AZ-06, RX-05: what an evaluation costs is bounded, whoever wrote the
// condition and whoever sent the attributes.
func TestCostIsBounded(t *testing.T) {
	t.Parallel()
	many := make([]string, 5000)
	for i := range many {
		many[i] = strconv.Itoa(i)
	}
	tests := []struct {
		name, text string
		value      condition.Value
		want       string
	}{
		{"stars against a long run", `@Resource[a] StringLike '*a*a*a*a*a*a*a*a*a*a*b'`, condition.String(strings.Repeat("a", 10_000)), "false"},
		{"a needle that almost fits", `@Resource[a] StringLike '*` + strings.Repeat("a", 4000) + `b*'`, condition.String(strings.Repeat("a", 10_000)), "false"},
		{"question marks that almost fit", `@Resource[a] StringLike '*` + strings.Repeat("?", 4000) + `b*'`, condition.String(strings.Repeat("a", 10_000)), "costly"},
		{"two large sets", `@Resource[a] ForAnyOfAnyValues:StringNotLike @Resource[a] AND @Resource[a] ForAllOfAllValues:StringLike @Resource[a]`, condition.String(many...), "false"},
		{"two large sets without a match", `@Resource[a] ForAnyOfAllValues:StringEquals @Resource[a]`, condition.String(many...), "false"},
		{"every pair of two large sets", `@Resource[a] ForAllOfAllValues:StringNotEquals {'x', 'y'} AND @Resource[a] ForAllOfAnyValues:StringEquals @Resource[a]`, condition.String(many...), "costly"},
		{"a text without end", `@Resource[a] StringEqualsIgnoreCase 'x'`, condition.String(strings.Repeat("a", 20<<20)), "costly"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, err := condition.Parse(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			in := condition.Input{Attribute: func(condition.Source, string) (condition.Value, bool) { return tt.value, true }}
			if got := outcome(e, in); got != tt.want {
				t.Errorf("%.80s is %s, want %s", tt.text, got, tt.want)
			}
		})
	}
}

func TestNothingNeverHolds(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]*condition.Expr{"nil": nil, "zero": new(condition.Expr)} {
		if ok, err := e.Eval(condition.Input{}); ok || err == nil {
			t.Errorf("%s expression evaluates to %t, %v, want false and an error", name, ok, err)
		}
	}
}

func TestValuesThatAreNotUTF8AreErrors(t *testing.T) {
	t.Parallel()
	e, err := condition.Parse(`@Resource[a] StringNotEquals 'x'`)
	if err != nil {
		t.Fatal(err)
	}
	in := condition.Input{Attribute: func(condition.Source, string) (condition.Value, bool) { return condition.String("\xff"), true }}
	if got := outcome(e, in); got != "type" {
		t.Errorf("a string that is not UTF-8 compares to %s, want a type error", got)
	}
}
