"""`ray up`, `ray submit`, `ray dashboard` and `ray down` with docs/ray_local.yaml, over ssh.

Two hosts on this machine: each has an address, a process table, a host name, a home and a /tmp of
its own (Linux namespaces), and Debian's sshd with a key made for the test. Installed packages are
lent to their environments by a .pth file, so that the set-up's pip finds them; there is no network
beyond the two hosts and this machine.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from pipeline import results

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
PACKAGES = Path(yaml.__file__).parents[1]
TOOLS = ("sshd", "ssh", "ssh-keygen", "rsync", "ip", "unshare")
SHORT = ("--only", "data.normal_class=0", "--only", "seed=0,1", "--set", "training.epochs=2")

# What a host does before it listens; $1 its name, $2 its address, $3 the router, $4 its folder.
HOST = r"""
set -e
hostname "$1"
ip link set lo up
ip link set eth0 up
ip address add "$2/24" dev eth0
ip route add default via "$3"
mount -t tmpfs tmpfs /run
mkdir /run/sshd /run/packages
mount --bind "$6" /run/packages  # which may lie below the /tmp that is hidden next
mount --bind "$4/home" /home
mount --bind "$4/shared" /mnt
mount --bind "$4/etc/passwd" /etc/passwd
mount --bind "$4/tmp" /tmp
"$5" -m venv /home/fcdd-venv
/home/fcdd-venv/bin/pip uninstall -qy setuptools 2> /dev/null || true
echo /run/packages > "$(echo /home/fcdd-venv/lib/python3*/site-packages)/installed.pth"
printf '#!/home/fcdd-venv/bin/python\nfrom ray.scripts.scripts import main\nmain()\n' \
    > /home/fcdd-venv/bin/ray
chmod +x /home/fcdd-venv/bin/ray
echo 'export PIP_NO_INDEX=1 PIP_NO_BUILD_ISOLATION=0' > /home/.bashrc
/usr/sbin/sshd -D -e -f /home/sshd_config &
wait  # this shell is the host's first process, and takes in those whose parents ended
"""
SSHD = """
HostKey /home/host_key
AuthorizedKeysFile /home/authorized_keys
AuthenticationMethods publickey
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile none
MaxStartups 100
"""


@dataclass(frozen=True)
class Cluster:
    """Two hosts that run nothing yet, and the laptop's view of them."""

    file: Path
    shared: Path
    environment: dict[str, str]

    def ray(self, *arguments: str, timeout: float = 400) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*RAY, *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
        )


