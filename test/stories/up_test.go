package stories_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/loopback"
)

// An up is one `gatehouse up`, which can be started again and again.
type up struct {
	dir             string
	listen, webhook string
	cmd             *exec.Cmd
	done            chan error
	log             bytes.Buffer
	ports           []*loopback.Port // held until the tests end
}

func newUp(dir string) (*up, error) {
	u := &up{dir: dir}
	for _, addr := range []*string{&u.listen, &u.webhook} {
		port, err := loopback.Take()
		if err != nil {
			return nil, err
		}
		u.ports = append(u.ports, port)
		*addr = port.Addr()
	}
	return u, nil
}

// patience is how long a start may take on a machine that does other things too.
const patience = 2 * time.Minute

// start runs gatehouse up and returns when it says that it is up.
func (u *up) start() (time.Duration, error) {
	u.cmd = exec.Command(programs.gatehouse, "up", "--dir", u.dir, "--listen", u.listen, "--webhook-listen", u.webhook, "--proxy-listen", "off")
	u.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(u.dir), "GATEHOUSE_KUBE=" + programs.kube}
	// It dies with the tests, however those end.
	u.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	stderr, err := u.cmd.StderrPipe()
	if err != nil {
		return 0, err
	}
	ready, begin := make(chan struct{}), time.Now()
	u.done = make(chan error, 1)
	started := make(chan error)
	go func() {
		// The signal comes when the thread ends that started the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := u.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		u.read(stderr, ready)
		u.done <- u.cmd.Wait()
	}()
	if err := <-started; err != nil {
		return 0, err
	}
	select {
	case <-ready:
		return time.Since(begin), nil
	case err := <-u.done:
		u.done <- err
		return 0, fmt.Errorf("gatehouse up ended: %v\n%s", err, u.log.String())
	case <-time.After(patience):
		return 0, errors.Join(fmt.Errorf("gatehouse up is not up after %s\n%s", patience, u.log.String()), u.kill())
	}
}

// read keeps what the house says, and tells when it says that it is up.
func (u *up) read(r io.Reader, ready chan struct{}) {
	told := false
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); !told && len(fields) == 3 && fields[2] == "up" {
			told = true
			close(ready)
		}
		if !told {
			u.log.WriteString(lines.Text() + "\n")
		}
	}
}

// stop ends the house in order.
func (u *up) stop() error { return u.end(os.Interrupt) }

// kill ends it as a power cut does.
func (u *up) kill() error { return u.end(syscall.SIGKILL) }

func (u *up) end(sig os.Signal) error {
	if err := u.cmd.Process.Signal(sig); err != nil {
		return err
	}
	select {
	case err := <-u.done:
		if sig == os.Interrupt && err != nil {
			return fmt.Errorf("gatehouse up: %w", err)
		}
		return nil
	case <-time.After(time.Minute):
		u.cmd.Process.Kill()
		return errors.New("gatehouse up does not end")
	}
}

// processes are those that work on the house's directory, this one's children or not.
func (u *up) processes() []string {
	var found []string
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 50 { // the kernel ends orphans at once, and shows them for a moment longer
		found = nil
		all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, file := range all {
			text, err := os.ReadFile(file)
			if err == nil && bytes.Contains(text, []byte(u.dir+"/")) || bytes.Contains(text, []byte(u.dir+"\x00")) {
				found = append(found, filepath.Base(filepath.Dir(file))+" "+string(bytes.ReplaceAll(text, []byte{0}, []byte{' '})))
			}
		}
		if len(found) == 0 {
			return nil
		}
		<-tick.C
	}
	return found
}
