package azure_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/test/azure"
)

// javaScript is the folder with the SDK and the programs that use it.
func javaScript(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("js")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is not installed: apt-get install nodejs npm")
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
		t.Skip("the SDK is not installed: run npm ci in test/azure/js, or make test")
	}
	return dir
}

// noteJavaScript notes what was tried, and fails when some of it failed.
func noteJavaScript(t *testing.T, res azure.Result, versions string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^ *ok \d+ - ([^#\n]+?)\s*$`).FindAllStringSubmatch(res.Out, -1) {
		azure.Tried(t, "Azure SDK for JavaScript", versions, m[1])
	}
	if res.Code != 0 {
		t.Errorf("exit code %d\n%s%s", res.Code, res.Out, res.Err)
	}
}

func TestTheSDKForJavaScript(t *testing.T) {
	t.Parallel()
	dir := javaScript(t)
	desk := azure.Shared(t, azure.Options{}).Desk(t)
	asOperator(desk)
	settings(desk)
	res := desk.Run(t, "node", "--test", "--test-reporter=tap", filepath.Join(dir, "sdk.test.mjs"))
	noteJavaScript(t, res, javaScriptVersions)
}

const javaScriptVersions = "identity 4.10.0, arm-authorization 9.0.0, arm-containerservice 21.3.0, arm-msi 2.1.0"

func TestTheSDKForJavaScriptReadsClusters(t *testing.T) {
	t.Parallel()
	dir := javaScript(t)
	desk := azure.Shared(t, azure.Options{Clusters: true}).Desk(t)
	asOperator(desk)
	settings(desk, "SDK_CLUSTERS=1")
	res := desk.Run(t, "node", "--test", "--test-reporter=tap", "--test-name-pattern=the clusters are listed", filepath.Join(dir, "sdk.test.mjs"))
	if !strings.Contains(res.Out, " - the clusters are listed, and give their credentials\n") || !strings.Contains(res.Out, "# pass 1\n") {
		t.Errorf("the clusters were not tried:\n%s", res.Out)
	}
	noteJavaScript(t, res, javaScriptVersions)
}

func TestTheSDKForJavaScriptKeepsSecrets(t *testing.T) {
	t.Parallel()
	dir := javaScript(t)
	h := azure.Shared(t, azure.Options{})
	_, app := newVault(t, h, "kv-js")
	res := vaultDesk(t, h, "kv-js", app).Run(t, "node", "--test", "--test-reporter=tap", filepath.Join(dir, "vault.test.mjs"))
	noteJavaScript(t, res, "identity 4.10.0, keyvault-secrets 4.9.0")
}
