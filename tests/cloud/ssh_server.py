"""A real sshd on loopback, with a host key and a user key of its own, below a folder."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

MISSING = "sshd and ssh are not installed: apt-get install openssh-server openssh-client"
SERVER = """
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile {folder}/sshd.pid
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
    """`config`: what `ssh -F` takes; `port`: where it listens."""

    def __init__(self, folder: Path):
        self.folder, self.config = folder, str(folder / "ssh_config")
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = int(one.getsockname()[1])
        for key in ("host_key", "user_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
        (folder / "sshd_config").write_text(SERVER.format(folder=folder, port=self.port))
        (folder / "ssh_config").write_text(CLIENT.format(folder=folder))
        self.trust("host_key")
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)
        with open(folder / "sshd.log", "wb") as log:
            argv = [str(_sshd()), "-D", "-e", "-f", str(folder / "sshd_config")]
            self._process = subprocess.Popen(argv, stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 5).close()
                return
            except OSError:
                assert time.monotonic() < deadline, (folder / "sshd.log").read_text()
                time.sleep(0.05)

    def trust(self, key: str) -> None:
        """Let clients know the server by that key."""
        public = (self.folder / f"{key}.pub").read_text()
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {public}")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)
