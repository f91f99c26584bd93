package live

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/house"
	"github.com/gatehouse-io/gatehouse/internal/serve/api"
	"github.com/gatehouse-io/gatehouse/internal/signin"
	"github.com/gatehouse-io/gatehouse/internal/tour"
)

func newTour(env *cli.Env) *cobra.Command {
	var (
		numbers []int
		kube    string
	)
	cmd := &cobra.Command{
		Use:   "tour",
		Short: "Play stories of people and clusters against the running house, and say why each ends as it does",
		Long: `Play stories of people and clusters against the running house. The people of
the sample estate sign in through the pages and use the real kubectl; every step
says what was typed, what came out, what was expected and why. What a story
changes, it changes back.

Needs gatehouse up, with the sample estate. Exit code 0 when every story ends as
it should, 1 when one does not.`,
		Example: `  gatehouse tour
  gatehouse tour --story 2
  gatehouse tour -o json`,
		Args: cobra.NoArgs,
		RunE: cli.Run(func(cmd *cobra.Command, _ []string) error {
			return runTour(cmd, env, numbers, kube)
		}),
	}
	f := cmd.Flags()
	f.IntSliceVar(&numbers, "story", nil, "only the story with this `number`; may be repeated")
	f.StringVar(&kube, "kube", "", "`path` of gatehouse-kube, which has kubectl in it (default beside this program, or $GATEHOUSE_KUBE)")
	return cmd
}

func runTour(cmd *cobra.Command, env *cli.Env, numbers []int, kube string) error {
	stories, err := chosen(numbers)
	if err != nil {
		return err
	}
	stage, done, err := newStage(cmd, env, kube)
	if err != nil {
		return err
	}
	defer done()
	if err := signInAll(cmd, env, stage, stories); err != nil {
		return err
	}
	var reports []tour.Report
	machine := machineAsked(cmd)
	wrong := 0
	for _, s := range stories {
		var tell func(tour.Step)
		if !machine {
			tour.Heading(env.Stdout, s, colours(env))
			tell = func(step tour.Step) { tour.Print(env.Stdout, step, colours(env)) }
		}
		r := s.Play(cmd.Context(), stage, tell)
		if !machine {
			tour.Verdict(env.Stdout, r, colours(env))
		}
		if !r.OK {
			wrong++
		}
		reports = append(reports, r)
		if cmd.Context().Err() != nil {
			break
		}
	}
	if printed, err := cli.Machine(cmd, env, map[string][]tour.Report{"stories": reports}); err != nil {
		return err
	} else if !printed {
		fmt.Fprintf(env.Stdout, "\n%d of %d stories ended as they should\n", len(reports)-wrong, len(reports))
	}
	if wrong > 0 || len(reports) < len(stories) {
		return &cli.Exit{Code: cli.ExitNo}
	}
	return nil
}

// signInAll signs everybody in who will be on the stage. Devices ask every five
// seconds whether they may, so it is quicker to do it together.
func signInAll(cmd *cobra.Command, env *cli.Env, stage *tour.Stage, stories []tour.Story) error {
	var people []string
	for _, s := range stories {
		people = append(people, s.People...)
	}
	slices.Sort(people)
	people = slices.Compact(people)
	if len(people) == 0 {
		return nil
	}
	fmt.Fprintf(env.Stderr, "signing in by device code: %s\n", strings.Join(people, ", "))
	return stage.SignIn(cmd.Context(), people...)
}

func machineAsked(cmd *cobra.Command) bool {
	f := cmd.Flag("output")
	return f != nil && (f.Value.String() == "json" || f.Value.String() == "yaml")
}

// chosen are the stories with the numbers, or all.
func chosen(numbers []int) ([]tour.Story, error) {
	if len(numbers) == 0 {
		return tour.Stories(), nil
	}
	var stories []tour.Story
	for _, n := range numbers {
		s, ok := tour.Find(n)
		if !ok {
			var have []string
			for _, s := range tour.Stories() {
				have = append(have, fmt.Sprint(s.Number))
			}
			return nil, cli.Usage("there is no story %d yet: there are %s", n, strings.Join(have, ", "))
		}
		stories = append(stories, s)
	}
	return stories, nil
}

// newStage sets the stage in the house of the data directory: the tour needs the
// operator's credential and the password of the sample's people, which are there.
func newStage(cmd *cobra.Command, env *cli.Env, kube string) (*tour.Stage, func(), error) {
	dir := DataDir(env.Getenv)
	op, err := house.ReadOperator(dir.Operator())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, cli.Usage("no house has run with the data directory %s: start one with gatehouse up; set GATEHOUSE_DIR when it has a --dir of its own", dir)
	}
	if err != nil {
		return nil, nil, err
	}
	if url := cli.Server(cmd, env); url != "" && url != op.Authority {
		return nil, nil, cli.Usage("the tour plays in the house of %s, which is %s and not %s", dir, op.Authority, url)
	}
	password, err := os.ReadFile(dir.SamplePassword())
	if err != nil {
		return nil, nil, fmt.Errorf("the tour needs the people of the sample estate: %w", err)
	}
	conf := tour.Config{DataDir: string(dir), CA: op.CA, Password: strings.TrimSpace(string(password))}
	if conf.Gatehouse, err = self(); err != nil {
		return nil, nil, err
	}
	if conf.Kube, err = findKube(env, kube); err != nil {
		return nil, nil, err
	}
	// Whoever is signed in here: the tour is the operator's.
	conf.API, err = tour.Operator(signin.Config{Authority: op.Authority, Tenant: op.Tenant.String(), ClientID: op.ClientID.String(), ClientSecret: op.Secret,
		Method: signin.Secret, Resource: api.Audience, CAFile: op.CA, Cache: tokenCache(dir)})
	if err != nil {
		return nil, nil, err
	}
	if conf.Dir, err = os.MkdirTemp("", "gatehouse-tour-"); err != nil {
		return nil, nil, err
	}
	done := func() { os.RemoveAll(conf.Dir) }
	if conf.DataDir, err = filepath.Abs(conf.DataDir); err != nil {
		done()
		return nil, nil, err
	}
	stage, err := tour.NewStage(cmd.Context(), conf)
	if err != nil {
		done()
		return nil, nil, fmt.Errorf("the tour needs a running house at %s (gatehouse up): %w", op.Authority, err)
	}
	return stage, done, nil
}

// colours are for a person at a terminal who has not refused them (no-color.org).
func colours(env *cli.Env) tour.Paint {
	if !env.Terminal || env.Getenv("NO_COLOR") != "" || env.Getenv("TERM") == "dumb" {
		return nil
	}
	codes := map[string]string{"green": "1;32", "red": "1;31", "dim": "2"}
	return func(colour, text string) string { return "\x1b[" + codes[colour] + "m" + text + "\x1b[0m" }
}
