package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// A process is one running program of a control plane. It has a process group
// of its own, so that an interrupt at the terminal reaches the house alone, which
// then stops its clusters in order; and it dies with the house, however the
// house dies.
type process struct {
	name    string
	pid     int
	logFile string
	done    chan struct{} // closed when the program has ended
	err     error         // why; read it after done
}

// A program is what to run and where it leaves its traces.
type program struct {
	name    string
	binary  string
	args    []string
	logFile string
	runFile string
}

// start runs the program. Whatever it prints goes to its log file.
func (p program) start() (*process, error) {
	if err := killStale(p.runFile); err != nil {
		return nil, err
	}
	if err := os.Rename(p.logFile, p.logFile+".old"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	logFile, err := os.OpenFile(p.logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer logFile.Close()
	cmd := exec.Command(p.binary, append([]string{p.name}, p.args...)...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	// Nothing is inherited: a proxy variable or a KUBECONFIG of the house's owner
	// must not change how the control plane talks.
	cmd.Env = []string{"TMPDIR=" + os.TempDir()}
	cmd.SysProcAttr = ownGroup()

	proc := &process{name: p.name, logFile: p.logFile, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel sends the parent-death signal when the thread that started the
		// child ends, not the process. Locked, this thread lives as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			proc.pid = cmd.Process.Pid
		}
		started <- err
		if err != nil {
			return
		}
		proc.err = cmd.Wait()
		os.Remove(p.runFile) // before done: whoever waits may start the next one
		close(proc.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	if err := remember(p.runFile, proc.pid); err != nil {
		proc.stop(0)
		return nil, err
	}
	return proc, nil
}

// ended is closed when the program has ended; never for no program.
func (p *process) ended() <-chan struct{} {
	if p == nil {
		return nil
	}
	return p.done
}

// stop asks the program to end, insists after the grace, and returns when it is gone.
func (p *process) stop(grace time.Duration) {
	if p == nil {
		return
	}
	if grace > 0 {
		syscall.Kill(-p.pid, syscall.SIGTERM)
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-p.done:
			return
		case <-timer.C:
		}
	}
	select {
	case <-p.done: // its number may be another program's by now
	default:
		syscall.Kill(-p.pid, syscall.SIGKILL)
	}
	<-p.done
}

// failure says why the program ended by itself, with what it printed last.
func (p *process) failure() error {
	why := "it ended without an error"
	if p.err != nil {
		why = p.err.Error()
	}
	return fmt.Errorf("%s ended (%s); the last lines of %s:\n%s", p.name, why, p.logFile, tail(p.logFile, 12))
}

// tail returns the last lines of a log file.
func tail(path string, lines int) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	const most = 16 << 10
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		f.Seek(max(0, size-most), io.SeekStart)
	}
	data, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}

// A birth identifies a process beyond its number, which the kernel uses again.
type birth struct {
	PID   int    `json:"pid"`
	Boot  string `json:"boot"`  // which boot of the machine
	Start string `json:"start"` // when in that boot, in clock ticks
}

func remember(path string, pid int) error {
	b, err := birthOf(pid)
	if err != nil {
		return nil // it has ended already, or this system cannot tell: nothing to find again
	}
	data, err := json.Marshal(b)
	if err != nil {
		return err
	}
	return write(path, data)
}

// killStale ends the process that an earlier house started and did not stop.
// Normally there is none: it died with that house. A process that is not
// certainly that one is left alone.
func killStale(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil // nothing was running
	}
	defer os.Remove(path)
	var was birth
	if json.Unmarshal(data, &was) != nil || was.PID <= 1 || was.Start == "" {
		return nil
	}
	if now, err := birthOf(was.PID); err != nil || now != was {
		return nil
	}
	if err := syscall.Kill(-was.PID, syscall.SIGKILL); err != nil {
		return fmt.Errorf("end process %d, which an earlier house left behind: %w", was.PID, err)
	}
	for range 500 { // SIGKILL takes its time while the kernel frees memory
		if now, err := birthOf(was.PID); err != nil || now != was {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("process %d, which an earlier house left behind, does not end", was.PID)
}
