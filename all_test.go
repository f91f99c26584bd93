// Package gatehouse_test holds the rules of the tree: which package may import
// which, and what every file must have. See docs/decisions/0001-floors.md.
package gatehouse_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/gatehouse-io/gatehouse/"

// floors lists the packages of the house from the ground up. A package imports
// only packages of lower floors; within a floor, none of its neighbours.
var floors = [][]string{
	{"internal/guid"},
	{"internal/record", "internal/scope", "internal/principal", "internal/manifest/nearest"},
	{"internal/directory", "internal/azurerbac/condition", "internal/pki", "internal/pfx", "internal/rehearsal"},
	{"internal/resource", "internal/azurerbac", "internal/kuberbac", "internal/token", "internal/vault", "internal/podid"},
	{"internal/directoryrole", "internal/identityrequest"},
	{"internal/estate"},
	{"internal/decide", "internal/manifest", "internal/inject", "internal/alert"},
	{"internal/doctor"},
	{"internal/podid/migrate", "internal/check"},
	{"internal/manifest/corpus", "internal/store", "internal/sample", "internal/loopback"},
	{"internal/store/storetest", "internal/store/etcd", "internal/keys", "internal/issue", "internal/trust", "internal/cluster", "internal/safe"},
	{"internal/serve", "internal/serve/api/wire"},
	{"internal/serve/servetest", "internal/serve/rehearse", "internal/serve/imds", "internal/csi/csitest"},
	{"internal/serve/nodes/wire", "internal/nmi/steer", "internal/nmi/wiring", "internal/reply"},
	{"internal/serve/oidc", "internal/serve/authn", "internal/serve/authz", "internal/serve/admission", "internal/serve/api", "internal/serve/graph", "internal/serve/arm", "internal/serve/nodes", "internal/serve/issuers", "internal/serve/keyvault", "internal/serve/registry", "internal/serve/clouds", "internal/serve/proxy", "internal/control/mirror", "internal/control/mic", "internal/control/selfcert", "internal/nmi", "internal/csi"},
	{"internal/serve/api/client", "internal/pull"},
	{"internal/house", "internal/outpost", "internal/signin"},
	{"internal/cli"},
	{"internal/tour"},
	{"internal/cli/live"},
	{"cmd/gatehouse", "cmd/gatehouse-node"},
}

// pureBelow is the floor of the store: below it nothing blocks, tells the time,
// logs or touches the world.
const pureBelow = "internal/store"

// impure are the imports that no package below the store may have.
var impure = map[string]bool{"context": true, "log": true, "log/slog": true, "net": true, "net/http": true, "os": true, "os/exec": true}

func floorOf() (map[string]int, int) {
	at := make(map[string]int)
	store := 0
	for i, pkgs := range floors {
		for _, p := range pkgs {
			at[p] = i
			if p == pureBelow {
				store = i
			}
		}
	}
	return at, store
}

// sources calls f for every Go file of the main module.
func sources(t *testing.T, f func(name string, file *ast.File, fset *token.FileSet)) {
	t.Helper()
	walk(t, false, f)
}

// walk calls f for every Go file, of the modules beside the main one too if others.
func walk(t *testing.T, others bool, f func(name string, file *ast.File, fset *token.FileSet)) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, sub := os.Stat(filepath.Join(name, "go.mod"))
			if name != "." && (sub == nil && !others || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		f(filepath.ToSlash(name), file, fset)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPackagesImportOnlyLowerFloors(t *testing.T) {
	t.Parallel()
	at, store := floorOf()
	sources(t, func(name string, file *ast.File, _ *token.FileSet) {
		pkg := path.Dir(name)
		floor, known := at[pkg]
		if !known {
			if pkg != "." {
				t.Errorf("%s: package %s is on no floor; name its place in all_test.go", name, pkg)
			}
			return
		}
		if strings.HasSuffix(name, "_test.go") {
			return
		}
		for _, spec := range file.Imports {
			imp, _ := strconv.Unquote(spec.Path.Value)
			if dep, ours := strings.CutPrefix(imp, module); ours && at[dep] >= floor {
				t.Errorf("%s imports %s, which is not on a lower floor", name, dep)
			}
			// pki needs net for net.IP, the address type of crypto/x509.
			if floor < store && impure[imp] && !(pkg == "internal/pki" && imp == "net") {
				t.Errorf("%s imports %s; what lies below the store is pure", name, imp)
			}
			if strings.HasPrefix(imp, "go.etcd.io/") && pkg != "internal/store/etcd" {
				t.Errorf("%s imports %s; only internal/store/etcd may", name, imp)
			}
		}
	})
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	t.Parallel()
	docs := make(map[string]bool)
	sources(t, func(name string, file *ast.File, _ *token.FileSet) {
		if !strings.HasSuffix(name, "_test.go") {
			docs[path.Dir(name)] = docs[path.Dir(name)] || file.Doc.Text() != ""
		}
	})
	for pkg, ok := range docs {
		if !ok {
			t.Errorf("package %s has no package comment", pkg)
		}
	}
	if len(docs) == 0 {
		t.Error("no packages found")
	}
}

func TestNothingRunsBeforeMain(t *testing.T) {
	t.Parallel()
	sources(t, func(name string, file *ast.File, fset *token.FileSet) {
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: init function", fset.Position(f.Pos()))
			}
		}
	})
}

// FED-20: whom the house talks to is always verified; there is no way not to, nor in
// what is built beside it. A test may look at a connection that is not good.
func TestNothingSkipsVerification(t *testing.T) {
	t.Parallel()
	modules := make(map[string]bool)
	walk(t, true, func(name string, file *ast.File, fset *token.FileSet) {
		if strings.HasSuffix(name, "_test.go") {
			return
		}
		first, _, _ := strings.Cut(name, "/")
		modules[first] = true
		ast.Inspect(file, func(n ast.Node) bool {
			// A field of that name of our own, for what another's file says, is no tls.Config's.
			if kv, ok := n.(*ast.KeyValueExpr); ok {
				if key, ok := kv.Key.(*ast.Ident); ok && key.Name == "InsecureSkipVerify" {
					t.Errorf("%s: a connection that is not verified", fset.Position(kv.Pos()))
				}
			}
			if set, ok := n.(*ast.AssignStmt); ok {
				for _, left := range set.Lhs {
					if sel, ok := left.(*ast.SelectorExpr); ok && sel.Sel.Name == "InsecureSkipVerify" {
						t.Errorf("%s: a connection that is not verified", fset.Position(set.Pos()))
					}
				}
			}
			return true
		})
	})
	for _, first := range []string{"cmd", "internal", "kube", "test", "examples"} {
		if !modules[first] {
			t.Errorf("nothing of %s was read", first)
		}
	}
}

func TestTestsDoNotSleep(t *testing.T) {
	t.Parallel()
	sources(t, func(name string, file *ast.File, fset *token.FileSet) {
		if !strings.HasSuffix(name, "_test.go") {
			return
		}
		bubbles := strings.Contains(importList(file), "testing/synctest")
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Sleep" {
				return true
			}
			// In a bubble of testing/synctest, sleeping costs no time.
			if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "time" && !bubbles {
				t.Errorf("%s: time.Sleep in a test", fset.Position(call.Pos()))
			}
			return true
		})
	})
}

func importList(file *ast.File) string {
	var b strings.Builder
	for _, s := range file.Imports {
		b.WriteString(s.Path.Value)
	}
	return b.String()
}
