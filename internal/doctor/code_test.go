package doctor_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/doctor"
)

// answered are the codes in the sources of what refuses tokens.
func answered(t *testing.T) map[int]string {
	t.Helper()
	all := make(map[int]string)
	fset := token.NewFileSet()
	for _, dir := range []string{"../issue", "../serve/oidc", "../serve/imds", "../serve/rehearse"} {
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", dir, len(files), err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(fset, name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			note := func(x ast.Expr) {
				if lit, ok := x.(*ast.BasicLit); ok && lit.Kind == token.INT {
					if n, err := strconv.Atoi(lit.Value); err == nil {
						all[n] = fset.Position(lit.Pos()).String()
					}
				}
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.CallExpr:
					if f, ok := n.Fun.(*ast.Ident); ok && f.Name == "refuse" && len(n.Args) > 2 {
						note(n.Args[1])
					}
				case *ast.KeyValueExpr:
					if k, ok := n.Key.(*ast.Ident); ok && k.Name == "Code" {
						note(n.Value)
					}
				}
				return true
			})
		}
	}
	if len(all) < 50 {
		t.Fatalf("only %d codes found in the sources", len(all))
	}
	return all
}

func TestEveryCodeThatTheHouseAnswersIsExplained(t *testing.T) {
	t.Parallel()
	all := answered(t)
	for n, where := range all {
		if c, ok := doctor.FindCode(n); !ok || c.Elsewhere {
			t.Errorf("%s: AADSTS%d is not explained, or is said to be answered by Entra ID alone", where, n)
		}
	}
	for c := range doctor.Codes() {
		if _, ok := all[c.Number]; !ok && !c.Elsewhere {
			t.Errorf("AADSTS%d is said to be answered by the house, and nothing answers it", c.Number)
		}
		if c.Meaning == "" || c.Cause == "" || !strings.HasPrefix(c.Next, "gatehouse ") {
			t.Errorf("AADSTS%d lacks meaning, cause or next command: %+v", c.Number, c)
		}
	}
}

func TestCodesAreReadAsPeopleWriteThem(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"AADSTS700213", "aadsts700213", "700213", " AADSTS700213: "} {
		if n, ok := doctor.ParseCode(text); !ok || n != 700213 {
			t.Errorf("ParseCode(%q) = %d, %t", text, n, ok)
		}
	}
	for _, text := range []string{"", "AADSTS", "AADSTSx", "-700213", "+700213", "7", "pods", "AADSTS+700213"} {
		if n, ok := doctor.ParseCode(text); ok {
			t.Errorf("ParseCode(%q) = %d", text, n)
		}
	}
}
