package live

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-io/gatehouse/internal/cli"
	"github.com/gatehouse-io/gatehouse/internal/house"
	"github.com/gatehouse-io/gatehouse/internal/sample"
	"github.com/gatehouse-io/gatehouse/internal/store/etcd"
)

// houseFlags are the flags of the commands that run a house.
type houseFlags struct {
	dir, listen, webhook, proxy, authority, domain, kube string
	names, private                                       []string
	endpoints                                            []string
	etcdCert, etcdKey, etcdCA                            string
	maxAge                                               time.Duration
	acceptLoss, resume, verbose                          bool
	rehearsal, endRehearsal                              bool
}

// register declares the flags; proxy is the default of --proxy-listen, rehearsal
// that of --rehearsal.
func (h *houseFlags) register(cmd *cobra.Command, proxy string, rehearsal bool) {
	f := cmd.Flags()
	f.StringVar(&h.dir, "dir", "", "data `directory` (default $GATEHOUSE_DIR, or .gatehouse in the home directory)")
	f.StringVar(&h.listen, "listen", house.DefaultListen, "`address` of the issuer, the management API and the pages")
	f.StringVar(&h.webhook, "webhook-listen", house.DefaultWebhookListen, "`address` that API servers ask")
	f.StringVar(&h.proxy, "proxy-listen", proxy, "loopback `address` of the proxy for Azure clients (gatehouse shell), or off")
	f.StringVar(&h.authority, "authority", "", "`URL` by which clients reach the house (default https:// and --listen)")
	f.StringSliceVar(&h.names, "name", nil, "further host `names` in the serving certificate")
	f.StringSliceVar(&h.private, "private-issuer", nil, "`hosts` (host or host:port) of token issuers that may be in the own network")
	f.StringVar(&h.domain, "domain", "gatehouse.local", "`domain` of the tenant that a first start makes")
	f.StringSliceVar(&h.endpoints, "etcd", nil, "`URLs` of an etcd that is run elsewhere, instead of the embedded one")
	f.StringVar(&h.etcdCert, "etcd-cert-file", "", "client certificate `file` for --etcd")
	f.StringVar(&h.etcdKey, "etcd-key-file", "", "its key `file`")
	f.StringVar(&h.etcdCA, "etcd-ca-file", "", "authority `file` of --etcd")
	f.DurationVar(&h.maxAge, "max-age", 0, "how old a replica's view may be before it stops allowing (default 5s)")
	f.BoolVar(&h.acceptLoss, "accept-loss", false, "start although acknowledged changes are missing from the store")
	f.BoolVar(&h.resume, "resume-issuing", false, "issue tokens again after gatehouse keys stop-issuing")
	f.BoolVar(&h.rehearsal, "rehearsal", rehearsal, "let knobs of a rehearsal be turned on (gatehouse rehearse)")
	f.BoolVar(&h.endRehearsal, "end-rehearsal", false, "turn off what knobs of a rehearsal are on")
	f.BoolVarP(&h.verbose, "verbose", "v", false, "log more")
}

func (h *houseFlags) config(env *cli.Env, log *slog.Logger) house.Config {
	dir := house.Dir(h.dir)
	if dir == "" {
		dir = DataDir(env.Getenv)
	}
	conf := house.Config{Dir: dir, Listen: h.listen, WebhookListen: h.webhook, ProxyListen: h.proxy, Authority: strings.TrimSuffix(h.authority, "/"),
		Names: h.names, PrivateIssuers: h.private, Domain: h.domain, Kube: h.kube, MaxAge: h.maxAge, AcceptLoss: h.acceptLoss, ResumeIssuing: h.resume, Log: log,
		Rehearse: h.rehearsal, EndRehearsal: h.endRehearsal}
	if h.proxy == "off" {
		conf.ProxyListen = ""
	}
	if len(h.endpoints) > 0 {
		conf.External = &etcd.ClientConfig{Endpoints: h.endpoints, TLS: etcd.Files{Cert: h.etcdCert, Key: h.etcdKey, CA: h.etcdCA}}
	}
	return conf
}

func (h *houseFlags) level() slog.Level {
	if h.verbose {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

func newServe(env *cli.Env) *cobra.Command {
	var h houseFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the identity plane alone",
		Long: `Run the identity plane alone: issuer, webhooks, management API, store. Clusters are
attached to it with gatehouse cluster attach. Logs are JSON on standard error.`,
		Example: `  gatehouse serve --dir /var/lib/gatehouse --authority https://gatehouse.example --listen 0.0.0.0:8443 --domain teknews.cloud
  gatehouse serve --etcd https://10.0.0.1:2379 --etcd-cert-file c.pem --etcd-key-file k.pem --etcd-ca-file ca.pem`,
		Args: cobra.NoArgs,
		RunE: cli.Run(func(cmd *cobra.Command, _ []string) error {
			log := slog.New(slog.NewJSONHandler(env.Stderr, &slog.HandlerOptions{Level: h.level()}))
			conf := h.config(env, log)
			conf.Progress = func(step string) { log.Info(step) }
			return runHouse(cmd.Context(), conf, func(*house.House) error { return nil })
		}),
	}
	h.register(cmd, "off", false)
	return cmd
}

func newUp(env *cli.Env) *cobra.Command {
	var (
		h     houseFlags
		empty bool
	)
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Bring up the identity plane, control planes and the sample estate",
		Long: `Bring up the identity plane, a real Kubernetes control plane for every cluster of
the estate, and, on the first start, the sample estate teknews: its people,
groups, grants and three clusters. Ends with Ctrl-C; the next start finds
everything again.`,
		Example: `  gatehouse up
  gatehouse up --empty --domain example.com`,
		Args: cobra.NoArgs,
		RunE: cli.Run(func(cmd *cobra.Command, _ []string) error {
			return up(cmd.Context(), env, h, empty)
		}),
	}
	h.register(cmd, house.DefaultProxyListen, true)
	cmd.Flags().BoolVar(&empty, "empty", false, "start without the sample estate")
	cmd.Flags().StringVar(&h.kube, "kube", "", "`path` of gatehouse-kube (default beside this program, or $GATEHOUSE_KUBE)")
	return cmd
}

