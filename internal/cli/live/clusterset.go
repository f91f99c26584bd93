package live

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

func newClusterSet(env *cli.Env) *cobra.Command {
	var (
		endpoint, caFile, why    string
		admins                   []string
		azure, noLocal, workload bool
	)
	cmd := &cobra.Command{
		Use:   "set CLUSTER",
		Short: "Change where a cluster answers, and who rules it (on a server)",
		Long: `Change a cluster. Where an attached cluster answers (--endpoint, --ca-file) is what
gatehouse kubeconfig writes; of a cluster that the house runs, the house knows it.`,
		Example: `  gatehouse cluster set edge-1 --endpoint https://10.0.0.5:6443 --ca-file /etc/kubernetes/pki/ca.crt
  gatehouse cluster set aks-1 --azure-rbac=false --why "back to Kubernetes RBAC alone"
  gatehouse cluster set aks-1 --disable-local-accounts
  gatehouse cluster set aks-2 --workload-identity`,
		Args: cli.Exactly("CLUSTER"), ValidArgsFunction: cli.Complete(env, 0, cli.Clusters),
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			c, err := reach(cmd, env)
			if err != nil {
				return err
			}
			r := &remote{c}
			est, err := r.Snapshot(cmd.Context())
			if err != nil {
				return err
			}
			rec, err := cli.FindCluster(est, args[0])
			if err != nil {
				return err
			}
			set := cmd.Flags().Changed
			if set("endpoint") || set("ca-file") {
				if err := setEndpoint(&rec, endpoint, caFile); err != nil {
					return err
				}
			}
			if set("admin-group") {
				if rec.AdminGroups, err = findGroups(est, admins); err != nil {
					return err
				}
			}
			if set("azure-rbac") {
				rec.AzureRBAC = azure
			}
			if set("disable-local-accounts") {
				rec.DisableLocalAccounts = noLocal
			}
			if set("workload-identity") {
				if rec.Attached {
					return cli.Usage("cluster %s is run by others: install the webhook there, with deploy/helm/gatehouse-workload-identity", rec.Name)
				}
				// The issuer stays when it is turned off: credentials name it.
				rec.WorkloadIdentity, rec.OIDCIssuer = workload, rec.OIDCIssuer || workload
			}
			if was, _ := est.Get(rec.Key()); same(was, rec) {
				return cli.Usage("that changes nothing: see %s --help", cmd.CommandPath())
			}
			if err := rec.Validate(); err != nil {
				return cli.Usage("%w", err)
			}
			if why == "" {
				why = "gatehouse cluster set"
			}
			rev, err := r.Commit(cmd.Context(), why, []estate.Op{{Put: rec}}, est.Revision())
			if err != nil {
				return err
			}
			fmt.Fprintf(env.Stdout, "cluster %s changed, in force at revision %d\n", rec.Name, rev)
			return nil
		}),
	}
	f := cmd.Flags()
	f.StringVar(&endpoint, "endpoint", "", "`URL` of the API server of an attached cluster")
	f.StringVar(&caFile, "ca-file", "", "PEM `file` of the authority that signed the API server's certificate")
	f.StringArrayVar(&admins, "admin-group", nil, "`group` whose members are cluster-admin, instead of those that there are; may be repeated")
	f.BoolVar(&azure, "azure-rbac", false, "whether role assignments grant access to the cluster")
	f.BoolVar(&noLocal, "disable-local-accounts", false, "whether certificates of local administrators are refused")
	f.BoolVar(&workload, "workload-identity", false, "whether pods get identities from the house; turns the issuer of service account tokens on as well")
	f.StringVar(&why, "why", "", "`reason`, for the audit log")
	cli.CompleteFlag(cmd, env, "admin-group", cli.Groups)
	return cmd
}

// same reports whether two records are stored alike.
func same(a, b record.Record) bool {
	x, errX := record.Marshal(a)
	y, errY := record.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

func setEndpoint(rec *resource.Cluster, endpoint, caFile string) error {
	if !rec.Attached {
		return cli.Usage("cluster %s is run by the house, which knows where it answers", rec.Name)
	}
	if endpoint != "" {
		u, err := url.Parse(endpoint)
		if err != nil || u.Scheme != "https" || u.Host == "" {
			return cli.Usage("--endpoint %s is no URL of an API server: write it like https://10.0.0.5:6443", endpoint)
		}
		rec.Endpoint = strings.TrimSuffix(endpoint, "/")
	}
	if caFile != "" {
		text, err := os.ReadFile(caFile)
		if err != nil {
			return cli.Usage("--ca-file: %w", err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(text) {
			return cli.Usage("--ca-file %s has no certificate in PEM form", caFile)
		}
		rec.CertificateAuthority = string(text)
	}
	return nil
}

func newDetach(env *cli.Env) *cobra.Command {
	var yes bool
	var why string
	cmd := &cobra.Command{
		Use:   "detach CLUSTER",
		Short: "Forget an attached cluster and what was granted at it (on a server)",
		Long: `Forget an attached cluster, with the role assignments at it and what was read from
it. From then on the house does not answer its API server, which then refuses
everybody but system: users. So undo what its README said first, on its control plane.`,
		Example: "  gatehouse cluster detach edge-1", Args: cli.Exactly("CLUSTER"), ValidArgsFunction: cli.Complete(env, 0, attachedNames),
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			c, err := reach(cmd, env)
			if err != nil {
				return err
			}
			est, err := (&remote{c}).Snapshot(cmd.Context())
			if err != nil {
				return err
			}
			rec, err := cli.FindCluster(est, args[0])
			if err != nil {
				return err
			}
			if !rec.Attached {
				return cli.Usage("cluster %s is run by the house and not attached", rec.Name)
			}
			n := len(est.Dependents(rec.Key()))
			if !yes && !cli.Confirm(env, fmt.Sprintf("Forget cluster %s and %d records at it? If it still asks the house, it will refuse everybody.", rec.Name, n)) {
				fmt.Fprintln(env.Stderr, "nothing was changed")
				return &cli.Exit{Code: cli.ExitNo}
			}
			if why == "" {
				why = "gatehouse cluster detach"
			}
			rev, err := c.Commit(cmd.Context(), wire.Changes{Why: why, IfRevision: est.Revision(), Ops: []wire.Op{
				{Delete: &wire.Delete{Kind: record.Cluster, Parts: []string{rec.Scope.String()}, Dependents: true}}}})
			if err != nil {
				return err
			}
			fmt.Fprintf(env.Stdout, "cluster %s detached, in force at revision %d\n", rec.Name, rev)
			return nil
		}),
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().StringVar(&why, "why", "", "`reason`, for the audit log")
	return cmd
}

func attachedNames(est *estate.Snapshot) []string {
	var names []string
	for c := range est.Clusters() {
		if c.Attached {
			names = append(names, c.Name)
		}
	}
	return names
}
