package live

import (
	"context"
	"maps"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/doctor"
	"github.com/gatehouse-io/gatehouse/internal/inject"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

// tellAll looks at all identities, and at all workloads of a cluster if one is named.
func (w *ward) tellAll(cmd *cobra.Command, env *cli.Env) error {
	k, err := lookInto(cmd, env)
	if err != nil {
		return err
	}
	s := doctor.Sweep{Now: env.Now(), Estate: k.Estate, Uses: k.uses(cmd.Context())}
	if w.cluster != "" {
		p, err := w.visit(cmd, env)
		if err != nil {
			return err
		}
		s.Read = append(s.Read, p.swept(cmd.Context()))
	}
	return tell(cmd, env, diagnosis{Findings: doctor.ExamineAll(s)})
}

// swept reads all workloads of a cluster.
func (p *place) swept(ctx context.Context) doctor.Swept {
	out := doctor.Swept{Cluster: p.record, Issuer: p.issuer(ctx)}
	if list, err := p.core.ServiceAccounts("").List(ctx, metav1.ListOptions{}); err != nil {
		out.Accounts = unknown(out.Accounts, err)
	} else {
		out.Accounts = doctor.Know(list.Items)
	}
	if list, err := p.core.Pods("").List(ctx, metav1.ListOptions{}); err != nil {
		out.Pods = unknown(out.Pods, err)
	} else {
		out.Pods = doctor.Know(list.Items)
	}
	out.MayUse = p.mayUseAll(ctx, out)
	return out
}

// mayUseAll asks once for each pair of a service account and an identity that it, or a
// pod of it, asks for.
func (p *place) mayUseAll(ctx context.Context, s doctor.Swept) map[[2]string]map[string]doctor.Known[bool] {
	all := make(map[[2]string]map[string]doctor.Known[bool])
	ask := func(namespace, name, client string) {
		at := [2]string{namespace, name}
		if _, asked := all[at][client]; asked {
			return
		}
		if all[at] == nil {
			all[at] = make(map[string]doctor.Known[bool])
		}
		maps.Copy(all[at], p.mayUse(ctx, doctor.Account{Namespace: namespace, Name: name}, client))
	}
	accounts, _ := s.Accounts.Get()
	for _, sa := range accounts {
		ask(sa.Namespace, sa.Name, sa.Annotations[inject.ClientIDAnnotation])
	}
	pods, _ := s.Pods.Get()
	for i := range pods {
		if inject.Wanted(&pods[i]) {
			ask(pods[i].Namespace, inject.ServiceAccountOf(&pods[i]), doctor.Pod{Pod: &pods[i]}.Client())
		}
	}
	return all
}

// uses are when identities got their latest tokens, as far as the house knows.
func (k known) uses(ctx context.Context) doctor.Known[doctor.Uses] {
	if k.house == nil {
		return doctor.Unknown[doctor.Uses](offline)
	}
	const action = "Microsoft.Directory/traces/read"
	if d, err := k.house.CanI(ctx, wire.Question{Action: action, Scope: scope.Root.String()}); err != nil || d.Effect != "allow" {
		return doctor.Unknown[doctor.Uses]("you may not do %s at /", action)
	}
	told, err := k.house.IdentityUses(ctx)
	if err != nil {
		return doctor.Unknown[doctor.Uses]("%v", err)
	}
	if told.Since.IsZero() {
		return doctor.Unknown[doctor.Uses]("the house has not watched for the last day, or could not write down what it saw")
	}
	u := doctor.Uses{Since: told.Since, Latest: make(map[principal.ID]time.Time)}
	for text, at := range told.Latest {
		id, err := principal.ParseID(text)
		if err != nil {
			return doctor.Unknown[doctor.Uses]("what the house answers is not understood: %v", err)
		}
		u.Latest[id] = at
	}
	return doctor.Know(u)
}
