// Command compat writes docs/compatibility.md from the notes of a test run: which
// call of which version of which client was made in a test that passed.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/gatehouse-io/gatehouse/test/azure"
)

const head = `# Compatibility

Unmodified clients that are run against Gatehouse by its tests, their versions, and each command or call. This page is written by
` + "`make compat`" + ` from a run of the tests: a call is listed if the test that makes it passed. What is not listed was not tried.
Flags stand in the order of the command; values are left out. [What differs on purpose](divergences.md) has its own page.
`

func main() {
	var all []azure.Note
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var n azure.Note
		if err := json.Unmarshal(in.Bytes(), &n); err != nil {
			fmt.Fprintln(os.Stderr, "compat:", err)
			os.Exit(1)
		}
		all = append(all, n)
	}
	if err := in.Err(); err != nil || len(all) == 0 {
		fmt.Fprintln(os.Stderr, "compat: no notes on standard input:", err)
		os.Exit(1)
	}
	slices.SortFunc(all, func(a, b azure.Note) int {
		return cmp.Or(cmp.Compare(a.Client, b.Client), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Call, b.Call))
	})
	fmt.Print(head)
	was := azure.Note{}
	for _, n := range slices.Compact(all) {
		if n.Client != was.Client || n.Version != was.Version {
			fmt.Printf("\n## %s %s\n\n", n.Client, n.Version)
			was = n
		}
		fmt.Printf("- `%s`\n", n.Call)
	}
}
