package tour

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/gatehouse-io/gatehouse/internal/cluster"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/sample"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/client"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
	"github.com/gatehouse-io/gatehouse/internal/signin"
)

// Config says where the stories are played. All fields are required, but for
// Kubelogin.
type Config struct {
	API      *client.Client // of the operator
	DataDir  string         // of the house: the operator's commands run with it
	CA       string         // file of the authority that signed the house's certificate
	Password string         // of the sample's people
	// Gatehouse is the path of this program, Kube that of gatehouse-kube.
	Gatehouse, Kube string
	// Dir is an empty folder for what people keep: kubeconfigs and tokens.
	Dir string
}

// A Stage is a live house with the sample estate, and the people on it.
type Stage struct {
	conf      Config
	http      *http.Client
	est       *estate.Snapshot
	endpoints map[string]cluster.Endpoint // by the names of the clusters

	mu     sync.Mutex
	people map[string]*Person
}

// errNoSample says that the house is not one that stories can be played in.
var errNoSample = errors.New("the house does not have the sample estate that the stories are about: start one with gatehouse up, in a new --dir")

// NewStage looks at the house and prepares what everybody needs.
func NewStage(ctx context.Context, conf Config) (*Stage, error) {
	hc, err := signin.Client(conf.CA)
	if err != nil {
		return nil, err
	}
	s := &Stage{conf: conf, http: hc, endpoints: make(map[string]cluster.Endpoint), people: make(map[string]*Person)}
	if err := s.look(ctx); err != nil {
		return nil, err
	}
	for _, name := range []string{"aks-1", "aks-2", "aks-3"} {
		rec, ok := s.cluster(name)
		if !ok {
			return nil, errNoSample
		}
		if rec.Endpoint == "" {
			return nil, fmt.Errorf("cluster %s has no control plane yet: wait until gatehouse up says that it is up", name)
		}
		s.endpoints[name] = cluster.Endpoint{Name: rec.Name, ResourceGroup: rec.ResourceGroup, Server: rec.Endpoint, CA: []byte(rec.CertificateAuthority)}
	}
	return s, nil
}

// look reads the estate anew.
func (s *Stage) look(ctx context.Context) error {
	got, err := s.conf.API.Estate(ctx)
	if err != nil {
		return err
	}
	var bad error
	est, err := estate.Reload(got.Revision, func(yield func(record.Record) bool) {
		for _, r := range got.Records {
			rec, err := estate.Decode(r.Kind, r.Spec)
			if err != nil {
				bad = err
				return
			}
			if !yield(rec) {
				return
			}
		}
	})
	if err := errors.Join(bad, err); err != nil {
		return err
	}
	s.est = est
	return nil
}

func (s *Stage) cluster(name string) (resource.Cluster, bool) {
	for c := range s.est.Clusters() {
		if c.Name == name {
			return c, true
		}
	}
	return resource.Cluster{}, false
}

// Cluster returns what the house knows of a cluster now.
func (s *Stage) Cluster(ctx context.Context, name string) (resource.Cluster, error) {
	if err := s.look(ctx); err != nil {
		return resource.Cluster{}, err
	}
	c, ok := s.cluster(name)
	if !ok {
		return c, errNoSample
	}
	return c, nil
}

// Scope is the scope of a cluster, in the letters in which people write it.
func (s *Stage) Scope(name string) string {
	group := s.endpoints[name].ResourceGroup
	return sample.Subscription + "/resourceGroups/" + group + "/providers/Microsoft.ContainerService/managedClusters/" + name
}

// Person returns somebody of the sample by the name before the @.
func (s *Stage) Person(name string) (*Person, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.people[name]; ok {
		return p, nil
	}
	domain := "teknews.cloud"
	if strings.HasPrefix(name, "developer") {
		domain = "contoso.com"
	}
	u, ok := s.est.UserByName(name + "@" + domain)
	if !ok {
		return nil, errNoSample
	}
	p := &Person{Name: name, User: u, Home: filepath.Join(s.conf.Dir, name), stage: s}
	if err := os.MkdirAll(p.Home, 0o700); err != nil {
		return nil, err
	}
	s.people[name] = p
	return p, nil
}

// SignIn signs people in, by device code and through the pages, who are not
// signed in yet. All at once: a device waits five seconds before it asks whether
// it may.
func (s *Stage) SignIn(ctx context.Context, names ...string) error {
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		p, err := s.Person(name)
		if err != nil {
			return err
		}
		if p.signedIn {
			continue
		}
		wg.Go(func() { errs[i] = p.SignIn(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// environment is what a program is run with: nothing of the player's own
// Kubernetes or Azure settings.
func (s *Stage) environment(home, dataDir string, more ...string) []string {
	env := []string{"HOME=" + home, "GATEHOUSE_DIR=" + dataDir, "GATEHOUSE_KUBE=" + s.conf.Kube}
	for _, name := range []string{"PATH", "TMPDIR", "NO_PROXY", "no_proxy", "HTTPS_PROXY", "https_proxy", "GATEHOUSE_KUBELOGIN"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return append(env, more...)
}

// Operate runs this program as the operator of the house.
func (s *Stage) Operate(ctx context.Context, args ...string) (Outcome, error) {
	return command{path: s.conf.Gatehouse, args: args, env: s.environment(s.conf.Dir, s.conf.DataDir)}.run(ctx)
}

// Commit makes changes as the operator.
func (s *Stage) Commit(ctx context.Context, why string, ops ...estate.Op) error {
	changes := wire.Changes{Why: why}
	for _, op := range ops {
		if op.Put == nil {
			changes.Ops = append(changes.Ops, wire.Op{Delete: &wire.Delete{Kind: op.Delete.Kind, Parts: slices.Clone(op.Delete.Parts[:])}})
			continue
		}
		spec, err := record.Marshal(op.Put)
		if err != nil {
			return err
		}
		changes.Ops = append(changes.Ops, wire.Op{Put: &wire.Record{Kind: op.Put.Key().Kind, Spec: spec}})
	}
	_, err := s.conf.API.Commit(ctx, changes)
	return err
}

// Restore puts a record back as it was when the stage was set.
func (s *Stage) Restore(r record.Record) func(context.Context) error {
	return func(ctx context.Context) error {
		return s.Commit(ctx, "the tour puts back what it changed", estate.Op{Put: r})
	}
}

// Group returns a group of the sample by its name.
func (s *Stage) Group(name string) (directory.Group, error) {
	for p := range s.est.Principals() {
		if g, ok := s.est.Group(p.ID); ok && g.DisplayName == name {
			return g, nil
		}
	}
	return directory.Group{}, errNoSample
}
