"""Real sshd on loopback, with a host key and a user key of their own, below a folder."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import psutil

MISSING = "sshd and ssh are not installed: apt-get install openssh-server openssh-client"
SERVER = """
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
AcceptEnv TMPDIR
"""
CLIENT = """
Host *
  IdentityFile {folder}/user_key
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile /dev/null
  SendEnv TMPDIR
"""


def missing() -> bool:
    return not _sshd() or not all(shutil.which(name) for name in ("ssh", "ssh-keygen"))


def _sshd() -> str | None:
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class SSHServer:
    """`config`: what `ssh -F` takes; `port`: where it listens. `another` makes a server with the same keys."""

    def __init__(self, folder: Path, keys: bool = True):
        self.folder, self.config = folder, str(folder / "ssh_config")
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = int(one.getsockname()[1])
        if keys:
            for key in ("host_key", "user_key"):
                subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
            (folder / "sshd_config").write_text(SERVER.format(folder=folder))
            (folder / "ssh_config").write_text(CLIENT.format(folder=folder))
            self.trust("host_key")
            if os.geteuid() == 0:
                os.makedirs("/run/sshd", exist_ok=True)
        self.on()

    def another(self) -> "SSHServer":
        return SSHServer(self.folder, keys=False)

    def on(self) -> None:
        where = ["-o", f"ListenAddress=127.0.0.1:{self.port}"]
        env = {name: os.environ[name] for name in os.environ if name != "STUDIO_HOME"}  # it outlives a test
        with open(self.folder / "sshd.log", "ab") as log:
            argv = [str(_sshd()), "-D", "-e", "-f", str(self.folder / "sshd_config"), *where]
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, env=env)
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 5).close()
                return
            except OSError:
                assert time.monotonic() < deadline, (self.folder / "sshd.log").read_text()
                time.sleep(0.05)

    def off(self) -> None:
        """Kill the server and its connections, as if the machine were switched off."""
        server = psutil.Process(self._process.pid)
        server.suspend()  # accepts no connection meanwhile
        for process in [*server.children(recursive=True), server]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(10)

    @property
    def is_off(self) -> bool:
        return self._process.poll() is not None

    def trust(self, key: str) -> None:
        """Let clients know the servers by that key."""
        public = (self.folder / f"{key}.pub").read_text()
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:* {public}")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)
