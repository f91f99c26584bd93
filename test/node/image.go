package node

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

const (
	imageFile = "image.tar"
	// Image holds ./pod and nothing else. It is also that of the sandboxes, which
	// others call pause.
	Image = "registry.gatehouse.test/pod:1"
)

// build builds the image of the pods: FROM scratch, with one static program.
func build(dir string) error {
	program := filepath.Join(dir, "program")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "github.com/gatehouse-io/gatehouse/test/node/pod")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the program of the pods: %w: %s", err, out)
	}
	defer os.Remove(program)
	text, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	image, err := archive(text)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, imageFile), image, 0o600)
}

// archive is an image in the layout of the Open Container Initiative, version
// 1.0.0, in a tar file, as ctr images import reads it.
func archive(program []byte) ([]byte, error) {
	layer, err := tarOf(file{"pod", program, 0o755})
	if err != nil {
		return nil, err
	}
	var files []file
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
		"config": map[string]any{"Entrypoint": []string{"/pod"}, "Cmd": []string{"pause"}, "User": "65532:65532"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []any{layerBlob["digest"]}}, // not compressed: the same digest
	}))
	manifest := blob("application/vnd.oci.image.manifest.v1+json", object(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": []any{layerBlob}}))
	manifest["annotations"] = map[string]string{"io.containerd.image.name": Image}
	files = append(files,
		file{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644},
		file{"index.json", object(map[string]any{"schemaVersion": 2, "manifests": []any{manifest}}), 0o644})
	return tarOf(files...)
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
	return out.Bytes(), w.Close()
}
