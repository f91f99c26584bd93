package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/principal"
)

// liveChecks ask the running API server. They show what its files cannot: that
// it was restarted since, and what is bound in it.
var liveChecks = []check{
	{
		id: "live-authorization", severity: Error,
		why: "the API server gets no answer from Gatehouse, so that everybody is refused",
		fix: "see webhook-reachable, and try from the control plane's own network",
		run: func(ctx context.Context, c *chart) (string, bool, error) {
			// A name that nobody has and nothing is granted to: Gatehouse has no opinion.
			out, err := c.post(ctx, "/apis/authorization.k8s.io/v1/subjectaccessreviews",
				`{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{"user":"gatehouse:doctor","resourceAttributes":{"verb":"get","resource":"pods","namespace":"default"}}}`)
			if err != nil {
				return "", false, err
			}
			switch {
			case out.Status.EvaluationError != "":
				return out.Status.EvaluationError, false, nil
			case out.Status.Allowed:
				return "a user that does not exist may read pods: " + out.Status.Reason, false, nil
			}
			return "a user that does not exist is refused without an error", true, nil
		},
	},
	{
		id: "live-sign-in", severity: Error,
		why: "the API server cannot have tokens reviewed, so that nobody can sign in",
		fix: "see authn-webhook and webhook-reachable",
		run: func(ctx context.Context, c *chart) (string, bool, error) {
			out, err := c.post(ctx, "/apis/authentication.k8s.io/v1/tokenreviews",
				`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"gatehouse-doctor-is-no-token"}}`)
			if err != nil {
				return "", false, err
			}
			if out.Status.Authenticated {
				return "a text that is no token is taken for one", false, nil
			}
			// A webhook that answers "no" is silence; one that fails is reported.
			for _, sign := range []string{"connection refused", "x509", "tls:", "deadline", "timeout", "no such host", "EOF", "Internal"} {
				if strings.Contains(out.Status.Error, sign) {
					return out.Status.Error, false, nil
				}
			}
			return "a text that is no token is refused", true, nil
		},
	},
	{
		id: "live-anonymous", severity: Warning,
		why: "the running API server takes requests from nobody, whatever its files say now",
		fix: "see authn-anonymous, and restart the API server",
		run: func(ctx context.Context, c *chart) (string, bool, error) {
			if c.Anonymous == nil {
				return "", false, notRead("the API server is not at hand")
			}
			_, err := c.Anonymous.do(ctx, http.MethodGet, "/api", "", nil)
			e, ok := errors.AsType[*apiError](err)
			switch {
			case err == nil:
				return "/api is readable without an identity", false, nil
			case !ok:
				return "", false, notRead("%v", err)
			case e.Code == http.StatusUnauthorized:
				return "a request without an identity is refused as such (401)", true, nil
			}
			return fmt.Sprintf("a request without an identity gets as far as authorization (%d)", e.Code), false, nil
		},
	},
	{
		id: "rbac-group-names", severity: Warning,
		why: "Gatehouse names groups by object id; a binding to a group's display name, or to a group that is gone, grants nothing",
		fix: "bind to the object id of the group",
		run: func(ctx context.Context, c *chart) (string, bool, error) {
			subjects, err := c.boundGroups(ctx)
			if err != nil {
				return "", false, err
			}
			var odd []string
			for _, s := range subjects {
				id, err := principal.ParseID(s.group)
				switch {
				case err == nil && c.Groups != nil && !c.Groups(id.String()):
					odd = append(odd, s.String()+" (no such group)")
				case err != nil && !isReserved(s.group):
					odd = append(odd, s.String())
				}
			}
			if len(odd) > 0 {
				return strings.Join(odd, "; "), false, nil
			}
			return fmt.Sprintf("all %d bindings to groups are to object ids or to groups of Kubernetes itself", len(subjects)), true, nil
		},
	},
	{
		id: "rbac-everybody", severity: Warning,
		why: "system:authenticated is every user of every tenant that may sign in, system:unauthenticated the whole network (KR-15)",
		fix: "bind to a group of the directory",
		run: func(ctx context.Context, c *chart) (string, bool, error) {
			subjects, err := c.boundGroups(ctx)
			if err != nil {
				return "", false, err
			}
			var wide []string
			for _, s := range subjects {
				all := s.group == "system:authenticated" || s.group == "system:unauthenticated" || s.group == anonymous
				if all && !slices.Contains(upstreamWide, s.bound) {
					wide = append(wide, s.String())
				}
			}
			if len(wide) > 0 {
				return strings.Join(wide, "; "), false, nil
			}
			return "nothing is bound to everybody but what Kubernetes itself binds", true, nil
		},
	},
	{
		id: "rbac-kubernetes", severity: Warning,
		why: "the API server puts back what is taken out of a role or binding of Kubernetes itself, and leaves what somebody adds: whoever has it by that gets more than it seems (KR-15)",
		fix: "take out what was added, and give it by a role and a binding of its own to those who need it",
		run: func(ctx context.Context, c *chart) (string, bool, error) { return c.ofKubernetes(ctx) },
	},
}

