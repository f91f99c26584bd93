package check

import (
	"fmt"
	"strings"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/doctor"
	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/resource"
)

// words puts a command together; what does not stand for itself is quoted.
func words(parts ...string) string {
	for i, p := range parts {
		parts[i] = doctor.Quote(p)
	}
	return strings.Join(parts, " ")
}

// setCluster is the command that changes a cluster and what it makes of it. That of
// an attached cluster is gatehouse's own: Azure's clients cannot change those.
func setCluster(c resource.Cluster, change func(*resource.Cluster), azure []string, own ...string) Fix {
	fix := Fix{Commands: []string{words(append([]string{"az", "aks", "update", "--resource-group", c.ResourceGroup, "--name", c.Name}, azure...)...)}}
	if c.Attached {
		if len(own) == 0 {
			return Fix{}
		}
		fix.Commands = []string{words(append([]string{"gatehouse", "cluster", "set", c.Name}, own...)...)}
	}
	if change != nil {
		change(&c)
		fix.Ops = []estate.Op{{Put: c}}
	}
	return fix
}

// remove is the fix that takes role assignments away.
func remove(all ...azurerbac.Assignment) Fix {
	var fix Fix
	for _, a := range all {
		fix.Commands = append(fix.Commands, words("gatehouse", "assignment", "delete", a.ID.String()))
		fix.Ops = append(fix.Ops, estate.Op{Delete: a.Key()})
	}
	return fix
}

// and is one fix after another one.
func (f Fix) and(next Fix) Fix {
	besides := f.Besides
	if besides != "" && next.Besides != "" {
		besides += "; "
	}
	return Fix{Commands: append(f.Commands, next.Commands...), Ops: append(f.Ops, next.Ops...), Besides: besides + next.Besides}
}

// leave is the fix that takes a principal out of a group.
func leave(group, member principal.ID) Fix {
	return Fix{
		Commands: []string{words("gatehouse", "group", "remove", group.String(), member.String())},
		Ops:      []estate.Op{{Delete: directory.Membership{Group: group, Member: member}.Key()}},
	}
}

// removal deletes a record and what makes no sense without it.
func removal(est *estate.Snapshot, key record.Key) []estate.Op {
	var ops []estate.Op
	for _, dep := range est.Dependents(key) {
		ops = append(ops, estate.Op{Delete: dep})
	}
	return append(ops, estate.Op{Delete: key})
}

func count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
