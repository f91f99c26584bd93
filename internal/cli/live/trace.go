package live

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/client"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
	"github.com/gatehouse-io/gatehouse/internal/tour"
)

func newTrace(env *cli.Env) *cobra.Command {
	var (
		which client.WhichEvents
		list  bool
	)
	cmd := &cobra.Command{
		Use:   "trace",
		Short: "Show the way of a request: who, which token, which groups, who said what and why",
		Long: `Show the way of somebody's latest request in ten steps, from kubectl to the
answer: which token was issued and checked, which groups were found, which
authorizer said what, and why. An API server does not report what its own
authorizers said, so that Kubernetes RBAC is asked of the estate as it is now.

Without --user, or with --events, list what the doors of the house did lately,
one line an event; with --refused, what they refused, and by which ids whoever was
refused knows it. With --request, what became of the request with such an id.
Events are in memory, each replica its own, the latest 10,000 of what was refused to
whom the house knows, of what it refused to others, and of the rest.`,
		Example: `  gatehouse trace --user faye@teknews.cloud
  gatehouse trace --user faye@teknews.cloud --cluster aks-1 -o json
  gatehouse trace --events --limit 20
  gatehouse trace --refused --user jet@teknews.cloud
  gatehouse trace --request 8dd2c7f09b5f4e1a`,
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
			if which.Cluster != "" {
				scope, err := clusterScope(cmd, env, which.Cluster)
				if err != nil {
					return err
				}
				which.Cluster = scope.String()
			}
			if which.User != "" && !list && !which.Refused && which.Request == "" {
				flow, err := tour.Trace(cmd.Context(), c, which.User, which.Cluster)
				if err != nil {
					return err
				}
				if done, err := cli.Machine(cmd, env, flow); done {
					return err
				}
				warnRehearsal(env, c.Rehearses)
				printFlow(env.Stdout, flow, colours(env))
				return nil
			}
			events, err := c.Events(cmd.Context(), which)
			if err != nil {
				return err
			}
			if done, err := cli.Machine(cmd, env, wire.Trace{Events: events, Rehearsal: c.Rehearses}); done {
				return err
			}
			warnRehearsal(env, c.Rehearses)
			for _, e := range events {
				fmt.Fprintln(env.Stdout, told(e))
			}
			if len(events) == 0 {
				fmt.Fprintln(env.Stderr, "no such requests that the house remembers and shows to you")
			}
			return nil
		}),
	}
	f := cmd.Flags()
	f.StringVar(&which.User, "user", "", "of this user, by `name` or object id")
	f.StringVar(&which.Cluster, "cluster", "", "on this cluster alone, by `name` or scope")
	f.BoolVar(&list, "events", false, "list events, not the way of one request")
	f.BoolVar(&which.Refused, "refused", false, "list refusals alone")
	f.StringVar(&which.Request, "request", "", "list the events of one answer, by the request, trace or correlation `id` in it")
	f.IntVar(&which.Limit, "limit", 50, "list at most this many events, the latest")
	return cmd
}

// printFlow tells the steps of a request, one paragraph each.
func printFlow(w io.Writer, f tour.Flow, paint tour.Paint) {
	for _, s := range f.Steps {
		at := strings.Repeat(" ", len(clock))
		if !s.At.IsZero() {
			at = s.At.Local().Format(clock)
		}
		text := strings.ReplaceAll(s.Text, "\n", "\n"+strings.Repeat(" ", len(clock)+25))
		if s.Skipped && paint != nil {
			text = paint("dim", text)
		}
		mark := " "
		if s.Skipped {
			mark = "-"
		}
		fmt.Fprintf(w, "%2d. %-18s %s %s %s\n", s.Number, s.Title, at, mark, text)
	}
}

// clock is how the time of a step is written.
const clock = "15:04:05.000"

// told is one event as a sentence.
func told(e wire.Event) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %-5s %-13s %s", e.At.Local().Format(time.TimeOnly+".000"), e.Door, e.Effect, who(e))
	if k := e.Kube; k != nil {
		fmt.Fprintf(&b, "  %s", tour.Request(*k))
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
	if e.Asked != "" {
		fmt.Fprintf(&b, "  %s", e.Asked)
	}
	if e.Reason != "" {
		fmt.Fprintf(&b, "\n              %s", e.Reason)
	}
	if e.Effect == serve.Refused && e.TraceID != "" {
		fmt.Fprintf(&b, "\n              request %s", e.TraceID)
		if e.CorrelationID != "" && e.CorrelationID != e.TraceID {
			fmt.Fprintf(&b, "  correlation %s", e.CorrelationID)
		}
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