// anonymous is the user that stands for nobody, and so for everybody.
const anonymous = "system:anonymous"

// upstreamWide are the bindings to everybody that kube-apiserver and kubeadm make
// themselves. One of the same name that gives another role is somebody else's.
var upstreamWide = []bound{
	{"system:basic-user", "", "ClusterRole system:basic-user"}, {"system:discovery", "", "ClusterRole system:discovery"},
	{"system:public-info-viewer", "", "ClusterRole system:public-info-viewer"},
	{"kubeadm:bootstrap-signer-clusterinfo", "kube-public", "Role kubeadm:bootstrap-signer-clusterinfo"},
}

// isReserved reports whether a group is one of certificates or of Kubernetes.
func isReserved(group string) bool {
	return strings.HasPrefix(group, "system:") || strings.HasPrefix(group, "kubeadm:") || strings.HasPrefix(group, "gatehouse:")
}

// A verdict is the status of either review.
type verdict struct {
	Status struct {
		Allowed         bool   `json:"allowed"`
		Reason          string `json:"reason"`
		EvaluationError string `json:"evaluationError"`
		Authenticated   bool   `json:"authenticated"`
		Error           string `json:"error"`
	} `json:"status"`
}

func (c *chart) post(ctx context.Context, path, body string) (verdict, error) {
	if c.API == nil {
		return verdict{}, notRead("the API server is not at hand")
	}
	data, err := c.API.do(ctx, http.MethodPost, path, "application/json", []byte(body))
	if err != nil {
		return verdict{}, notRead("%v", err)
	}
	var out verdict
	if err := json.Unmarshal(data, &out); err != nil {
		return verdict{}, notRead("%v", err)
	}
	return out, nil
}

// A bound says which binding it is, and which role it gives.
type bound struct{ binding, namespace, role string }

// A boundGroup is one group, or nobody, in one binding.
type boundGroup struct {
	bound
	group string
}

func (b boundGroup) String() string {
	if b.namespace == "" {
		return fmt.Sprintf("ClusterRoleBinding %s: %q", b.binding, b.group)
	}
	return fmt.Sprintf("RoleBinding %s/%s: %q", b.namespace, b.binding, b.group)
}

func (c *chart) boundGroups(ctx context.Context) ([]boundGroup, error) {
	var all []boundGroup
	for _, kind := range []string{"clusterrolebindings", "rolebindings"} {
		var list struct {
			Items []struct {
				Metadata struct{ Name, Namespace string }
				RoleRef  struct{ Kind, Name string }
				Subjects []struct{ Kind, Name string }
			}
		}
		if err := c.list(ctx, kind, &list); err != nil {
			return nil, err
		}
		for _, b := range list.Items {
			for _, s := range b.Subjects {
				if s.Kind == "Group" || s.Kind == "User" && s.Name == anonymous {
					all = append(all, boundGroup{bound{b.Metadata.Name, b.Metadata.Namespace, b.RoleRef.Kind + " " + b.RoleRef.Name}, s.Name})
				}
			}
		}
	}
	return all, nil
}
