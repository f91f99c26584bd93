package gatehouse_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// securityTests is the table of attacks and of the tests that try them.
const securityTests = "docs/security-tests.md"

var (
	securityRow = regexp.MustCompile(`^\| ([A-Z]{2,3}-\d{2}) \| (.+) \| (.+) \| (.*) \|$`)
	testOfRow   = regexp.MustCompile("`([^`]+_test\\.go)`(?: (Test\\w+|Fuzz\\w+))?")
)

// Every row has a test, or says why it has none; every test that a row names is
// there, and names the row.
func TestSecurityTestsAreThere(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(securityTests)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		m := securityRow.FindStringSubmatch(line)
		if m == nil {
			if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| Id ") {
				t.Errorf("a row that cannot be read: %s", line)
			}
			continue
		}
		id, tests, rest := m[1], testOfRow.FindAllStringSubmatch(m[3], -1), strings.TrimSpace(m[4])
		if seen[id] {
			t.Errorf("%s: listed twice", id)
		}
		seen[id] = true
		if len(tests) == 0 && (m[3] != "–" || rest == "") {
			t.Errorf("%s: no test, and no reason", id)
		}
		for _, test := range tests {
			source, err := os.ReadFile(test[1])
			switch {
			case err != nil:
				t.Errorf("%s: %v", id, err)
			case !regexp.MustCompile(`\b` + id + `\b`).Match(source):
				t.Errorf("%s: %s does not name it", id, test[1])
			case test[2] != "" && !strings.Contains(string(source), "func "+test[2]+"("):
				t.Errorf("%s: %s has no %s", id, test[1], test[2])
			}
		}
	}
	if len(seen) < 80 {
		t.Errorf("%d rows: the table was not read", len(seen))
	}
}
