package admission

import (
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

var envelope = serve.Review{
	Kind: "AdmissionReview", APIVersion: "admission.k8s.io/v1", Question: "request",
	Members: []string{"kind", "apiVersion", "request", "response", "metadata"},
}

// A question is the part of an AdmissionReview that this door reads.
type question struct {
	uid         string
	kind        gvk
	subresource string
	operation   string
	namespace   string
	name        string
	user        string
	object      jsontext.Value
}

type gvk struct{ group, version, kind string }

// creation reports whether a pod is created. Everything else, such as ephemeral
// containers, which are a subresource, is let through as it is.
func (q question) creation() bool {
	return q.operation == "CREATE" && q.subresource == "" && q.kind == gvk{"", "v1", "Pod"}
}

// subject says for the trace what this was about.
func (q question) subject() string { return q.user + " " + q.namespace + "/" + q.name }

var (
	requestMembers = []string{"uid", "kind", "resource", "subResource", "requestKind", "requestResource", "requestSubResource",
		"name", "namespace", "operation", "userInfo", "object", "oldObject", "dryRun", "options"}
	kindMembers = []string{"group", "version", "kind"}
	userMembers = []string{"username", "uid", "groups", "extra"}
)

// readReview reads an AdmissionReview. An error comes with the zero question.
func readReview(body []byte) (question, error) {
	var q question
	if err := envelope.Read(body, q.readRequest); err != nil {
		return question{}, err
	}
	if q.uid == "" {
		return question{}, fmt.Errorf("%w: a request without uid cannot be answered", serve.ErrMalformed)
	}
	return q, nil
}

func (q *question) readRequest(r *serve.Reader) error {
	return r.Object(requestMembers, func(name string) (err error) {
		switch name {
		case "uid":
			q.uid, err = r.String()
		case "kind":
			err = q.readKind(r)
		case "subResource":
			q.subresource, err = r.String()
		case "operation":
			q.operation, err = r.String()
		case "namespace":
			q.namespace, err = r.String()
		case "name":
			q.name, err = r.String()
		case "userInfo":
			err = r.Object(userMembers, func(name string) (err error) {
				if name == "username" {
					q.user, err = r.String()
					return err
				}
				return r.Skip()
			})
		case "object":
			q.object, err = r.Raw()
		default:
			err = r.Skip()
		}
		return err
	})
}

func (q *question) readKind(r *serve.Reader) error {
	return r.Object(kindMembers, func(name string) (err error) {
		switch name {
		case "group":
			q.kind.group, err = r.String()
		case "version":
			q.kind.version, err = r.String()
		case "kind":
			q.kind.kind, err = r.String()
		}
		return err
	})
}

// An answer says what becomes of an object. The zero answer refuses.
type answer struct {
	effect  string // untouched, patched; anything else is refused
	reason  string
	warning string // shown to whoever sent the request
	patch   []byte
}

func untouched(why string) answer { return answer{effect: "untouched", reason: why} }

func refused(err error) answer { return answer{effect: "refused", reason: err.Error()} }

// reply encodes an answer. The uid says which question it belongs to.
func (a answer) reply(uid string) ([]byte, error) {
	out := review{Kind: envelope.Kind, APIVersion: envelope.APIVersion}
	out.Response.UID = uid
	switch a.effect {
	case "untouched":
		out.Response.Allowed = true
	case "patched":
		out.Response.Allowed, out.Response.Patch, out.Response.PatchType = true, a.patch, "JSONPatch"
	default:
		// Every refusal is the request's fault, as upstream has it: 400.
		out.Response.Status = &status{Code: 400, Reason: "BadRequest", Message: serve.Printable(a.reason, 2048)}
	}
	if a.warning != "" {
		out.Response.Warnings = []string{a.warning}
	}
	return record.Marshal(out)
}

type review struct {
	Kind       string   `json:"kind"`
	APIVersion string   `json:"apiVersion"`
	Response   response `json:"response"`
}

type response struct {
	UID       string   `json:"uid"`
	Allowed   bool     `json:"allowed"`
	Status    *status  `json:"status,omitzero"`
	Patch     []byte   `json:"patch,omitzero"`
	PatchType string   `json:"patchType,omitzero"`
	Warnings  []string `json:"warnings,omitzero"`
}

type status struct {
	Code    int    `json:"code"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}
