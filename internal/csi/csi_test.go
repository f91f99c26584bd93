package csi_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-io/gatehouse/internal/csi"
	"github.com/gatehouse-io/gatehouse/internal/csi/csitest"
)

// provider starts one whose house is not there, and returns its driver.
func provider(t *testing.T) *csitest.Driver {
	t.Helper()
	dir, err := os.MkdirTemp("", "csi") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p, err := csi.New(csi.Config{House: "https://127.0.0.1:1", Metadata: "http://127.0.0.1:1", Version: "1.0.0", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	socket := filepath.Join(dir, "p.sock")
	go func() { done <- p.Serve(ctx, socket) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return csitest.Dial(t, socket)
}

const db = "array:\n  - |\n    objectName: db\n    objectType: secret\n"

func class(objects string, more ...string) map[string]string {
	c := map[string]string{"keyvaultName": "kv-1", "tenantId": "10000000-0000-4000-8000-000000000001", "objects": objects}
	for i := 0; i < len(more); i += 2 {
		c[more[i]] = more[i+1]
	}
	return c
}

func one(lines ...string) string {
	return "array:\n  - |\n    " + strings.Join(lines, "\n    ") + "\n"
}

func TestTheProviderSaysWhatItIs(t *testing.T) {
	t.Parallel()
	if name, err := provider(t).Version(t.Context()); err != nil || name != "gatehouse-node" {
		t.Errorf("%q, %v", name, err)
	}
}

func TestClassesThatMustNotBe(t *testing.T) {
	t.Parallel()
	d := provider(t)
	const vm = "useVMManagedIdentity"
	for law, tt := range map[string]struct {
		class map[string]string
		want  string
	}{
		"no identity":                           {class(db), "the class says no identity"},
		"two identities":                        {class(db, vm, "true", "usePodIdentity", "true"), "both true"},
		"a machine's and a workload's":          {class(db, vm, "true", "clientID", "x"), "userAssignedIdentityID"},
		"a pod's and a workload's":              {class(db, "usePodIdentity", "true", "clientID", "x"), "usePodIdentity is true and clientID"},
		"neither true nor false":                {class(db, vm, "yes"), "want true or false"},
		"a workload without a token":            {class(db, "clientID", "x"), "tokenRequests"},
		"a workload with another's audience":    {class(db, "clientID", "x", "csi.storage.k8s.io/serviceAccount.tokens", `{"api://x":{"token":"t"}}`), "tokenRequests"},
		"pod identity of nobody":                {class(db, "usePodIdentity", "true"), "which pod"},
		"pod identity without an agent":         {class(db, "usePodIdentity", "true", "csi.storage.k8s.io/pod.name", "p", "csi.storage.k8s.io/pod.namespace", "n"), "--nmi-socket"},
		"a vault that is a path":                {class(db, vm, "true", "keyvaultName", "../kv"), "not the name of a vault"},
		"a vault that is a host":                {class(db, vm, "true", "keyvaultName", "kv.example"), "not the name of a vault"},
		"a tenant that is a path":               {class(db, vm, "true", "tenantId", "a/b"), "not a tenant"},
		"no objects":                            {class("", vm, "true"), "0 entries"},
		"objects that are no YAML":              {class("{", vm, "true"), "not YAML"},
		"a member twice":                        {class(one("objectName: db", "objectName: db2", "objectType: secret"), vm, "true"), "not an object that is understood"},
		"a member that nobody knows":            {class(one("objectName: db", "objectType: secret", "objectnam: x"), vm, "true"), "not an object that is understood"},
		"no type":                               {class(one("objectName: db"), vm, "true"), "none of secret, key and cert"},
		"a name that is a path":                 {class(one("objectName: ../keys/k", "objectType: secret"), vm, "true"), "not the name of an object"},
		"a name with a query":                   {class(one("objectName: 'db?x'", "objectType: secret"), vm, "true"), "not the name of an object"},
		"a version that is a path":              {class(one("objectName: db", "objectType: secret", "objectVersion: ../x"), vm, "true"), "not a version"},
		"a version that leads to another thing": {class(one("objectName: db", "objectType: cert", "objectVersion: policy"), vm, "true"), "not a version"},
		"more versions than there may be":       {class(one("objectName: db", "objectType: secret", "objectVersionHistory: 101"), vm, "true"), "objectVersionHistory"},
		"fewer versions than none":              {class(one("objectName: db", "objectType: secret", "objectVersionHistory: -1"), vm, "true"), "objectVersionHistory"},
		"a way by the token proxy":              {class(db, "useAzureTokenProxy", "true", "clientID", "x"), "useAzureTokenProxy is not supported"},
		"a way by the account's annotation":     {class(db, "usePodServiceAccountAnnotation", "true"), "usePodServiceAccountAnnotation is not supported"},
		"a file above the mount":                {class(one("objectName: db", "objectType: secret", "objectAlias: ../../etc/passwd"), vm, "true"), "not the name of a file below the mount"},
		"a file anywhere":                       {class(one("objectName: db", "objectType: secret", "objectAlias: /etc/passwd"), vm, "true"), "not the name of a file below the mount"},
		"a file by a way round":                 {class(one("objectName: db", "objectType: secret", "objectAlias: a/../b"), vm, "true"), "not the name of a file below the mount"},
		"the mount itself":                      {class(one("objectName: db", "objectType: secret", "objectAlias: ."), vm, "true"), "not the name of a file below the mount"},
		"two objects with one file":             {class(db+"  - |\n    objectName: other\n    objectType: secret\n    objectAlias: db\n", vm, "true"), "two objects have the file"},
		"a file and a folder of the name":       {class(db+"  - |\n    objectName: other\n    objectType: secret\n    objectAlias: db/x\n", vm, "true"), "two objects have the file"},
		"a folder and a file of the name":       {class(one("objectName: x", "objectType: secret", "objectAlias: db/x")+strings.TrimPrefix(db, "array:\n"), vm, "true"), "folder of another"},
		"permissions that are none":             {class(one("objectName: db", "objectType: secret", "filePermission: '4777'"), vm, "true"), "no permissions"},
		"a certificate as PFX by the wrong way": {class(one("objectName: db", "objectType: cert", "objectFormat: pfx"), vm, "true"), "objectFormat"},
		"an encoding of a key":                  {class(one("objectName: db", "objectType: key", "objectEncoding: hex"), vm, "true"), "objectEncoding"},
	} {
		m, err := d.Mount(t.Context(), tt.class)
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(fmt.Sprint(err), tt.want) || m.Files != nil {
			t.Errorf("%s: %v, want %s", law, err, tt.want)
		}
	}
}

func TestAServiceThatIsAwayIsNamedAndNothingElse(t *testing.T) { // ZA-01
	t.Parallel()
	d := provider(t)
	_, err := d.Mount(t.Context(), class(db, "useVMManagedIdentity", "true"))
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "the identity of the machine") || strings.Contains(err.Error(), "resource=") {
		t.Errorf("%v", err)
	}
	_, err = d.Mount(t.Context(), class(db, "clientID", "x", "csi.storage.k8s.io/serviceAccount.tokens", `{"api://AzureADTokenExchange":{"token":"canary-token"}}`))
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "client id x") || strings.Contains(err.Error(), "canary") {
		t.Errorf("%v", err)
	}
	_, err = d.MountWith(t.Context(), class(db), map[string]string{"clientid": "x", "clientsecret": "canary-secret"})
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "client id x") || strings.Contains(err.Error(), "canary") {
		t.Errorf("%v", err)
	}
}

