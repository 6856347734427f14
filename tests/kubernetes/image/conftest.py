"""The image as it is built, from a stand-in for its base: no registry of images is asked.

The stand-in is Debian of the same release with the same Python. What it cannot show is the size of the real base; what
our own layers add is the same.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BASE = "docker.io/library/python:3.13-slim-trixie"
PACKAGES = "python3,python3-pip,python3-venv,ca-certificates"
PROGRAMS = ("buildah", "podman", "runc", "debootstrap")
# What a build needs of this machine to reach its packages, where this machine has it.
SHARED = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")


class Engine:
    """podman and buildah, with storage of their own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.storage = ("--root", str(home / "storage"), "--runroot", str(home / "run"), "--storage-driver", "vfs")

    def podman(self, *words: str, check: bool = True) -> str:
        """Run podman; give what it printed."""
        command = ("podman", *self.storage, "--runtime", "runc", "--cgroup-manager", "cgroupfs", *words)
        return run(*command, check=check)

    def build(self, context: Path, tag: str) -> None:
        """Build the Dockerfile of a folder."""
        volumes = [word for path in SHARED if Path(path).exists() for word in ("--volume", f"{path}:{path}:ro")]
        options = ("--format", "docker", "--isolation", "chroot", "--pull-never", "--network", "host", *volumes)
        run("buildah", *self.storage, "bud", *options, "--tag", tag, str(context))

    def create(self, name: str, image: str, *words: str, options: tuple[str, ...] = ()) -> None:
        """Make a container as restricted as Kubernetes would: read-only root, no capabilities, little memory."""
        limits = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--memory=256m")
        # What podman asks for by default may be more than a machine lets it have.
        possible = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024", "--log-driver=k8s-file")
        self.podman("create", "--name", name, *limits, *possible, *options, image, *words)


def run(*command: str, check: bool = True) -> str:
    """Run a program to its end; give its output, or fail with it."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0 or not check, f"{' '.join(command)}\n{result.stdout[-4000:]}{result.stderr[-4000:]}"
    return result.stdout.strip()


@pytest.fixture(scope="session")
def engine(need_program, tmp_path_factory):
    """An engine with an empty storage and the base's stand-in in it."""
    for name in PROGRAMS:
        need_program(name)
    if os.geteuid() != 0:
        pytest.skip("MISSING TOOL: building a root file system takes root")
    home = tmp_path_factory.mktemp("engine")
    engine = Engine(home)
    root = home / "base"
    run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "trixie", str(root))
    for name in ("python", "python3", "python3.13"):
        (root / "usr/local/bin" / name).symlink_to("/usr/bin/python3.13")
    shutil.rmtree(root / "var/cache/apt")
    archive = home / "base.tar"
    run("tar", "--directory", str(root), "--create", "--file", str(archive), ".")
    engine.podman("import", str(archive), BASE)
    archive.unlink()
    shutil.rmtree(root)
    yield engine
    engine.podman("rm", "--all", "--force", "--time", "0", check=False)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def image(engine, checkout):
    """The image, built."""
    tag = "localhost/token-budget-sidecar:test"
    engine.build(checkout, tag)
    return tag


@pytest.fixture
def note(request):
    """Print a measured figure where a run shows it, whatever is captured."""

    def write(text: str) -> None:
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print(f"\nmeasured: {text}", file=sys.stderr, flush=True)

    return write