RAY = (sys.executable, "-m", "ray.scripts.scripts")


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode:
        pytest.skip(f"{' '.join(command)} is not possible here: {done.stderr.strip()}")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("network namespaces need Linux and root")
    search = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    lacking = [tool for tool in TOOLS if not shutil.which(tool, path=search)]
    if lacking:
        pytest.skip(f"not installed: {', '.join(lacking)} (openssh-server rsync iproute2)")
    mark, net = f"fcdd{secrets.token_hex(2)}", f"10.{213}.{secrets.randbelow(256)}"
    folder = Path(tempfile.mkdtemp(prefix="fcdd-hosts", dir="/var/tmp"))
    names = {"head": f"{net}.2", "worker": f"{net}.3"}
    hosts: list[subprocess.Popen[bytes]] = []
    try:
        run("ip", "link", "add", mark, "type", "bridge")
        run("ip", "address", "add", f"{net}.1/24", "dev", mark)
        run("ip", "link", "set", mark, "up")
        (folder / "shared").mkdir()
        key = folder / "key"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
        for name, address in names.items():
            hosts.append(start_host(folder, name, address, f"{net}.1", mark))
        for name, address in names.items():
            wait_for_ssh(address, folder / name / "log")
        laptop = folder / "laptop"
        laptop.mkdir()
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "FCDD_"))}
        environment |= {
            "HOME": str(laptop),
            "RAY_AUTH_MODE": "token",
            "RAY_TMPDIR": str(laptop),
            "RAY_USAGE_STATS_ENABLED": "0",
            "PATH": f"{Path(sys.executable).parent}:{search}",
        }
        config = yaml.safe_load((ROOT / "docs/ray_local.yaml").read_text())
        config["provider"] |= {"head_ip": names["head"], "worker_ips": [names["worker"]]}
        config["auth"] = {"ssh_user": "root", "ssh_private_key": str(key)}
        config |= {"cluster_name": mark, "max_workers": 1}
        (folder / "cluster.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        yield Cluster(folder / "cluster.yaml", folder / "shared", environment)
    finally:
        for host in hosts:  # its first process ends with it, and with that all others
            host.kill()
            host.wait(30)
        for name in names:
            subprocess.run(["ip", "netns", "delete", f"{mark}-{name}"], capture_output=True)
        subprocess.run(["ip", "link", "delete", mark], capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def start_host(
    folder: Path, name: str, address: str, router: str, mark: str
) -> "subprocess.Popen[bytes]":
    place, wire = folder / name, f"{mark}{name[0]}"
    for part in ("home", "tmp", "etc"):
        (place / part).mkdir(parents=True)
    (place / "shared").symlink_to(folder / "shared")
    (place / "tmp").chmod(0o1777)
    (place / "etc" / "passwd").write_text(
        "root:*:0:0:root:/home:/bin/bash\nsshd:*:105:65534::/run/sshd:/usr/sbin/nologin\n"
    )
    (place / "home" / "sshd_config").write_text(f"ListenAddress {address}\n{SSHD}")
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / "home" / "host_key"))
    shutil.copy(folder / "key.pub", place / "home" / "authorized_keys")
    run("ip", "netns", "add", f"{mark}-{name}")
    run("ip", "link", "add", wire, "type", "veth", "peer", "eth0", "netns", f"{mark}-{name}")
    run("ip", "link", "set", wire, "master", mark, "up")
    command = [
        *("ip", "netns", "exec", f"{mark}-{name}", "unshare", "--uts", "--pid", "--mount"),
        *("--fork", "--kill-child", "--mount-proc", "bash", "-c", HOST, "host", name, address),
        *(router, str(place), os.path.realpath(sys.executable), str(PACKAGES)),
    ]
    with (place / "log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)


def wait_for_ssh(address: str, log: Path) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            with socket.create_connection((address, 22), timeout=2):
                return
        except OSError:
            if time.monotonic() > deadline:
                pytest.skip(f"no sshd can start here: {log.read_text()[-2000:]}")
            time.sleep(0.2)


@pytest.fixture(scope="module")
def up(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster after `ray up`; `ray down` at the end."""
    made = cluster.ray("get-auth-token", "--generate")
    assert made.returncode == 0, made.stdout + made.stderr
    done = cluster.ray("up", "--yes", str(cluster.file))
    assert done.returncode == 0, done.stdout + done.stderr
    yield cluster
    down = cluster.ray("down", "--yes", str(cluster.file))
    assert down.returncode == 0, down.stdout + down.stderr


def submit(cluster: Cluster, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return cluster.ray("submit", str(cluster.file), "jobs/run.py", "--", "quickstart", *arguments)


def test_submitted_benchmark_runs_on_the_worker_and_not_on_the_head(up: Cluster) -> None:
    done = submit(up, *SHORT, "--out", "/mnt/out", "--device", "cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "quickstart: 2 of 2 rows" in done.stdout
    rows = results.read_rows([up.shared / "out"])
    assert [row["host"] for row in rows] == ["worker", "worker"]
    token = (Path(up.environment["HOME"]) / ".ray" / "auth_token").read_text().strip()
    for path in (up.shared / "out").rglob("*"):
        assert path.is_dir() or token.encode() not in path.read_bytes(), path
    assert token not in done.stdout + done.stderr


def test_submitted_benchmark_that_fails_ends_with_an_error(up: Cluster) -> None:
    broken = ("--set", "training.optimizer=sgd", "--set", "training.lr=1e30", "--no-tracking")
    done = submit(up, *SHORT, *broken, "--out", "/mnt/broken", "--device", "cpu")
    assert done.returncode != 0
    assert "2 of 2 runs have no row" in done.stdout
    assert len(list((up.shared / "broken" / "failures").iterdir())) == 2


def test_job_goes_through_the_tunnel_of_ray_dashboard(up: Cluster) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tunnel = subprocess.Popen(
        [*RAY, "dashboard", str(up.file), "--port", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env=up.environment,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not answers(f"http://localhost:{port}"):
            assert tunnel.poll() is None and time.monotonic() < deadline
            time.sleep(0.5)
        done = up.ray(
            *("job", "submit", "--address", f"http://localhost:{port}", "--working-dir", "."),
            *("--", "python", "-m", "jobs", "run", "quickstart", *SHORT, "--out", "/mnt/tunnel"),
            *("--device", "cpu"),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(results.read_rows([up.shared / "tunnel"])) == 2
    finally:
        os.killpg(tunnel.pid, signal.SIGKILL)
        tunnel.communicate(timeout=30)


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
