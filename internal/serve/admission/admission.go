// Package admission answers the AdmissionReviews of Kubernetes API servers
// (admission.k8s.io/v1): what must change in this pod before it is created?
//
// It is the mutating webhook of workload identity; package inject says what
// changes. The door holds no secret and runs nothing of what it reads. It reads
// one thing of the cluster, the pod's service account, as it is at that instant.
// What it cannot find out in time is refused, with the reason: a pod without its
// identity would fail later, in its owner's logs.
package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	corev1 "k8s.io/api/core/v1"

	"github.com/gatehouse-io/gatehouse/internal/inject"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// Path is the last segment of this door's paths; see serve.ClusterPrefix. It is
// also the one that upstream's webhook has.
const Path = "mutate-v1-pod"

// maxBody bounds a review in bytes. An API server takes requests of 3 MiB, and
// what they say can be longer in JSON.
const maxBody = 8 << 20

// DefaultWithin is how long a service account is waited for, so that the whole
// answer comes within a second.
const DefaultWithin = 900 * time.Millisecond

// Config is what the door needs. Accounts and Settings are required.
type Config struct {
	// Accounts reads a service account of a cluster as it is now. What it says of
	// one that does not exist wraps ErrNotFound.
	Accounts func(ctx context.Context, cluster scope.Scope, namespace, name string) (*corev1.ServiceAccount, error)
	// Settings are those of a cluster; nil when it has no workload identity.
	Settings func(cluster scope.Scope) (*inject.Config, error)
	// Within bounds the wait for a service account; 0 means DefaultWithin.
	Within time.Duration
	Log    *slog.Logger                       // nil means no log
	Events func(context.Context, serve.Event) // nil means that nobody listens
	Now    func() time.Time                   // nil means time.Now
}

// ErrNotFound says that there is no such service account.
var ErrNotFound = errors.New("not found")

// A Door answers AdmissionReviews. It is safe for concurrent use.
type Door struct {
	conf Config
}

// New checks a configuration and returns the door.
func New(conf Config) (*Door, error) {
	if conf.Accounts == nil || conf.Settings == nil {
		return nil, errors.New("admission: accounts and settings are required")
	}
	if conf.Within == 0 {
		conf.Within = DefaultWithin
	}
	if conf.Events == nil {
		conf.Events = func(context.Context, serve.Event) {}
	}
	if conf.Now == nil {
		conf.Now = time.Now
	}
	return &Door{conf}, nil
}

// Handler serves the paths {serve.ClusterPrefix}{cluster}/mutate-v1-pod.
func (d *Door) Handler() http.Handler { return d.handle(serve.ForClusters(Path, d.review)) }

// Alone serves the path /mutate-v1-pod for the one cluster that there is, which
// Accounts and Settings are asked about as the zero scope.
func (d *Door) Alone() http.Handler {
	return d.handle(func(w http.ResponseWriter, r *http.Request) error {
		switch {
		case r.URL.Path != "/"+Path:
			return serve.Refuse(http.StatusNotFound, "NotFound", "There is nothing here.")
		case r.Method != http.MethodPost:
			w.Header().Set("Allow", http.MethodPost)
			return serve.Refuse(http.StatusMethodNotAllowed, "MethodNotAllowed", "Reviews are POSTed.")
		}
		return d.review(w, r, scope.Scope{})
	})
}

func (d *Door) handle(h serve.Handler) http.Handler {
	return serve.Handle(h, serve.Options{Log: d.conf.Log, Quiet: true, Now: d.conf.Now})
}

func (d *Door) review(w http.ResponseWriter, r *http.Request, at scope.Scope) error {
	var ask question
	if err := serve.Body(w, r, maxBody, func(body []byte) (err error) {
		ask, err = readReview(body)
		return err
	}); err != nil {
		return err
	}
	start := d.conf.Now()
	ans := d.answer(r.Context(), at, ask)
	d.conf.Events(r.Context(), serve.Event{
		At: start, Door: "admission", Cluster: at, User: serve.Printable(ask.subject(), 512),
		Effect: ans.effect, Reason: serve.Printable(ans.reason, 1024),
		Took: d.conf.Now().Sub(start), AuditID: serve.Printable(r.Header.Get("Audit-ID"), 64),
	})
	body, err := ans.reply(ask.uid)
	if err != nil {
		return err
	}
	serve.WriteJSON(w, http.StatusOK, body)
	return nil
}

// answer decides what becomes of a pod.
func (d *Door) answer(ctx context.Context, at scope.Scope, ask question) answer {
	if !ask.creation() {
		return untouched("not the creation of a pod")
	}
	conf, err := d.conf.Settings(at)
	if err != nil {
		return refused(fmt.Errorf("workload identity: %w", err))
	}
	if conf == nil {
		return answer{effect: "untouched", reason: errOff, warning: errOff}
	}
	pod := new(corev1.Pod)
	// As strict as the rest: a member twice is an error, and one in another letter
	// case is another member.
	if err := jsonv2.Unmarshal(ask.object, pod); err != nil {
		return refused(fmt.Errorf("the pod cannot be read: %w", err))
	}
	if !inject.Wanted(pod) {
		return untouched("the pod has no label " + inject.UseLabel + ": \"true\"")
	}
	sa, err := d.account(ctx, at, ask.namespace, inject.ServiceAccountOf(pod))
	if err != nil {
		return refused(err)
	}
	ops, err := inject.Patch(pod, sa, *conf)
	if err != nil {
		return refused(err)
	}
	if len(ops) == 0 {
		return untouched("the pod has its identity already")
	}
	// The types of Kubernetes are made for this package, not for its second version.
	patch, err := json.Marshal(ops)
	if err != nil {
		return refused(fmt.Errorf("encode the patch: %w", err))
	}
	return answer{effect: "patched", reason: fmt.Sprintf("%d changes", len(ops)), patch: patch}
}

const errOff = "workload identity is switched off for this cluster: the pod gets no Azure identity"

// account reads a service account in time.
func (d *Door) account(ctx context.Context, at scope.Scope, namespace, name string) (*corev1.ServiceAccount, error) {
	ctx, cancel := context.WithTimeout(ctx, d.conf.Within)
	defer cancel()
	sa, err := d.conf.Accounts(ctx, at, namespace, name)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, fmt.Errorf("service account %q does not exist in namespace %q; create it before the pod", name, namespace)
	case err != nil:
		return nil, fmt.Errorf("service account %q of namespace %q could not be read, try again: %w", name, namespace, err)
	case sa.Namespace != namespace:
		return nil, fmt.Errorf("service account %q was looked for in namespace %q and found in %q", name, namespace, sa.Namespace)
	}
	return sa, nil
}