func up(ctx context.Context, env *cli.Env, h houseFlags, empty bool) error {
	kube, err := findKube(env, h.kube)
	if err != nil {
		return err
	}
	h.kube = kube
	conf := h.config(env, nil)
	// Before anything is written: the directory may be another house's.
	if conf.Lock, err = conf.Dir.Lock(); err != nil {
		return err
	}
	defer conf.Lock.Unlock()
	logFile, err := os.OpenFile(filepath.Join(string(conf.Dir), "gatehouse.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	conf.Log = slog.New(slog.NewJSONHandler(logFile, &slog.HandlerOptions{Level: h.level()}))
	if !empty {
		conf.First = sample.Records()
		if conf.FirstPassword, err = samplePassword(conf.Dir); err != nil {
			return err
		}
	}
	start := time.Now()
	var mu sync.Mutex
	conf.Progress = func(step string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(env.Stderr, "%6.1f s  %s\n", time.Since(start).Seconds(), step)
	}
	conf.Rehearsing = func(summary string) {
		if summary == "" {
			conf.Progress("REHEARSAL ended: all knobs are off")
			return
		}
		conf.Progress("REHEARSAL: " + summary + " (gatehouse rehearse off ends it)")
	}
	return runHouse(ctx, conf, func(running *house.House) error {
		fmt.Fprintf(env.Stderr, "%6.1f s  up\n\n", time.Since(start).Seconds())
		return greet(env.Stdout, running, conf)
	})
}

// runHouse runs a house until a signal or a failure ends it.
func runHouse(ctx context.Context, conf house.Config, ready func(*house.House) error) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	running, err := house.Start(ctx, conf)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return errors.New("interrupted while starting; the next start goes on from there")
	}
	if err != nil {
		return err
	}
	defer running.Stop()
	if err := ready(running); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		stop() // a second signal ends the process at once
		if conf.Progress != nil {
			conf.Progress("stopping")
		}
		return nil
	case err := <-running.Failed():
		return err
	}
}

// greet says what runs and what to do with it.
func greet(w io.Writer, running *house.House, conf house.Config) error {
	fmt.Fprintf(w, "Identity plane  %s\n", running.Authority())
	fmt.Fprintf(w, "Data            %s\n", conf.Dir)
	if summary := running.Store().Rehearsal().Summary(time.Now()); summary != "" {
		fmt.Fprintf(w, "REHEARSAL       %s\n", summary)
	}
	est := running.Store().Current()
	var first string
	for c := range est.Clusters() {
		fmt.Fprintf(w, "Cluster         %-8s %s\n", c.Name, c.Endpoint)
		if first == "" && c.Endpoint != "" && c.EntraSignIn {
			first = c.Name
		}
	}
	if _, sampled := est.UserByName("faye@teknews.cloud"); !sampled || first == "" {
		_, err := fmt.Fprintf(w, "\nIn another terminal: gatehouse whoami; make people with gatehouse user create --help\nCtrl-C stops everything; the next start finds it again.\n")
		return err
	}
	kubectl := "kubectl"
	if _, err := exec.LookPath("kubectl"); err != nil {
		kubectl = conf.Kube + " kubectl"
	}
	_, err := fmt.Fprintf(w, `
Sign in and use kubectl, in another terminal:
  gatehouse kubeconfig %s > /tmp/%s.kubeconfig
  %s --kubeconfig /tmp/%s.kubeconfig get namespaces
People: ed, faye, jet, leonard, penny @teknews.cloud, developer1@contoso.com
Their password is in %s
Ask why: gatehouse why list pods -n default --as faye@teknews.cloud --cluster %s
With az, kubelogin and the Azure SDKs: gatehouse shell
Ctrl-C stops everything; the next start finds it again.
`, first, first, kubectl, first, conf.Dir.SamplePassword(), first)
	return err
}

// samplePassword returns the password of the sample's people, made on the first
// start. A house that was begun without them needs none.
func samplePassword(dir house.Dir) (string, error) {
	data, err := os.ReadFile(dir.SamplePassword())
	if err == nil {
		return strings.TrimSpace(string(data)), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	// The operator's credential is the last thing that a first start writes.
	if _, err := os.Stat(dir.Operator()); !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	password := rand.Text()
	return password, os.WriteFile(dir.SamplePassword(), []byte(password+"\n"), 0o600)
}

// findKube finds the control plane's program.
func findKube(env *cli.Env, flag string) (string, error) {
	var tried []string
	for _, path := range []string{flag, env.Getenv("GATEHOUSE_KUBE"), beside("gatehouse-kube")} {
		if path == "" {
			continue
		}
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return filepath.Abs(path)
		}
		tried = append(tried, path)
		if path == flag {
			break
		}
	}
	if path, err := exec.LookPath("gatehouse-kube"); err == nil && flag == "" {
		return path, nil
	}
	return "", fmt.Errorf("gatehouse-kube, the control plane's program, is not at %s: run make build, or name it with --kube; gatehouse serve needs none", strings.Join(tried, ", "))
}

func beside(name string) string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	return filepath.Join(filepath.Dir(path), name)
}
