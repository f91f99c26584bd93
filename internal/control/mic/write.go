package mic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gatehouse-io/gatehouse/internal/podid"
	"github.com/gatehouse-io/gatehouse/internal/record"
)

// errBehind says that the cluster is not what the view says, which will learn of
// it. errNotLeading says that another controller may be writing.
var (
	errBehind     = errors.New("the cluster has changed meanwhile")
	errNotLeading = errors.New("another controller leads")
)

// carryOut does the steps of a plan: those that take away before all others, the
// steps of one object one after the other, and many objects at once. A failure
// keeps no other object from its steps.
func (m *mic) carryOut(ctx context.Context, steps []podid.Step) error {
	away := 0
	for away < len(steps) && (steps[away].Do == podid.Unassign || steps[away].Do == podid.Delete) {
		away++
	}
	return errors.Join(m.allAtOnce(ctx, steps[:away]), m.allAtOnce(ctx, steps[away:]))
}

func (m *mic) allAtOnce(ctx context.Context, steps []podid.Step) error {
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		first  error
		behind bool
		failed int
		slots  = make(chan struct{}, parallel)
	)
	for len(steps) > 0 {
		n := 1
		for n < len(steps) && steps[n].Object.Metadata.Ref() == steps[0].Object.Metadata.Ref() {
			n++
		}
		run := steps[:n]
		steps = steps[n:]
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			err := m.inOrder(ctx, run)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, errBehind):
				behind = true
			case err != nil:
				failed++
				if first == nil {
					first = err
				}
			}
		})
	}
	wg.Wait()
	switch {
	case failed > 0:
		return fmt.Errorf("%d objects not written, the first: %w", failed, first)
	case behind:
		return errBehind
	}
	return nil
}

// inOrder does the steps of one object.
func (m *mic) inOrder(ctx context.Context, steps []podid.Step) error {
	version := ""
	for _, s := range steps {
		if version != "" {
			s.Object.Metadata.ResourceVersion = version
		}
		written, err := m.do(ctx, s)
		switch {
		case apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) || apierrors.IsNotFound(err) && s.Do != podid.Delete:
			return errBehind
		case apierrors.IsNotFound(err):
		case errors.Is(err, errNotLeading) || ctx.Err() != nil:
			return errors.Join(err, ctx.Err())
		case err != nil:
			err = fmt.Errorf("%s %s: %w", s.Do, s.Object.Metadata.Ref(), err)
			m.events.failed(s.Object, err)
			return err
		}
		if written != nil {
			version = written.GetResourceVersion()
		}
		m.events.done(s)
		m.Log.Debug("assigned identity", "step", s.Do.String(), "object", s.Object.Metadata.Ref().String(), "pod", s.Object.PodUID())
	}
	return nil
}

func (m *mic) do(ctx context.Context, s podid.Step) (*unstructured.Unstructured, error) {
	if leads := m.leads.Load(); leads == nil || !(*leads)() {
		return nil, errNotLeading
	}
	meta := s.Object.Metadata
	client := m.objects.Resource(resource(podid.AssignedIdentities)).Namespace(meta.Namespace)
	switch s.Do {
	case podid.Create:
		data, err := record.Marshal(s.Object)
		if err != nil {
			return nil, err
		}
		obj := new(unstructured.Unstructured)
		if err := obj.UnmarshalJSON(data); err != nil {
			return nil, err
		}
		return client.Create(ctx, obj, metav1.CreateOptions{})
	case podid.Assign, podid.Unassign:
		// Only the state, and only if nobody wrote since: other members stay.
		data, err := json.Marshal(map[string]any{
			"metadata": map[string]any{"resourceVersion": meta.ResourceVersion},
			"status":   s.Object.Status,
		})
		if err != nil {
			return nil, err
		}
		return client.Patch(ctx, meta.Name, types.MergePatchType, data, metav1.PatchOptions{})
	case podid.Delete:
		uid := types.UID(meta.UID)
		return nil, client.Delete(ctx, meta.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	}
	return nil, fmt.Errorf("a step that does nothing: %d", s.Do)
}
