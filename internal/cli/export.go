package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/manifest"
)

func newExport(env *Env, o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "export",
		Short: "Write the estate in its normal form",
		Long: `Write the estate as one stream of documents in its normal form: names resolved
to ids, ids explained in comments, in a fixed order. The same estate makes the same
text, so that exports can be compared and kept. Read from a server, it is the part
of the estate that you may read.`,
		Example: `  gatehouse export --estate ./teknews > estate.yaml
  gatehouse export --server https://127.0.0.1:8443 -o json | jq '.items[] | select(.kind == "RoleAssignment")'`,
		GroupID: files,
		Args:    exactly(),
		RunE: run(func(ctx context.Context, _ []string) error {
			_, est, err := o.look(ctx, env)
			if err != nil {
				return err
			}
			if o.output == "json" {
				data, err := manifest.EncodeJSON(est.Records())
				if err != nil {
					return err
				}
				_, err = env.Stdout.Write(append(indentJSON(data), '\n'))
				return err
			}
			return manifest.Encode(env.Stdout, est.Records())
		}),
	}
}
