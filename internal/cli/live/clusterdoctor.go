package live

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

// examination are the flags of cluster doctor.
type examination struct{ manifest, k3s, config, kubeconfig string }

func newClusterDoctor(env *cli.Env) *cobra.Command {
	var x examination
	cmd := &cobra.Command{
		Use:   "doctor [CLUSTER]",
		Short: "Say what is wrong with a cluster's way to the house",
		Long: `Examine a cluster: who its API server asks and in which order, what it does when
the house is silent, what it remembers, whether its certificate is the right one,
and what is bound in it. Nothing is changed.

Of a cluster that the house runs, the house itself is asked. Of an attached one, say
what there is to look at: the API server's manifest or configuration on a control
plane node, the folder that attach wrote, and a kubeconfig of an administrator.

The exit code is 0 when all is well, 1 when something was found, and 3 when nothing
was found but something that matters could not be looked at.`,
		Example: `  gatehouse cluster doctor aks-1
  sudo gatehouse cluster doctor --manifest /etc/kubernetes/manifests/kube-apiserver.yaml --kubeconfig /etc/kubernetes/admin.conf
  sudo gatehouse cluster doctor edge-1 --k3s-config /etc/rancher/k3s/config.yaml.d/gatehouse.yaml
  gatehouse cluster doctor dev --config ./dev/gatehouse --kubeconfig ~/.kube/config -o json`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: cli.Complete(env, 0, cli.Clusters),
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			found, err := x.run(cmd, env, args)
			if err != nil {
				return err
			}
			done, err := cli.Machine(cmd, env, found)
			if err != nil {
				return err
			}
			if !done {
				printFindings(env, found.Findings)
			}
			return verdict(found.Findings, x.kubeconfig != "" || !x.local())
		}),
	}
	f := cmd.Flags()
	f.StringVar(&x.manifest, "manifest", "", "static pod manifest `file` of kube-apiserver")
	f.StringVar(&x.k3s, "k3s-config", "", "configuration `file` of k3s")
	f.StringVar(&x.config, "config", "", "`folder` gatehouse/ that cluster attach wrote")
	f.StringVar(&x.kubeconfig, "kubeconfig", "", "kubeconfig `file` of an administrator, to ask the running API server")
	cmd.MarkFlagsMutuallyExclusive("manifest", "k3s-config")
	return cmd
}

// local reports whether there is anything to look at from here.
func (x *examination) local() bool {
	return x.manifest != "" || x.k3s != "" || x.config != "" || x.kubeconfig != ""
}

func (x *examination) run(cmd *cobra.Command, env *cli.Env, args []string) (wire.Findings, error) {
	p := cluster.Patient{Now: env.Now()}
	if len(args) > 0 {
		src, err := cli.Source(cmd, env)
		if err != nil {
			return wire.Findings{}, err
		}
		est, err := src.Snapshot(cmd.Context())
		if err != nil {
			return wire.Findings{}, err
		}
		rec, err := cli.FindCluster(est, args[0])
		if err != nil {
			return wire.Findings{}, err
		}
		if !x.local() && !rec.Attached {
			c, err := reach(cmd, env)
			if err != nil {
				return wire.Findings{}, err
			}
			return c.Examine(cmd.Context(), rec.Scope)
		}
		p.Scope, p.Groups = rec.Scope, knows(est)
	}
	if !x.local() {
		return wire.Findings{}, cli.Usage("say what to examine: a cluster that the house runs, or --manifest, --k3s-config, --config or --kubeconfig")
	}
	if err := x.look(&p); err != nil {
		return wire.Findings{}, err
	}
	var out wire.Findings
	for _, f := range cluster.Doctor(cmd.Context(), p) {
		out.Findings = append(out.Findings, wire.Finding{ID: f.ID, Severity: string(f.Severity), What: f.What, Why: f.Why, Fix: f.Fix})
	}
	return out, nil
}

