package live

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/client"
)

// reach returns a client of the house that the flags and the environment name.
func reach(cmd *cobra.Command, env *cli.Env) (*client.Client, error) {
	url := cli.Server(cmd, env)
	if f := cmd.Flag("estate"); url == "" || f != nil && f.Value.String() != "" {
		return nil, cli.Usage("%s needs a running house: start it with gatehouse up, or name it with --server", cmd.CommandPath())
	}
	return dial(cmd.Context(), env.Getenv, url)
}

// facts prints names and values in two columns. Empty values are left out.
func facts(env *cli.Env, pairs ...string) {
	wide := 0
	for i := 0; i < len(pairs); i += 2 {
		wide = max(wide, len(pairs[i]))
	}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(env.Stdout, "%-*s   %s\n", wide, pairs[i], pairs[i+1])
		}
	}
}