func TestSecretsOfAServicePrincipalThatMustNotBe(t *testing.T) {
	t.Parallel()
	d := provider(t)
	for law, tt := range map[string]struct {
		class, secrets map[string]string
		want           string
	}{
		"no secret":                   {class(db), map[string]string{"clientid": "x"}, "both clientid and clientsecret"},
		"no client id":                {class(db), map[string]string{"ClientSecret": "canary"}, "both clientid and clientsecret"},
		"an empty secret":             {class(db), map[string]string{"clientid": "x", "clientsecret": ""}, "is empty"},
		"a client id twice":           {class(db), map[string]string{"clientid": "x", "clientID": "y", "clientsecret": "canary"}, "twice"},
		"and the machine's identity":  {class(db, "useVMManagedIdentity", "true"), map[string]string{"clientid": "x", "clientsecret": "canary"}, "one identity"},
		"and pod identity":            {class(db, "usePodIdentity", "true"), map[string]string{"clientid": "x", "clientsecret": "canary"}, "one identity"},
		"and a workload's":            {class(db, "clientID", "y"), map[string]string{"clientid": "x", "clientsecret": "canary"}, "one identity"},
		"a secret for something else": {class(db), map[string]string{"password": "canary"}, "says no identity"},
	} {
		m, err := d.MountWith(t.Context(), tt.class, tt.secrets)
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(fmt.Sprint(err), tt.want) || strings.Contains(fmt.Sprint(err), "canary") || m.Files != nil {
			t.Errorf("%s: %v, want %s", law, err, tt.want)
		}
	}
}
