package inject_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/inject"
)

// The reference is written apart from the package, from the rules alone, and in
// another way: it changes the tree that the JSON of a pod is, in place.

type (
	obj  = map[string]any
	list = []any
)

var errReference = errors.New("refused")

func texts(v any) map[string]string {
	out := make(map[string]string)
	m, _ := v.(obj)
	for k, v := range m {
		out[k], _ = v.(string)
	}
	return out
}

func named(items any, name string) int {
	l, _ := items.(list)
	return slices.IndexFunc(l, func(v any) bool { return v.(obj)["name"] == name })
}

// reference mutates a pod that is labelled, or refuses it.
func reference(pod obj, sa map[string]string, conf inject.Config) error {
	meta := pod["metadata"].(obj)
	if texts(meta["labels"])["azure.workload.identity/use"] != "true" {
		return nil
	}
	ann := texts(meta["annotations"])
	spec := pod["spec"].(obj)

	base, token, volume := "/var/run/secrets/azure/tokens", "azure-identity-token", "azure-identity-token"
	if conf.Layout == inject.LayoutReserved {
		base, token = "/var/run/secrets/azure/wi", "token/azure-identity-token"
		name, _ := meta["name"].(string)
		if name == "" {
			prefix, _ := meta["generateName"].(string)
			name = prefix + " (prefix)"
		}
		volume = fmt.Sprintf("azure-workload-identity-reserved-%x", sha256.Sum256([]byte(name)))[:63]
		volumes, _ := spec["volumes"].(list)
		for _, v := range slices.Backward(volumes) {
			if n := v.(obj)["name"].(string); strings.HasPrefix(n, "azure-workload-identity-reserved-") {
				volume = n
			}
		}
	}

	seconds := "3600"
	for _, from := range []map[string]string{sa, ann} {
		if s := from["azure.workload.identity/service-account-token-expiration"]; s != "" {
			seconds = s
		}
	}
	expiration, err := strconv.Atoi(seconds)
	if err != nil || expiration < 3600 || expiration > 24*3600 {
		return errReference
	}

	if _, asked := ann["azure.workload.identity/inject-proxy-sidecar"]; asked {
		if spec["hostNetwork"] == true {
			return errReference
		}
		port := 8000
		if text, given := ann["azure.workload.identity/proxy-sidecar-port"]; given {
			if port, err = strconv.Atoi(text); err != nil || port < 1 || port > 65535 {
				return errReference
			}
		}
		there := func(name string) bool {
			return named(spec["containers"], name) >= 0 || named(spec["initContainers"], name) >= 0
		}
		hasInit, hasProxy := there("azwi-proxy-init"), there("azwi-proxy")
		if !hasInit {
			inits, _ := spec["initContainers"].(list)
			spec["initContainers"] = append(inits, obj{"name": "azwi-proxy-init", "env": list{obj{"name": "PROXY_PORT", "value": fmt.Sprint(port)}}})
		}
		if !hasProxy {
			where, proxy := "containers", obj{"name": "azwi-proxy", "ports": list{obj{"containerPort": float64(port)}}}
			if conf.NativeSidecar {
				where, proxy["restartPolicy"] = "initContainers", "Always"
			}
			others, _ := spec[where].(list)
			spec[where] = append(list{proxy}, others...)
		}
	}

	tenant, given := sa["azure.workload.identity/tenant-id"]
	if !given {
		tenant = conf.Tenant
	}
	vars := [][2]string{{"AZURE_CLIENT_ID", sa["azure.workload.identity/client-id"]}, {"AZURE_TENANT_ID", tenant},
		{"AZURE_FEDERATED_TOKEN_FILE", base + "/" + token}, {"AZURE_AUTHORITY_HOST", conf.AuthorityHost}}
	audience := "api://AzureADTokenExchange"
	if conf.Audience != "" {
		audience = conf.Audience
	}
	var sources list
	if b := conf.Binding; b != nil && strings.EqualFold(ann["azure.workload.identity/use-identity-binding"], "true") {
		audience = "api://AKSIdentityBinding"
		vars = append(vars, [2]string{"AZURE_KUBERNETES_TOKEN_PROXY", b.TokenProxy}, [2]string{"AZURE_KUBERNETES_SNI_NAME", b.SNIName})
		if b.CAConfigMap != "" {
			vars = append(vars, [2]string{"AZURE_KUBERNETES_CA_FILE", base + "/ca-cert/ca.crt"})
			sources = list{obj{"configMap": obj{"name": b.CAConfigMap, "optional": false, "items": list{obj{"key": "ca.crt", "path": "ca-cert/ca.crt"}}}}}
		} else {
			vars = append(vars, [2]string{"AZURE_KUBERNETES_CA_DATA", b.CAData})
		}
	}
	sources = append(list{obj{"serviceAccountToken": obj{"audience": audience, "expirationSeconds": float64(expiration), "path": token}}}, sources...)

	var skip []string
	if text := ann["azure.workload.identity/skip-containers"]; text != "" {
		skip = strings.Split(text, ";")
	}
	for _, which := range []string{"initContainers", "containers"} {
		containers, _ := spec[which].(list)
		for _, c := range containers {
			c := c.(obj)
			if slices.ContainsFunc(skip, func(s string) bool { return strings.TrimSpace(s) == c["name"] }) {
				continue
			}
			for _, v := range vars {
				if env, _ := c["env"].(list); v[1] != "" && named(env, v[0]) < 0 {
					c["env"] = append(env, obj{"name": v[0], "value": v[1]})
				}
			}
			mount := obj{"name": volume, "mountPath": base, "readOnly": true}
			mounts, _ := c["volumeMounts"].(list)
			at := -1
			for i, m := range mounts {
				m := m.(obj)
				onPath := strings.TrimRight(m["mountPath"].(string), "/") == base
				if onPath && m["name"] != volume {
					return errReference
				}
				if m["name"] == volume && (at < 0 || onPath) {
					at = i
				}
			}
			if at >= 0 {
				mounts[at] = mount
			} else {
				c["volumeMounts"] = append(mounts, mount)
			}
		}
	}
	volumes, _ := spec["volumes"].(list)
	ours := obj{"name": volume, "projected": obj{"sources": sources}}
	if at := named(volumes, volume); at >= 0 {
		volumes[at] = ours
	} else {
		spec["volumes"] = append(volumes, ours)
	}
	return nil
}
