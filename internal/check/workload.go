package check

import (
	"fmt"

	"github.com/go-json-experiment/json"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/inject"
	"github.com/gatehouse-io/gatehouse/internal/podid"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

// accountPowerless looks at the service accounts of clusters that have an issuer:
// those of others cannot be exchanged for anything.
func accountPowerless(l *look) {
	for _, c := range l.shared.clusters {
		if !c.OIDCIssuer && c.IssuerURL == "" {
			continue
		}
		read, _ := l.swept(c)
		accounts, ok := read.Accounts.Get()
		if !ok {
			l.unseen(onCluster(c, "its service accounts were not looked at: %s", read.Accounts.Why()))
			continue
		}
		for _, sa := range accounts {
			var client directory.AppID
			if err := client.UnmarshalText([]byte(sa.Annotations[inject.ClientIDAnnotation])); err != nil || client.IsZero() {
				continue
			}
			// An identity that is not there is for gatehouse doctor to say.
			i, ok := l.Estate.Identity(client)
			if !ok || i.Object.IsZero() || l.est.Given(i.Object) {
				continue
			}
			l.absent(Finding{
				About: record.KeyOf(ServiceAccount, c.Scope.String(), sa.Namespace, sa.Name), Name: fmt.Sprintf("service account %s/%s of %s", sa.Namespace, sa.Name, c.Name),
				Cluster: c.Scope, What: i.String() + ", which its annotation names, was given nothing",
				Fix: Fix{Commands: []string{words("kubectl", "--context", c.Name, "annotate", "serviceaccount", sa.Name, "-n", sa.Namespace, inject.ClientIDAnnotation+"-")}},
			})
		}
	}
}

// podIdentity finds pods that ask for pod identity, and clusters that are set to have it.
func podIdentity(l *look) {
	for _, c := range l.shared.clusters {
		var profile struct {
			PodIdentityProfile struct {
				Enabled bool `json:"enabled"`
			} `json:"podIdentityProfile"`
		}
		plan := Fix{Commands: []string{words("gatehouse", "migrate", "pod-identity", "--cluster", c.Name)}}
		if json.Unmarshal([]byte(c.Properties.String()), &profile) == nil && profile.PodIdentityProfile.Enabled {
			f := onCluster(c, "it is set to have pod identity")
			f.Fix = plan
			l.wrong(f)
			continue
		}
		read, _ := l.swept(c)
		pods, ok := read.Pods.Get()
		if !ok {
			l.unseen(onCluster(c, "whether its pods ask for pod identity is not known: %s", read.Pods.Why()))
			continue
		}
		n, one := 0, ""
		for _, p := range pods {
			if p.Labels[podid.BindingLabel] != "" {
				if n++; n == 1 {
					one = p.Namespace + "/" + p.Name
				}
			}
		}
		if n > 0 {
			f := onCluster(c, "%s with the label %s, such as %s", count(n, "pod"), podid.BindingLabel, one)
			f.Fix = plan
			l.wrong(f)
		}
	}
}
