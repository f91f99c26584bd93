package live

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/doctor"
)

// A line is one finding as people read it.
type line struct {
	mark      string
	good, bad bool
	id, what  string
	more      [][2]string // what stands below it; empty values are left out
}

func (l line) print(env *cli.Env) {
	mark := fmt.Sprintf("%-13s", l.mark)
	if l.good || l.bad {
		mark = cli.Colour(env, l.good, mark)
	}
	fmt.Fprintf(env.Stdout, "%s  %-22s  %s\n", mark, l.id, cli.Printable(oneLine(l.what)))
	for _, m := range l.more {
		if m[1] != "" {
			fmt.Fprintf(env.Stdout, "%15s%-22s  %s: %s\n", "", "", m[0], cli.Printable(m[1]))
		}
	}
}

// A diagnosis is what gatehouse doctor answers.
type diagnosis struct {
	Verdict  doctor.Verdict   `json:"verdict"`
	Findings []doctor.Finding `json:"findings"`
	// Code is what a code means, when one was asked about.
	Code *doctor.Code `json:"code,omitzero"`
}

// tell prints findings, and is the exit code.
func tell(cmd *cobra.Command, env *cli.Env, d diagnosis) error {
	d.Verdict = doctor.Worst(d.Findings)
	if d.Findings == nil {
		d.Findings = []doctor.Finding{}
	}
	done, err := cli.Machine(cmd, env, d)
	if err != nil {
		return err
	}
	if !done {
		printDiagnosis(env, d)
	}
	switch d.Verdict {
	case doctor.Wrong:
		return &cli.Exit{Code: cli.ExitNo}
	case doctor.NotEvaluated:
		return &cli.Exit{Code: cli.ExitUnanswered}
	}
	return nil
}

func printDiagnosis(env *cli.Env, d diagnosis) {
	about := ""
	var count [doctor.Wrong + 1]int
	for _, f := range d.Findings {
		if f.About != about {
			about = f.About
			fmt.Fprintln(env.Stdout, cli.Printable(about))
		}
		count[f.Verdict]++
		l := line{mark: f.Verdict.String(), good: f.Verdict == doctor.Right, bad: f.Verdict == doctor.Wrong, id: f.Check, what: f.What}
		if f.Verdict != doctor.Right {
			l.more = [][2]string{{"is", f.Got}, {"must be", f.Want}}
			if f.Differ != nil {
				l.more = append(l.more, [2]string{"differs", fmt.Sprintf("%s, at byte %d: %s", f.Differ.Kind, f.Differ.At, f.Differ.Detail)})
			}
			for i, text := range strings.Split(f.Fix, "\n") {
				l.more = append(l.more, [2]string{[]string{"fix", "and"}[min(i, 1)], text})
			}
		}
		l.print(env)
	}
	fmt.Fprintf(env.Stdout, "\n%d wrong, %d not evaluated, %d right\n", count[doctor.Wrong], count[doctor.NotEvaluated], count[doctor.Right])
}
