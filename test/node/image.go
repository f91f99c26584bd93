package node

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

const imageFile = "image.tar"

// Images that the node has.
const (
	// Image holds ./pod and nothing else. It is also that of the sandboxes, which
	// others call pause.
	Image = "registry.gatehouse.test/pod:1"
	// AgentImage holds gatehouse-node, under the name that the manifests have.
	AgentImage = "ghcr.io/gatehouse-io/gatehouse-node:0.1.0"
)

// An image is FROM scratch, with one static program, which is built from a package
// of a module.
type image struct{ name, program, user, module, source string }

const module = "github.com/gatehouse-io/gatehouse"

// agentProgram is also on the machine itself, where kubelet runs it when it pulls.
const agentProgram = "gatehouse-node"

var images = []image{
	{Image, "pod", "65532:65532", module + "/test", "./node/pod"},
	{AgentImage, agentProgram, "", module, "./cmd/gatehouse-node"},
}

// Images is the path of a tar file with all of them, in the layout of the Open
// Container Initiative.
func Images() string { return filepath.Join(os.Getenv(insideVar), imageFile) }

// build builds the images into one tar file.
func build(dir string) error {
	var files []file
	var manifests []any
	for _, i := range images {
		where, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", i.module).Output()
		if err != nil {
			return fmt.Errorf("find module %s: %w", i.module, err)
		}
		program := filepath.Join(dir, i.program)
		cmd := exec.Command("go", "build", "-C", strings.TrimSpace(string(where)), "-trimpath", "-ldflags=-s -w", "-o", program, i.source)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build the program of image %s: %w: %s", i.name, err, out)
		}
		text, err := os.ReadFile(program)
		if i.program != agentProgram {
			err = errors.Join(err, os.Remove(program))
		}
		if err != nil {
			return err
		}
		blobs, manifest, err := i.blobs(text)
		if err != nil {
			return err
		}
		files, manifests = append(files, blobs...), append(manifests, manifest)
	}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": manifests})
	if err != nil {
		return err
	}
	archive, err := tarOf(append(files, file{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644}, file{"index.json", index, 0o644})...)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, imageFile), archive, 0o600)
}

// blobs are those of an image in the layout of the Open Container Initiative,
// version 1.0.0, as ctr images import reads it, and what the index says of them.
func (i image) blobs(program []byte) (files []file, manifest map[string]any, err error) {
	layer, err := tarOf(file{i.program, program, 0o755})
	if err != nil {
		return nil, nil, err
	}
	blob := func(mediaType string, data []byte) map[string]any {
		sum := sha256.Sum256(data)
		digest := hex.EncodeToString(sum[:])
		files = append(files, file{"blobs/sha256/" + digest, data, 0o644})
		return map[string]any{"mediaType": mediaType, "digest": "sha256:" + digest, "size": len(data)}
	}
	object := func(v any) []byte {
		data, _ := json.Marshal(v) // maps of what can be written
		return data
	}
	layerBlob := blob("application/vnd.oci.image.layer.v1.tar", layer)
	config := blob("application/vnd.oci.image.config.v1+json", object(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": []string{"/" + i.program}, "Cmd": []string{"pause"}, "User": i.user},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []any{layerBlob["digest"]}}, // not compressed: the same digest
	}))
	manifest = blob("application/vnd.oci.image.manifest.v1+json", object(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": []any{layerBlob}}))
	manifest["annotations"] = map[string]string{"io.containerd.image.name": i.name}
	return files, manifest, nil
}

type file struct {
	name string
	data []byte
	mode int64
}

func tarOf(files ...file) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}
