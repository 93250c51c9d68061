"""A real systemd as PID 1 of namespaces of its own, over this machine's files. A shell's words in, their output out.

All that is written inside, also to /etc and /tmp, goes to an overlay in memory and ends with the lab. The network
is the machine's: a broker on 127.0.0.1 is reached from inside. Only journald runs beside what the tests start.
It needs root with CAP_SYS_ADMIN and the package systemd. PrivateUsers= does not work inside, as PID 1 is in a chroot.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.support.wait import wait_until

CAP_SYS_ADMIN = 21
# $0 is an empty folder. Whatever is mounted is mounted in a namespace of its own and never seen outside.
BOOT = r"""
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$0"
mkdir "$0/upper" "$0/work" "$0/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$0/upper,workdir=$0/work" "$0/root"
cd "$0/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
mkdir -p sys/fs/cgroup/systemd sys/fs/cgroup/unified
mount -t cgroup2 cgroup2 sys/fs/cgroup/unified || true
mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd || true
mount -t tmpfs -o mode=755 tmpfs dev
for node in null zero full random urandom tty; do touch dev/$node; mount --bind /dev/$node dev/$node; done
ln -s /proc/self/fd dev/fd; ln -s fd/0 dev/stdin; ln -s fd/1 dev/stdout; ln -s fd/2 dev/stderr
mkdir -m 1777 dev/shm; mkdir dev/pts; ln -s pts/ptmx dev/ptmx
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp            # systemd may empty /tmp when it boots: never the real one
mount --make-rshared .                           # LoadCredential= of units that do not run as root needs it
echo lab > etc/hostname
: > etc/fstab
rm -rf var/log/journal
units=etc/systemd/system
for folder in $units usr/lib/systemd/system; do    # the machine's devices, clock and kernel settings are not ours
  for unit in "$folder"/sysinit.target.wants/* "$folder"/local-fs.target.wants/*; do
    case ${unit##*/} in systemd-journald.service|'*') ;; *) ln -sf /dev/null "$units/${unit##*/}" ;; esac
  done
done
printf '[Unit]\nRequires=sysinit.target\nAfter=sysinit.target\n' > $units/lab.target
mkdir -p etc/systemd/journald.conf.d
printf '[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n' > etc/systemd/journald.conf.d/lab.conf
eval "$1"
export container=lab
exec chroot . /usr/lib/systemd/systemd --system --unit=lab.target --log-target=journal
"""
# The empty cgroups that PID 1 leaves, seen from the same cgroup as before.
TIDY = r"""
mount --make-rprivate /
mount -t tmpfs tmpfs "$0"
mkdir "$0/a" "$0/b"
mount -t cgroup2 cgroup2 "$0/a" || true
mount -t cgroup -o none,name=systemd cgroup "$0/b" || true
for each in "$0"/[ab]/init.scope "$0"/[ab]/system.slice; do
  [ ! -d "$each" ] || find "$each" -depth -type d -exec rmdir {} +
done
"""
SYSTEMD = Path("/usr/lib/systemd/systemd")


def not_allowed() -> str | None:
    """Why this process may not start a lab whatever is installed, or None."""
    if os.geteuid() != 0:
        return "it needs root"
    status = Path("/proc/self/status").read_text()
    capabilities = int(status.split("CapEff:")[1].split()[0], 16)
    return None if capabilities >> CAP_SYS_ADMIN & 1 else "it needs CAP_SYS_ADMIN, to mount"


def missing() -> str | None:
    """What this machine lacks for the lane, or None."""
    if not SYSTEMD.exists():
        return "systemd is not there: apt-get install systemd"
    lacking = [name for name in ("setpriv", "unshare", "nsenter", "systemd-analyze") if shutil.which(name) is None]
    return f"{lacking[0]} is not there: apt-get install util-linux systemd" if lacking else None


class SystemdLab:
    """Start, run, stop. `prepare`: shell lines that run in the new root before systemd does."""

    def __init__(self, prepare: str = "") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="systemd-lab-"))
        self.prepare = prepare
        self.process: subprocess.Popen[bytes] | None = None
        self.init_pid = 0

    def start(self) -> "SystemdLab":
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [
                    "setpriv",
                    "--pdeathsig",
                    "KILL",
                    "unshare",
                    "--pid",
                    "--fork",
                    "--kill-child",
                    "--mount",
                    "--uts",
                    "--ipc",
                    "--cgroup",
                ]
                + ["bash", "-ec", BOOT, str(self.folder), self.prepare],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._is_up, "systemd is up", 60, 0.1)
        return self

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()[-3000:]
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        if not children:
            return False
        self.init_pid = int(children[0])
        return self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded")

    @property
    def root(self) -> Path:
        """Its file system, from outside."""
        return Path(f"/proc/{self.init_pid}/root")

    def command(self, *words: str) -> list[str]:
        where = f"/proc/{self.init_pid}/root"
        inside = ["-m", "-u", "-i", "-p", f"--root={where}", f"--wd={where}", "env", "-i"]
        return ["nsenter", "-t", str(self.init_pid), *inside, "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C", *words]

    def run(self, *words: str, check: bool = True, timeout_s: float = 90) -> subprocess.CompletedProcess[str]:
        """A command inside, as root."""
        done = subprocess.run(
            self.command(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s
        )
        if check and done.returncode:
            raise AssertionError(f"{words} gave {done.returncode}: {done.stdout[-2000:]} {done.stderr[-2000:]}")
        return done

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file inside, with its folders."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def stop(self) -> None:
        """End PID 1, and with it every process and mount of the lab."""
        if self.process is not None:
            self.process.kill()  # --kill-child: PID 1 goes with it
            self.process.wait(20)
            wait_until(lambda: not Path(f"/proc/{self.init_pid}").exists(), "PID 1 of the lab has ended", 20)
            self.process = None
            subprocess.run(
                ["unshare", "--mount", "--cgroup", "bash", "-c", TIDY, str(self.folder)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
            )
        shutil.rmtree(self.folder, ignore_errors=True)
