package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A chart is what is known about a patient, in the one form that the checks read,
// whichever way the API server was told.
type chart struct {
	Patient
	flags    map[string]string // nil when they are not known
	chain    []link
	chainErr error // why the chain is not known
	legacy   bool  // the chain was given by flags
	anon     *anonymousAuth
	anonErr  error
	signIn   string // path of the TokenReview webhook's kubeconfig
	signErr  error
}

// A link is one authorizer of the chain.
type link struct {
	kind string // Node, Webhook, RBAC, ...
	hook hookSettings
}

type hookSettings struct {
	failClosed              bool
	cacheAllows, cacheNoes  bool
	conditions              []string
	kubeconfig, reviewShape string
}

func newChart(p Patient) *chart {
	c := &chart{Patient: p}
	if p.Flags != nil {
		c.flags = parseFlags(p.Flags)
	}
	c.readChain()
	c.readAnonymous()
	c.signIn = p.TokenReview
	if c.flags != nil {
		c.signIn = c.flags["authentication-token-webhook-config-file"]
	} else if c.signIn == "" {
		c.signErr = notRead("neither the API server's flags nor the sign-in webhook's file is at hand")
	}
	return c
}

// parseFlags reads --name=value and --name value; the last one wins, as it does
// for kube-apiserver.
func parseFlags(args []string) map[string]string {
	flags := map[string]string{}
	for i := 0; i < len(args); i++ {
		name, ok := strings.CutPrefix(args[i], "--")
		if !ok {
			continue
		}
		name, value, given := strings.Cut(name, "=")
		if !given && i+1 < len(args) && !strings.HasPrefix(args[i+1], "--") {
			i++
			value = args[i]
		}
		flags[name] = value
	}
	return flags
}

// read returns a file of the API server, parsed strictly, as it is parsed there.
func (c *chart) read(path string, into any) error {
	data, err := c.file(path)
	if err != nil {
		return err
	}
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	dec.KnownFields(true)
	if err := dec.Decode(into); err != nil {
		return notRead("%s: %v", path, err)
	}
	return nil
}

func (c *chart) file(path string) ([]byte, error) {
	if c.ReadFile == nil {
		return nil, notRead("%s: the API server's files are not at hand", path)
	}
	data, err := c.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notRead("%s does not exist here", path)
	}
	if err != nil {
		return nil, notRead("%v", err)
	}
	return data, nil
}

func (c *chart) readChain() {
	path := c.Authorization
	if c.flags != nil {
		path = c.flags["authorization-config"]
		if path == "" {
			c.chain, c.legacy = legacyChain(c.flags), true
			return
		}
	}
	if path == "" {
		c.chainErr = notRead("neither the API server's flags nor its AuthorizationConfiguration is at hand")
		return
	}
	var conf authorizationConfiguration
	if c.chainErr = c.read(path, &conf); c.chainErr != nil {
		return
	}
	for _, a := range conf.Authorizers {
		l := link{kind: a.Type}
		if w := a.Webhook; w != nil {
			l.hook = hookSettings{
				failClosed:  w.FailurePolicy == "Deny",
				cacheAllows: w.CacheAuthorizedRequests == nil || *w.CacheAuthorizedRequests,
				cacheNoes:   w.CacheUnauthorizedRequests == nil || *w.CacheUnauthorizedRequests,
				kubeconfig:  w.ConnectionInfo.KubeConfigFile, reviewShape: w.ReviewVersion,
			}
			for _, m := range w.MatchConditions {
				l.hook.conditions = append(l.hook.conditions, m.Expression)
			}
		}
		c.chain = append(c.chain, l)
	}
}

// legacyChain is what the flags from before structured configuration mean. They
// know neither a failure policy nor conditions: a webhook that fails has no
// opinion, and everybody is sent to it.
func legacyChain(flags map[string]string) []link {
	modes := "AlwaysAllow" // kube-apiserver's default
	if m, ok := flags["authorization-mode"]; ok {
		modes = m
	}
	var chain []link
	for mode := range strings.SplitSeq(modes, ",") {
		l := link{kind: strings.TrimSpace(mode)}
		if l.kind == "Webhook" {
			l.hook = hookSettings{
				cacheAllows: ttl(flags, "authorization-webhook-cache-authorized-ttl"),
				cacheNoes:   ttl(flags, "authorization-webhook-cache-unauthorized-ttl"),
				kubeconfig:  flags["authorization-webhook-config-file"], reviewShape: "v1beta1",
			}
			if v := flags["authorization-webhook-version"]; v != "" {
				l.hook.reviewShape = v
			}
		}
		chain = append(chain, l)
	}
	return chain
}