func knows(est *estate.Snapshot) func(string) bool {
	return func(objectID string) bool {
		id, err := principal.ParseID(objectID)
		if err != nil {
			return false
		}
		_, ok := est.Group(id)
		return ok
	}
}

// look gives the doctor what the flags name.
func (x *examination) look(p *cluster.Patient) error {
	p.ReadFile = os.ReadFile
	var err error
	switch {
	case x.manifest != "":
		err = flagsOf(x.manifest, cluster.ManifestFlags, p)
	case x.k3s != "":
		err = flagsOf(x.k3s, cluster.K3sFlags, p)
	}
	if err != nil {
		return err
	}
	if x.config != "" {
		if err := x.folder(p); err != nil {
			return err
		}
	}
	if x.kubeconfig == "" {
		return nil
	}
	conf, err := clientcmd.BuildConfigFromFlags("", x.kubeconfig)
	if err != nil {
		return cli.Usage("--kubeconfig: %w", err)
	}
	if p.API, err = apiOf(conf); err != nil {
		return cli.Usage("--kubeconfig: %w", err)
	}
	p.Anonymous, err = apiOf(rest.AnonymousClientConfig(conf))
	return err
}

func flagsOf(file string, read func([]byte) ([]string, error), p *cluster.Patient) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if p.Flags, err = read(text); err != nil {
		return cli.Usage("%s: %w", file, err)
	}
	return nil
}

// folder takes the files from a folder that attach wrote. They name each other by
// the paths that they have on the control plane, which may be elsewhere.
func (x *examination) folder(p *cluster.Patient) error {
	if info, err := os.Stat(x.config); err != nil || !info.IsDir() {
		return cli.Usage("--config %s is no folder that gatehouse cluster attach wrote", x.config)
	}
	at := func(name string) string { return filepath.Join(x.config, name) }
	p.Authorization, p.Authentication, p.TokenReview = at("authorization.yaml"), at("authentication.yaml"), at("tokenreview.kubeconfig")
	p.ReadFile = func(name string) ([]byte, error) {
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return os.ReadFile(at(path.Base(name)))
		}
		return data, err
	}
	return nil
}

// askWithin bounds one request to an API server.
const askWithin = 15 * time.Second

func apiOf(conf *rest.Config) (*cluster.API, error) {
	hc, err := rest.HTTPClientFor(conf)
	if err != nil {
		return nil, err
	}
	hc.Timeout = askWithin
	return &cluster.API{Server: strings.TrimSuffix(conf.Host, "/"), Client: hc}, nil
}

func printFindings(env *cli.Env, findings []wire.Finding) {
	count := map[cluster.Severity]int{}
	for _, f := range findings {
		l := line{mark: f.Severity, id: f.ID, what: f.What}
		switch s := cluster.Severity(f.Severity); s {
		case cluster.Fine:
			l.good = true
		case cluster.Error, cluster.Warning:
			l.bad = true
			l.more = [][2]string{{"why", f.Why}, {"fix", f.Fix}}
		}
		count[cluster.Severity(f.Severity)]++
		l.print(env)
	}
	fmt.Fprintf(env.Stdout, "\n%d errors, %d warnings, %d not evaluated, %d ok\n", count[cluster.Error], count[cluster.Warning],
		count[cluster.NotEvaluated], count[cluster.Fine])
}

// verdict is the exit code. What only a running API server tells is essential if
// there was one to ask.
func verdict(findings []wire.Finding, live bool) error {
	unseen := false
	for _, f := range findings {
		switch cluster.Severity(f.Severity) {
		case cluster.Error, cluster.Warning:
			return &cli.Exit{Code: cli.ExitNo}
		case cluster.NotEvaluated:
			running := strings.HasPrefix(f.ID, "live-") || strings.HasPrefix(f.ID, "rbac-")
			unseen = unseen || live || !running
		}
	}
	if unseen {
		return &cli.Exit{Code: cli.ExitUnanswered}
	}
	return nil
}
