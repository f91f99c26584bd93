package azure_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/sample"
	"github.com/gatehouse-io/gatehouse/test/azure"
)

// clusterNamed is a cluster of the sample, as it is now.
func clusterNamed(t *testing.T, house *azure.House, name string) resource.Cluster {
	t.Helper()
	for c := range house.Store().Current().Clusters() {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("there is no cluster %s", name)
	return resource.Cluster{}
}

// kubelogin wants its code in a form, at its own loopback address.
func TestKubeloginSignsInInTheBrowser(t *testing.T) {
	t.Parallel()
	desk := azure.Shared(t, azure.Options{}).Desk(t)
	res := desk.ByBrowser(t, penny, "kubelogin", "get-token", "--login", "interactive", "--environment", "AzurePublicCloud",
		"--server-id", "6dae42f8-4368-4678-94ff-3960e28e3630", "--client-id", "80faf920-1908-4b52-b5ef-a8e7bedfc67a", "--tenant-id", sample.Tenant)
	var credential struct{ Status struct{ Token string } }
	if err := json.Unmarshal([]byte(res.Out), &credential); res.Code != 0 || err != nil {
		t.Fatalf("%d %v\n%s%s", res.Code, err, res.Out, res.Err)
	}
	if c := claimsOf(t, credential.Status.Token); c.UPN != penny || c.Issuer != "https://sts.windows.net/"+sample.Tenant+"/" {
		t.Errorf("%+v", c)
	}
}

// The kubeconfig is that of AKS, word for word: the public cloud, the public name
// of the API server. kubelogin converts it, and kubectl uses it, through the proxy.
func TestKubeloginConvertsAndSignsIn(t *testing.T) {
	t.Parallel()
	house := azure.Shared(t, azure.Options{Clusters: true})
	rec := clusterNamed(t, house, "aks-1")
	desk := house.Desk(t)
	aksKubeconfig(t, desk, rec)
	if res := desk.Run(t, "kubelogin", "convert-kubeconfig", "-l", "devicecode"); res.Code != 0 {
		t.Fatalf("%d\n%s%s", res.Code, res.Out, res.Err)
	}
	res := desk.ByDevice(t, "jet@teknews.cloud", "kubectl", "get", "namespaces", "-o", "name")
	if res.Code != 0 || !strings.Contains(res.Out, "namespace/kube-system") {
		t.Errorf("%d\n%s%s", res.Code, res.Out, res.Err)
	}
	// Nothing was written but into the shell's own folder.
	left, err := os.ReadDir(desk.Home)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range left {
		if file.Name() != "shell" {
			t.Errorf("a client has made %s in the home directory", file.Name())
		}
	}
}