// ttl reports whether a cache is on. An absent flag means its default, which is.
func ttl(flags map[string]string, name string) bool {
	v, ok := flags[name]
	return !ok || !slices.Contains([]string{"0", "0s", "0m0s"}, v)
}

func (c *chart) readAnonymous() {
	path := c.Authentication
	if c.flags != nil {
		path = c.flags["authentication-config"]
		if v, ok := c.flags["anonymous-auth"]; ok || path == "" {
			c.anon = &anonymousAuth{Enabled: !ok || v == "true" || v == ""}
			return
		}
	}
	if path == "" {
		c.anonErr = notRead("neither the API server's flags nor its AuthenticationConfiguration is at hand")
		return
	}
	var conf authenticationConfiguration
	if c.anonErr = c.read(path, &conf); c.anonErr != nil {
		return
	}
	if c.anon = conf.Anonymous; c.anon == nil {
		c.anon = &anonymousAuth{Enabled: true} // what the API server makes of silence
	}
}

// house returns the position and the settings of the webhook in the chain.
func (c *chart) house() (int, hookSettings, error) {
	if c.chainErr != nil {
		return 0, hookSettings{}, c.chainErr
	}
	i := slices.IndexFunc(c.chain, func(l link) bool { return l.kind == "Webhook" })
	if i < 0 {
		return 0, hookSettings{}, notRead("there is no webhook in the chain %s", c.kinds())
	}
	return i, c.chain[i].hook, nil
}

func (c *chart) kinds() string {
	var kinds []string
	for _, l := range c.chain {
		kinds = append(kinds, l.kind)
	}
	return strings.Join(kinds, ", ")
}

// ManifestFlags returns the arguments of kube-apiserver in a static pod's manifest.
func ManifestFlags(manifest []byte) ([]string, error) {
	var pod struct {
		Spec struct {
			Containers []struct {
				Name          string
				Command, Args []string
			}
		}
	}
	if err := yaml.Unmarshal(manifest, &pod); err != nil {
		return nil, fmt.Errorf("manifest of kube-apiserver: %w", err)
	}
	for _, c := range pod.Spec.Containers {
		if all := slices.Concat(c.Command, c.Args); len(all) > 0 && (c.Name == "kube-apiserver" || strings.HasSuffix(all[0], "kube-apiserver")) {
			return all, nil
		}
	}
	return nil, errors.New("the manifest has no container kube-apiserver")
}

// K3sFlags returns the arguments of kube-apiserver in a configuration file of
// k3s, and those that k3s adds when they are not there.
func K3sFlags(config []byte) ([]string, error) {
	var conf map[string]any
	if err := yaml.Unmarshal(config, &conf); err != nil {
		return nil, fmt.Errorf("configuration of k3s: %w", err)
	}
	flags := []string{}
	for _, name := range []string{"kube-apiserver-arg", "kube-apiserver-arg+"} {
		switch v := conf[name].(type) {
		case string:
			flags = append(flags, "--"+v)
		case []any:
			for _, a := range v {
				flags = append(flags, fmt.Sprintf("--%v", a))
			}
		}
	}
	have := parseFlags(flags)
	if _, ok := have["authorization-config"]; !ok {
		flags = append([]string{"--authorization-mode=Node,RBAC"}, flags...)
	}
	if _, ok := have["authentication-config"]; !ok {
		flags = append([]string{"--anonymous-auth=false"}, flags...)
	}
	return flags, nil
}

// Patient returns the cluster as the doctor wants it.
func (c *Cluster) Patient(readFile func(string) ([]byte, error)) (Patient, error) {
	anonymous, err := newAPI(c.Server(), c.CA(), nil)
	if err != nil {
		return Patient{}, err
	}
	api, err := c.asMaster()
	if err != nil {
		return Patient{}, err
	}
	return Patient{Flags: c.apiServerArgs(), ReadFile: readFile, Scope: c.conf.Scope, API: &api, Anonymous: &anonymous, Now: c.conf.Now()}, nil
}
