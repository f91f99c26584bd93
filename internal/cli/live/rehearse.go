package live

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/rehearsal"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

func newRehearse(env *cli.Env) *cobra.Command {
	status := newRehearseStatus(env)
	cmd := cli.Words("rehearse", "Let the house behave as a cloud does on its bad days", `Turn the knobs of a rehearsal: changes that take their time to count, requests that
are too many, doors that do not answer, limits that are reached, a clock that has
moved on. All are off until they are turned on here or by a Rehearsal document, all
are in the audit log, and every answer of the house says that it rehearses.

A house takes knobs only if it was started for it: gatehouse up is, gatehouse serve
with --rehearsal. Where others rely on the answers, none may be on.`,
		"  gatehouse rehearse\n  gatehouse rehearse clock +8h\n  gatehouse rehearse outage authz --for 10m\n  gatehouse rehearse off",
		status, newRehearseDelay(env), newRehearseThrottle(env), newRehearseOutage(env), newRehearseQuotas(env), newRehearseClock(env), newRehearseOff(env))
	group := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return status.RunE(cmd, args)
		}
		return group(cmd, args) // which says what is wrong with them
	}
	return cmd
}

// Everybody who turns a knob says why, if he likes.
func whyFlag(cmd *cobra.Command, why *string) *cobra.Command {
	cmd.Flags().StringVar(why, "why", "", "`reason`, for the audit log")
	return cmd
}

// turn changes the knobs by edit, and tells what is on then.
func turn(cmd *cobra.Command, env *cli.Env, why string, edit func(now wire.Rehearsal, k *rehearsal.Knobs) error) error {
	c, err := reach(cmd, env)
	if err != nil {
		return err
	}
	was, err := c.Rehearsal(cmd.Context())
	if err != nil {
		return err
	}
	next := was.Knobs
	next.Outages = slices.Clone(next.Outages)
	if err := edit(was, &next); err != nil {
		return err
	}
	// What has ended by itself need not be kept.
	next.Outages = slices.DeleteFunc(next.Outages, func(o rehearsal.Outage) bool {
		_, out := next.OutageOf(o.Door, was.MachineTime)
		return !out
	})
	if err := next.Validate(); err != nil {
		return cli.Usage("%v", err)
	}
	if why == "" {
		why = cmd.CommandPath()
	}
	var ops []estate.Op
	switch {
	case !next.Off(was.MachineTime):
		ops = []estate.Op{{Put: next}}
	case was.Summary != "" || len(was.Knobs.Outages) > 0:
		ops = []estate.Op{{Delete: next.Key()}}
	}
	if len(ops) > 0 {
		if _, err := (&remote{c}).Commit(cmd.Context(), why, ops, was.Revision); err != nil {
			return err
		}
	}
	// A clock that was moved far may have brought the operator a new secret.
	seen := c.AtLeast
	if c, err = reach(cmd, env); err != nil {
		return err
	}
	c.AtLeast = seen
	is, err := c.Rehearsal(cmd.Context())
	if err != nil {
		return err
	}
	return showRehearsal(cmd, env, is)
}

func newRehearseStatus(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show which knobs are on, and what the clocks say (of a server)",
		Example: "  gatehouse rehearse status\n  gatehouse rehearse status -o json", Args: cli.Exactly(),
		RunE: cli.Run(func(cmd *cobra.Command, _ []string) error {
			c, err := reach(cmd, env)
			if err != nil {
				return err
			}
			is, err := c.Rehearsal(cmd.Context())
			if err != nil {
				return err
			}
			return showRehearsal(cmd, env, is)
		}),
	}
}

func showRehearsal(cmd *cobra.Command, env *cli.Env, is wire.Rehearsal) error {
	if done, err := cli.Machine(cmd, env, is); done {
		return err
	}
	k := is.Knobs
	onOff := func(text string) string {
		if text == "" {
			return "off"
		}
		return text
	}
	clock := "the machine's"
	if k.ClockAhead > 0 {
		clock = fmt.Sprintf("%s ahead: %s", k.ClockAhead, is.HouseTime.Local().Format(time.RFC3339))
	}
	delay := ""
	if k.PropagationDelay > 0 {
		delay = k.PropagationDelay.String()
	}
	allowed := "this house may rehearse"
	if !is.Allowed {
		allowed = "this house takes no knobs: it was not started with --rehearsal"
	}
	facts(env, "Rehearsal", onOff(is.Summary), "Delay", onOff(delay), "Throttling", onOff(rates(k.Throttle)),
		"Outages", onOff(outages(k, is.MachineTime)), "Quotas", onOff(quotas(k.Limits)), "Clock", clock, "Guard", allowed)
	for _, w := range is.Warnings {
		fmt.Fprintln(env.Stderr, "warning: "+w)
	}
	return nil
}

func rates(t rehearsal.Throttle) string {
	var list []string
	for _, r := range []struct {
		name string
		rate rehearsal.Rate
	}{{"arm reads", t.ARMReads}, {"arm writes", t.ARMWrites}, {"arm deletes", t.ARMDeletes}, {"graph", t.Graph}, {"token", t.Token}} {
		if text := r.rate.String(); text != "" {
			list = append(list, r.name+" "+text)
		}
	}
	return strings.Join(list, ", ")
}

