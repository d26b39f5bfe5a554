package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/csi"
	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/netns"
)

// Down ends everything of the run and removes all that it made. It needs no state,
// and succeeds if there is nothing.
func (l *Lab) Down(ctx context.Context) error {
	unlock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := l.mayRemove(); err != nil {
		return err
	}
	if err := l.remove(ctx); err != nil {
		return err
	}
	// A folder that holds other files stays, with them.
	err = os.Remove(l.Dir)
	if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// mayRemove refuses to take down root's run as another user, because half of it
// would stay.
func (l *Lab) mayRemove() error {
	state, ok, err := l.Load()
	var damaged Mistake
	if errors.As(err, &damaged) && os.Geteuid() == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if ok && !state.Plan.Simulated && os.Geteuid() != 0 {
		return mistakef("%s has real nodes: run clusters down as root", l.Dir)
	}
	return nil
}

func (l *Lab) remove(ctx context.Context) error {
	l.env.Report("ending processes")
	if err := l.endProcesses(ctx); err != nil {
		return err
	}
	if Possible() {
		if err := netns.Delete(l.id + "-"); err != nil {
			return err
		}
	}
	if err := csi.Release(cluster.Cluster{Dir: l.path(Remote)}.VolumesDir()); err != nil {
		return fmt.Errorf("free loop devices: %w", err)
	}
	l.env.Report("removing files")
	for _, entry := range entries {
		if err := os.RemoveAll(l.path(entry)); err != nil {
			return fmt.Errorf("remove %s: %w", l.path(entry), err)
		}
	}
	return nil
}

// grace is for processes that users have started; components have nothing to lose.
const grace = 2 * time.Second

// endProcesses ends all processes of the run. Control groups, which include
// containers, are killed at once, because all data goes anyway.
func (l *Lab) endProcesses(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if Possible() {
		if err := l.group().Remove(ctx); err != nil {
			return err
		}
	}
	records, err := l.table().All()
	if err != nil {
		return err
	}
	all := append(slices.Clone(records), l.table().Strays()...)
	errs := make([]error, len(all))
	var group sync.WaitGroup
	for i, record := range all {
		group.Go(func() { errs[i] = record.Stop(ctx, grace) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, record := range records {
		if err := l.table().Forget(record.Name); err != nil {
			return err
		}
	}
	return nil
}
