package azurerbac

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// An Operation is something that a resource provider can be asked to do.
type Operation struct {
	Name string // Microsoft.KeyVault/vaults/read
	Data bool   // it works on the data plane
}

//go:embed operations.txt
var operationsText string

const (
	typeClusters = "Microsoft.ContainerService/managedClusters"
	typeFleets   = "Microsoft.ContainerService/fleets"
)

// A KubeResource is a resource of Kubernetes that Azure has data operations for.
type KubeResource struct{ Group, Resource string }

type catalogue struct {
	list     []Operation
	kube     []KubeResource
	complete []string // prefixes in lower case, each with its slash
	planes   map[string]planes
}

type planes struct{ control, data bool }

// operations reads the file, once.
var operations = sync.OnceValue(func() *catalogue {
	c := &catalogue{complete: []string{lower(typeClusters) + "/"}}
	all := make(map[string]Operation) // by plane and name in lower case
	add := func(data bool, typ string, verbs ...string) {
		for _, v := range verbs {
			op := Operation{typ + "/" + v, data}
			key := fmt.Sprint(data, lower(op.Name))
			if _, there := all[key]; !there {
				all[key] = op
			}
		}
	}
	for line := range strings.Lines(operationsText) {
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		switch f[0] {
		case "complete":
			for _, p := range f[1:] {
				c.complete = append(c.complete, lower(p)+"/")
			}
		case "op", "data":
			add(f[0] == "data", f[1], f[2:]...)
		case "path":
			for _, p := range f[1:] {
				add(true, typeClusters+"/"+p, "read")
				add(true, typeFleets+"/"+p, "read")
			}
		case "own":
			for _, one := range f[1:] {
				name, verbs, _ := strings.Cut(one, "=")
				add(true, typeClusters+"/"+name, strings.Split(verbs, ",")...)
			}
		case "kube":
			group := ""
			if f[1] != "-" {
				group = f[1] + "/"
			}
			for _, one := range f[2:] {
				one, notFleets := strings.CutPrefix(one, "!")
				name, said, given := strings.Cut(one, "=")
				verbs := []string{"read", "write", "delete"}
				if given {
					verbs = strings.Split(said, ",")
				}
				add(true, typeClusters+"/"+group+name, verbs...)
				if !notFleets {
					add(true, typeFleets+"/"+group+name, verbs...)
				}
				c.kube = append(c.kube, KubeResource{strings.TrimSuffix(group, "/"), name})
			}
		default:
			panic(fmt.Sprintf("operations.txt: %q", line))
		}
	}
	for d := range BuiltIn() {
		for _, p := range d.Permissions {
			for data, lists := range map[bool][][]string{false: {p.Actions, p.NotActions}, true: {p.DataActions, p.NotDataActions}} {
				for _, name := range slices.Concat(lists...) {
					if i := strings.LastIndexByte(name, '/'); i > 0 && !strings.Contains(name, "*") {
						add(data, name[:i], name[i+1:])
					}
				}
			}
		}
	}
	c.list = slices.SortedFunc(maps.Values(all), func(a, b Operation) int { return strings.Compare(lower(a.Name), lower(b.Name)) })
	c.planes = make(map[string]planes)
	for _, op := range c.list {
		p := c.planes[lower(op.Name)]
		p.control, p.data = p.control || !op.Data, p.data || op.Data
		c.planes[lower(op.Name)] = p
	}
	return c
})

// PlanesOf reports on which planes there is an operation of a name, in any letter
// case, as far as is known.
func PlanesOf(name string) (control, data bool) {
	p := operations().planes[lower(name)]
	return p.control, p.data
}

// Operations are the operations that the house knows of, in order of their names.
// They are shared: do not modify them.
func Operations() []Operation { return operations().list }

// KubeResources are the resources of Kubernetes that Azure has data operations
// for. Every other one is a custom resource to Azure.
func KubeResources() []KubeResource { return operations().kube }

// UnknownOperation reports whether an operation, which may have wildcards, matches
// none that there is. It is false where the catalogue is not complete: of most
// providers the house does not know all that they can do.
func UnknownOperation(pattern string, data bool) bool {
	p, err := ParsePattern(pattern)
	if err != nil {
		return true
	}
	c := operations()
	within := slices.ContainsFunc(c.complete, func(prefix string) bool {
		return strings.HasPrefix(p.String(), prefix) && (data || prefix != lower(typeClusters)+"/")
	})
	return within && !slices.ContainsFunc(c.list, func(op Operation) bool { return op.Data == data && p.Match(op.Name) })
}
