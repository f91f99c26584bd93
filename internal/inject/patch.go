package inject

import "strconv"

// An Op is one operation of a JSON Patch (RFC 6902).
type Op struct {
	Op    string `json:"op"`   // add or replace
	Path  string `json:"path"` // JSON Pointer (RFC 6901); made of our own words and positions
	Value any    `json:"value"`
}

// A patch collects operations.
type patch struct{ ops []Op }

func (p *patch) put(op, path string, value any) { p.ops = append(p.ops, Op{op, path, value}) }

// element is the pointer to the element at a position of the list at path.
func element(path string, i int) string { return path + "/" + strconv.Itoa(i) }

// extend adds values at the end of the list at path, which has length elements.
// A list without elements may not be there, or be null.
func extend[T any](p *patch, path string, length int, values ...T) {
	switch {
	case len(values) == 0:
	case length == 0:
		p.put("add", path, values)
	default:
		for _, v := range values {
			p.put("add", path+"/-", v)
		}
	}
}
