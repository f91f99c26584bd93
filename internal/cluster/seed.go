package cluster

import (
	"context"
	"fmt"
	"net/url"

	"github.com/gatehouse-io/gatehouse/internal/kuberbac"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

// Seed writes roles and bindings into the cluster, with the namespaces that they
// are in. It is for what an estate file says about a cluster that was made from
// it; later the cluster itself says what it has.
func (c *Cluster) Seed(ctx context.Context, recs []record.Record) error {
	api, err := c.asMaster()
	if err != nil {
		return err
	}
	defer api.close()
	made := map[string]bool{"": true, "default": true}
	for _, r := range recs {
		var namespace, kind, name string
		switch r := r.(type) {
		case kuberbac.Role:
			namespace, name, kind = r.Namespace, r.Name, "roles"
		case kuberbac.Binding:
			namespace, name, kind = r.Namespace, r.Name, "rolebindings"
		default:
			return record.Invalid("%s is neither a role nor a binding", r.Key())
		}
		if !made[namespace] {
			made[namespace] = true
			if err := api.apply(ctx, "/api/v1/namespaces/"+url.PathEscape(namespace), map[string]any{
				"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]string{"name": namespace}}); err != nil {
				return fmt.Errorf("namespace %s: %w", namespace, err)
			}
		}
		path := rbacPath + "namespaces/" + url.PathEscape(namespace) + "/" + kind + "/"
		if namespace == "" {
			path = rbacPath + "cluster" + kind + "/"
		}
		object, err := kuberbac.ToObject(r)
		if err != nil {
			return err
		}
		if err := api.applyText(ctx, path+url.PathEscape(name), object); err != nil {
			return fmt.Errorf("%s: %w", r.Key(), err)
		}
	}
	return nil
}
