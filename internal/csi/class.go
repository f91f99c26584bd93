// Package csi is a provider for the Secrets Store CSI driver: it reads what a
// SecretProviderClass asks for from a vault, as the identity of the pod, and hands
// the files to the driver, which mounts them. It understands the parameters of
// Azure's provider.
//
// It keeps nothing: no secret, no token. Secrets are in its answers to the driver
// and nowhere else.
package csi

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"sigs.k8s.io/yaml"
)

// A class is what a SecretProviderClass and the driver say of one mount.
type class struct {
	vault   string
	tenant  string
	objects []object
	way     way
}

// An object is one file of a mount.
type object struct {
	kind     kind
	name     string
	version  string // empty: the current one
	history  int    // if above 1, so many versions, and file is their folder
	index    string // of a version in a history; otherwise empty
	file     string // relative, below the mount
	format   string // of a certificate's secret: pem or pfx
	encoding string // of a secret: utf-8, base64 or hex
	mode     fs.FileMode
}

// A kind is a type of object in a vault.
type kind string

const (
	secret      kind = "secret"
	key         kind = "key"
	certificate kind = "cert"
)

// id names an object in what the driver keeps of a mount.
func (o object) id() string { return path.Join(string(o.kind), o.name, o.index) }

// objectWire is an entry of the array of objects, itself a YAML text.
type objectWire struct {
	Name       string `json:"objectName"`
	Type       string `json:"objectType"`
	Version    string `json:"objectVersion"`
	History    int    `json:"objectVersionHistory"`
	Alias      string `json:"objectAlias"`
	Format     string `json:"objectFormat"`
	Encoding   string `json:"objectEncoding"`
	Permission string `json:"filePermission"`
}

// maxObjects is how many files one mount may have, and maxHistory how many versions
// of an object may be among them.
const (
	maxObjects = 500
	maxHistory = 100
)

var (
	vaultName  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{1,22}[A-Za-z0-9]$`)
	objectName = regexp.MustCompile(`^[A-Za-z0-9-]{1,127}$`)
	versionID  = regexp.MustCompile(`^[0-9A-Fa-f]{32}$`) // and no word such as policy, which leads elsewhere
	tenantID   = regexp.MustCompile(`^[A-Za-z0-9.-]{1,253}$`)
)

// parseClass reads the attributes of a mount: the parameters of the class, and what
// the driver adds about the pod. secrets are those of nodePublishSecretRef, where a
// driver may put the tokens of the service account.
func parseClass(attributes, secrets, permission string) (class, error) {
	var p map[string]string
	if err := json.Unmarshal([]byte(attributes), &p); err != nil {
		return class{}, errors.New("the attributes of the mount are not an object of texts")
	}
	c := class{vault: p["keyvaultName"], tenant: p["tenantId"]}
	if c.tenant == "" {
		c.tenant = p["tenantID"] // what Azure's provider was given at first
	}
	switch {
	case !vaultName.MatchString(c.vault):
		return class{}, fmt.Errorf("keyvaultName %.60q is not the name of a vault", c.vault)
	case !tenantID.MatchString(c.tenant):
		return class{}, fmt.Errorf("tenantId %.60q is not a tenant", c.tenant)
	}
	var err error
	if c.way, err = parseWay(p, secrets); err != nil {
		return class{}, err
	}
	mode, err := modeOf(permission, 10)
	if err != nil {
		return class{}, fmt.Errorf("the permission of the mount: %w", err)
	}
	c.objects, err = parseObjects(p["objects"], mode)
	return c, err
}

func parseObjects(text string, mode fs.FileMode) ([]object, error) {
	var list struct {
		Array []string `json:"array"`
	}
	if err := yaml.UnmarshalStrict([]byte(text), &list); err != nil {
		return nil, errors.New("objects is not YAML with one array of texts")
	}
	if len(list.Array) == 0 || len(list.Array) > maxObjects {
		return nil, fmt.Errorf("objects has %d entries: want 1 to %d", len(list.Array), maxObjects)
	}
	files := make(map[string]bool)
	var objects []object
	count := 0
	for i, text := range list.Array {
		o, err := parseObject(text, mode)
		if err != nil {
			return nil, fmt.Errorf("object %d: %w", i+1, err)
		}
		for dir := o.file; dir != "."; dir = path.Dir(dir) {
			if files[dir] {
				return nil, fmt.Errorf("object %d: two objects have the file %q", i+1, dir)
			}
		}
		for other := range files {
			if strings.HasPrefix(other, o.file+"/") {
				return nil, fmt.Errorf("object %d: %q is the file of one object and the folder of another", i+1, o.file)
			}
		}
		if count += max(o.history, 1); count > maxObjects {
			return nil, fmt.Errorf("object %d: with all versions, the mount has more than %d files", i+1, maxObjects)
		}
		files[o.file] = true
		objects = append(objects, o)
	}
	return objects, nil
}

func parseObject(text string, mode fs.FileMode) (object, error) {
	var w objectWire
	if err := yaml.UnmarshalStrict([]byte(text), &w); err != nil {
		return object{}, fmt.Errorf("it is not an object that is understood: %w", err)
	}
	o := object{kind: kind(w.Type), name: w.Name, version: w.Version, history: w.History, file: w.Alias, format: strings.ToLower(w.Format), encoding: strings.ToLower(w.Encoding), mode: mode}
	if o.version == "latest" {
		o.version = ""
	}
	if o.file == "" {
		o.file = o.name
	}
	if o.format == "" {
		o.format = "pem"
	}
	if o.encoding == "" {
		o.encoding = "utf-8"
	}
	if w.Permission != "" {
		var err error
		if o.mode, err = modeOf(w.Permission, 8); err != nil {
			return object{}, fmt.Errorf("filePermission: %w", err)
		}
	}
	switch {
	case o.kind != secret && o.kind != key && o.kind != certificate:
		return object{}, fmt.Errorf("objectType %.40q is none of secret, key and cert", w.Type)
	case !objectName.MatchString(o.name):
		return object{}, fmt.Errorf("objectName %.140q is not the name of an object in a vault", o.name)
	case o.version != "" && !versionID.MatchString(o.version):
		return object{}, fmt.Errorf("objectVersion %.80q is not a version", w.Version)
	case w.History < 0 || w.History > maxHistory:
		return object{}, fmt.Errorf("objectVersionHistory %d: want 0 to %d", w.History, maxHistory)
	case !filepath.IsLocal(o.file) || path.Clean(o.file) != o.file || o.file == "." || len(o.file) > 250 || strings.ContainsAny(o.file, "\\\x00"):
		return object{}, fmt.Errorf("objectAlias %.300q is not the name of a file below the mount", o.file)
	case o.format != "pem" && o.format != "pfx", o.format == "pfx" && o.kind != secret:
		return object{}, fmt.Errorf("objectFormat %.40q: it is pem, or for a secret pfx", w.Format)
	case o.encoding != "utf-8" && o.encoding != "base64" && o.encoding != "hex", o.encoding != "utf-8" && o.kind != secret:
		return object{}, fmt.Errorf("objectEncoding %.40q: it is utf-8, or for a secret base64 or hex", w.Encoding)
	}
	return o, nil
}

// modeOf reads the permissions of a file, in a base.
func modeOf(text string, base int) (fs.FileMode, error) {
	n, err := strconv.ParseUint(text, base, 32)
	if err != nil || n > 0o777 {
		return 0, fmt.Errorf("%.20q are no permissions of a file", text)
	}
	return fs.FileMode(n), nil
}