func outages(k rehearsal.Knobs, now time.Time) string {
	var list []string
	for _, o := range k.Outages {
		how, out := k.OutageOf(o.Door, now)
		if !out {
			continue
		}
		text := fmt.Sprintf("%s (%s)", o.Door, how)
		if !o.Until.IsZero() {
			text += " until " + o.Until.Local().Format(time.RFC3339)
		}
		list = append(list, text)
	}
	return strings.Join(list, ", ")
}

func quotas(l rehearsal.Limits) string {
	var list []string
	for _, q := range quotaFlags(&l) {
		if *q.value > 0 {
			list = append(list, fmt.Sprintf("%d %s", *q.value, q.what))
		}
	}
	return strings.Join(list, ", ")
}

func newRehearseOff(env *cli.Env) *cobra.Command {
	var why string
	return whyFlag(&cobra.Command{
		Use: "off", Short: "Turn all knobs off (on a server)", Example: "  gatehouse rehearse off", Args: cli.Exactly(),
		Long: `Turn all knobs off at once: the clock is the machine's again, every door answers, and
changes count at once.`,
		RunE: cli.Run(func(cmd *cobra.Command, _ []string) error {
			return turn(cmd, env, why, func(_ wire.Rehearsal, k *rehearsal.Knobs) error {
				*k = rehearsal.Knobs{}
				return nil
			})
		}),
	}, &why)
}

func newRehearseDelay(env *cli.Env) *cobra.Command {
	var why string
	return whyFlag(&cobra.Command{
		Use: "delay DURATION|off", Short: "Let changes of access take their time to count (on a server)",
		Long: `Let a change of who has what (role assignments, memberships, the directory) count only
after a while in what the webhooks, Azure Resource Manager and Graph decide, while
it can be read at once. Azure speaks of up to 10 minutes, AKS of up to 5.

What stops somebody is never delayed: a disabled or deleted account, sign-ins that
were revoked, local accounts and certificates.`,
		Example: "  gatehouse rehearse delay 5m\n  gatehouse rehearse delay off", Args: cli.Exactly("DURATION"),
		ValidArgsFunction: cobra.FixedCompletions([]cobra.Completion{"30s", "5m", "10m", "off"}, cobra.ShellCompDirectiveNoFileComp),
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			var d rehearsal.Duration
			if args[0] != "off" {
				var err error
				if d, err = rehearsal.ParseDuration(args[0]); err != nil {
					return cli.Usage("%v, or off", err)
				}
			}
			return turn(cmd, env, why, func(_ wire.Rehearsal, k *rehearsal.Knobs) error {
				k.PropagationDelay = d
				return nil
			})
		}),
	}, &why)
}

func newRehearseClock(env *cli.Env) *cobra.Command {
	var why, set string
	cmd := whyFlag(&cobra.Command{
		Use: "clock +DURATION|reset", Short: "Move the house's clock (on a server)",
		Long: `Move the clock by which tokens, codes, sessions, secrets, signing keys and the windows
of grants end, on all replicas and over restarts. +8h moves it on by eight hours from
where it is; --set puts it to a time; reset makes it the machine's again.

It is never behind the machine's clock. Certificates, control planes, the audit log
and tokens of other issuers go by the machine's. Moving it back makes good again
what had ended by the clock alone, and nothing that was revoked, used up or stopped.`,
		Example: "  gatehouse rehearse clock +8h\n  gatehouse rehearse clock --set 2030-01-01T09:00:00Z\n  gatehouse rehearse clock reset",
		Args: func(cmd *cobra.Command, args []string) error {
			if set != "" && len(args) == 0 || set == "" && len(args) == 1 {
				return nil
			}
			return cli.Usage("say how to move it: gatehouse rehearse clock +8h, --set TIME, or reset")
		},
		ValidArgsFunction: cobra.FixedCompletions([]cobra.Completion{"+1h", "+8h", "+30d", "reset"}, cobra.ShellCompDirectiveNoFileComp),
		RunE: cli.Run(func(cmd *cobra.Command, args []string) error {
			return turn(cmd, env, why, func(now wire.Rehearsal, k *rehearsal.Knobs) error {
				if set != "" {
					at, err := time.Parse(time.RFC3339, set)
					if err != nil {
						return cli.Usage("--set %s: write the time like 2030-01-01T09:00:00Z", set)
					}
					ahead := at.Sub(now.MachineTime)
					if ahead < 0 {
						return cli.Usage("--set %s: the clock cannot be behind the machine's, which says %s: what it has ended would come back", set, now.MachineTime.Local().Format(time.RFC3339))
					}
					k.ClockAhead = rehearsal.Duration(ahead)
					return nil
				}
				if args[0] == "reset" {
					k.ClockAhead = 0
					return nil
				}
				more, ok := strings.CutPrefix(args[0], "+")
				d, err := rehearsal.ParseDuration(more)
				if err != nil || !ok {
					return cli.Usage("clock %s: write +8h, --set TIME, or reset", args[0])
				}
				k.ClockAhead += d
				return nil
			})
		}),
	}, &why)
	cmd.Flags().StringVar(&set, "set", "", "put it to a `time`, such as 2030-01-01T09:00:00Z")
	return cmd
}

// warnRehearsal says that what a house answers is part of a rehearsal.
func warnRehearsal(env *cli.Env, summary string) {
	if summary != "" {
		fmt.Fprintln(env.Stderr, "REHEARSAL: "+summary)
	}
}
