package etcd

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/sys/unix"
)

// lookAtSpace is how often the disk and the alarms are looked at.
const lookAtSpace = time.Second

// watchSpace keeps etcd from meeting a full disk, which it does not survive. It
// raises etcd's own alarm for missing space while there is still some: writes
// are then refused and reads go on. It lowers the alarm when there is room.
func (s *Server) watchSpace(ctx context.Context) {
	tick := time.NewTicker(lookAtSpace)
	defer tick.Stop()
	warned := false
	for {
		if err := s.lookAtSpace(ctx, &warned); err != nil && ctx.Err() == nil {
			s.log.Error("etcd: cannot manage space", "error", err)
		}
		select {
		case <-tick.C:
		case <-s.giveUp.failed:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (s *Server) lookAtSpace(ctx context.Context, warned *bool) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	free, err := freeBytes(s.cfg.Dir)
	if err != nil {
		return err
	}
	back := s.etcd.Server.Backend()
	if used := back.SizeInUse(); used > s.cfg.Quota/10*7 && !*warned {
		*warned = true
		s.log.Warn("etcd: the database has used 70 % of its quota", "used", used, "quota", s.cfg.Quota)
	} else if used < s.cfg.Quota/2 {
		*warned = false
	}
	alarmed := s.alarmed()
	switch {
	case free < s.cfg.MinFree && !alarmed:
		s.log.Error("etcd: the disk is nearly full, writes stop", "free", free, "want", s.cfg.MinFree)
		return s.alarm(ctx, etcdserverpb.AlarmRequest_ACTIVATE)
	case !alarmed || free < s.cfg.MinFree+s.cfg.MinFree/4:
		return nil
	}
	if back.Size() >= s.cfg.Quota/10*9 {
		if err := s.shrink(ctx, free); err != nil {
			return err
		}
	}
	if back.Size() >= s.cfg.Quota/10*9 {
		return nil // the quota itself is too small; the warning said so
	}
	s.log.Warn("etcd: there is space again, writes go on", "free", free, "size", back.Size())
	return s.alarm(ctx, etcdserverpb.AlarmRequest_DEACTIVATE)
}

// shrink forgets the history and gives the space back to the disk.
func (s *Server) shrink(ctx context.Context, free int64) error {
	srv := s.etcd.Server
	rev := srv.KV().Rev()
	if rev > 1 {
		// An error means that it was compacted there before.
		_, _ = srv.Compact(ctx, &etcdserverpb.CompactionRequest{Revision: rev, Physical: true})
	}
	back := srv.Backend()
	back.ForceCommit()
	if used := back.SizeInUse(); used >= s.cfg.Quota/10*9 || used > back.Size()/10*9 || free < 2*used {
		return nil // it would not help, or there is no room for the copy
	}
	if err := back.Defrag(); err != nil {
		return fmt.Errorf("defragment: %w", err)
	}
	return nil
}

func (s *Server) alarmed() bool {
	for _, a := range s.etcd.Server.Alarms() {
		if a.Alarm == etcdserverpb.AlarmType_NOSPACE {
			return true
		}
	}
	return false
}

func (s *Server) alarm(ctx context.Context, action etcdserverpb.AlarmRequest_AlarmAction) error {
	_, err := s.etcd.Server.Alarm(ctx, &etcdserverpb.AlarmRequest{
		MemberID: uint64(s.etcd.Server.MemberID()), Action: action, Alarm: etcdserverpb.AlarmType_NOSPACE,
	})
	if err != nil {
		return fmt.Errorf("%s the space alarm: %w", action, err)
	}
	return nil
}

func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}
