package live

import (
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

func newAudit(env *cli.Env) *cobra.Command {
	var since int64
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show who changed what, when and why",
		Long: `Show the audit log: every change of the estate and of secrets, and every reading of
a secret in a vault, in order, with who did it and why; and the alerts, when an
identity of a cluster is used outside of it. Each record has the hash of the one before, so that gatehouse audit
verify finds out when one was changed or taken away. -o json has the written values.`,
		Example: "  gatehouse audit\n  gatehouse audit --since 120 -o json | jq '.records[] | {seq, by: .by.name, why}'\n  gatehouse audit verify",
		Args:    cli.Exactly(),
		RunE: cli.Run(func(cmd *cobra.Command, _ []string) error {
			if since < 1 {
				return cli.Usage("--since %d: the first record has number 1", since)
			}
			c, err := reach(cmd, env)
			if err != nil {
				return err
			}
			out := wire.Audit{Records: []wire.AuditRecord{}}
			for r, err := range c.Audit(cmd.Context(), since) {
				if err != nil {
					return err
				}
				out.Records = append(out.Records, r)
			}
			if done, err := cli.Machine(cmd, env, out); done {
				return err
			}
			var rows [][]string
			for _, r := range out.Records {
				seq, at := fmt.Sprint(r.Seq), r.Time.Format(time.RFC3339)
				if len(r.Uses) == 0 {
					rows = append(rows, []string{seq, at, r.By.Name, oneLine(r.Why), what(r), r.Request})
				}
				for _, u := range r.Uses {
					rows = append(rows, []string{seq, u.Time.Format(time.RFC3339), u.By.Name, path.Base(strings.TrimSuffix(u.Action, "/action")), strings.Join(u.On, " "), u.Request})
				}
			}
			if len(rows) == 0 {
				fmt.Fprintf(env.Stderr, "nothing since %d\n", since)
				return nil
			}
			cli.Table(cmd, env, []string{"SEQ", "TIME", "BY", "WHY", "WHAT", "(REQUEST)"}, rows)
			return nil
		}),
	}
	cmd.Flags().Int64Var(&since, "since", 1, "`number` of the first record to show")
	cmd.AddCommand(newAuditVerify(env))
	return cmd
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// what tells the changes of a record: some by name, the others by number.
func what(r wire.AuditRecord) string {
	const most = 3
	var parts []string
	for _, c := range r.Changes {
		mark, name := "+", c.Name
		if c.Value == nil {
			mark = "-"
		}
		if name == "" {
			name = strings.Join(c.Parts, " ")
		}
		parts = append(parts, fmt.Sprintf("%s%s %s", mark, c.Kind, name))
	}
	for _, p := range r.Private {
		mark := "+"
		if p.Delete {
			mark = "-"
		}
		parts = append(parts, fmt.Sprintf("%ssecret %s", mark, p.Bucket))
	}
	for _, a := range r.Alerts {
		parts = append(parts, fmt.Sprintf("alert %s %s %s", a.Identity.Name, a.Way, a.From))
	}
	if more := len(parts) - most; more > 0 {
		parts = append(parts[:most], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, ", ")
}

func newAuditVerify(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "verify",
		Short: "Check that no audit record was changed, taken away or put in",
		Long: `Check the whole audit log against its chain of hashes and its sealed end. The exit
code is 1 when it was tampered with. Note the number of records elsewhere from time
to time: a database that was set back as a whole to an earlier state is consistent.`,
		Example: "  gatehouse audit verify", Args: cli.Exactly(),
		RunE: cli.Run(func(cmd *cobra.Command, _ []string) error {
			c, err := reach(cmd, env)
			if err != nil {
				return err
			}
			v, err := c.VerifyAudit(cmd.Context())
			if err != nil {
				return err
			}
			done, err := cli.Machine(cmd, env, v)
			switch {
			case err != nil:
				return err
			case v.Intact && !done:
				fmt.Fprintf(env.Stdout, "%s: %d records\n", cli.Colour(env, true, "intact"), v.Records)
			case !v.Intact && !done:
				fmt.Fprintf(env.Stdout, "%s: %s\n", cli.Colour(env, false, "tampered with"), v.Problem)
			}
			if !v.Intact {
				return &cli.Exit{Code: cli.ExitNo}
			}
			return nil
		}),
	}
}
