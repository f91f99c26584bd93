package cluster_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/cluster"
)

func TestTheVersionIsThatOfTheBinary(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile("../../kube/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`k8s\.io/kubernetes v(\S+)`).FindSubmatch(mod)
	if m == nil || string(m[1]) != cluster.KubernetesVersion {
		t.Errorf("kube/go.mod has %s, and clusters are said to run %s", m, cluster.KubernetesVersion)
	}
}

func TestNamesInAzure(t *testing.T) {
	t.Parallel()
	a, b := cluster.FQDN("Web", "1", "eastus"), cluster.FQDN("Web", "2", "eastus")
	if !regexp.MustCompile(`^web-[0-9a-f]{8}\.hcp\.eastus\.azmk8s\.io$`).MatchString(a) || a == b {
		t.Errorf("two clusters are called %s and %s", a, b)
	}
	if got := cluster.IssuerURL("eastus", "t", "u"); got != "https://eastus.oic.prod-aks.azure.com/t/u/" {
		t.Errorf("the issuer is %s", got)
	}
}
