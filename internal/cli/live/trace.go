package live

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

func newTrace(env *cli.Env) *cobra.Command {
	var (
		user, cluster string
		limit         int
	)
	cmd := &cobra.Command{
		Use:   "trace",
		Short: "Show the latest requests step by step: who, which token, which groups, which answer and why",
		Example: `  gatehouse trace --user faye@teknews.cloud
  gatehouse trace --cluster aks-1 --limit 20 -o json`,
		Args: cobra.NoArgs,
		RunE: cli.Run(func(cmd *cobra.Command, _ []string) error {
			url := cli.Server(cmd, env)
			if url == "" {
				return cli.Usage("trace needs a running house: start it with gatehouse up, or name it with --server")
			}
			c, err := dial(cmd.Context(), env.Getenv, url)
			if err != nil {
				return err
			}
			events, err := c.Trace(cmd.Context(), user, cluster, limit)
			if err != nil {
				return err
			}
			if done, err := cli.Machine(cmd, env, wire.Trace{Events: events}); done {
				return err
			}
			for _, e := range events {
				fmt.Fprintln(env.Stdout, line(e))
			}
			if len(events) == 0 {
				fmt.Fprintln(env.Stderr, "no requests yet")
			}
			return nil
		}),
	}
	f := cmd.Flags()
	f.StringVar(&user, "user", "", "only of this user, by `name` or object id")
	f.StringVar(&cluster, "cluster", "", "only of this cluster, by `scope` or name")
	f.IntVar(&limit, "limit", 50, "at most this many, the latest")
	return cmd
}

// line tells one event as a sentence.
func line(e wire.Event) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %-5s %-13s %s", e.At.Local().Format(time.TimeOnly+".000"), e.Door, e.Effect, who(e))
	if k := e.Kube; k != nil {
		fmt.Fprintf(&b, "  %s", request(*k))
	}
	if e.Cluster != "" {
		fmt.Fprintf(&b, "  on %s", e.Cluster[strings.LastIndexByte(e.Cluster, '/')+1:])
	}
	if e.Groups > 0 {
		fmt.Fprintf(&b, "  (%d groups)", e.Groups)
	}
	if e.By != "" {
		fmt.Fprintf(&b, "  by %s", e.By)
	}
	if e.Reason != "" {
		fmt.Fprintf(&b, "\n              %s", e.Reason)
	}
	return b.String()
}

func who(e wire.Event) string {
	switch {
	case e.User != "":
		return e.User
	case e.ID != "":
		return e.ID
	}
	return "-"
}

func request(k wire.Kube) string {
	if k.Path != "" {
		return k.Verb + " " + k.Path
	}
	what := k.Resource
	if k.Subresource != "" {
		what += "/" + k.Subresource
	}
	if k.APIGroup != "" {
		what += "." + k.APIGroup
	}
	if k.Name != "" {
		what += " " + k.Name
	}
	if k.Namespace != "" {
		what += " in " + k.Namespace
	}
	return k.Verb + " " + what
}
