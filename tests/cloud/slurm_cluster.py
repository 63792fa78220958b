"""A real Slurm of one node on this machine, without accounts: its own daemons, below a folder."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

MISSING = "Slurm is not installed: apt-get install slurmctld slurmd slurm-client, and run the tests as root"
CONFIGURATION = """
ClusterName=studio-test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/none
CredType=cred/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobRequeue=1
KillWait=5
RequeueExit=99
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=60 State=UP
"""


def missing() -> bool:
    return os.geteuid() != 0 or not all(shutil.which(name) for name in ("slurmctld", "slurmd", "sbatch"))


class SlurmCluster:
    """`env`: what the commands of Slurm need to find it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.env = {"SLURM_CONF": str(folder / "slurm.conf")}
        for name in ("state", "spool"):
            (folder / name).mkdir()
        host = socket.gethostname().split(".")[0]
        ports = {"controller": _free_port(), "node": _free_port()}
        (folder / "slurm.conf").write_text(CONFIGURATION.format(folder=folder, host=host, **ports))
        (folder / "cgroup.conf").write_text("CgroupPlugin=disabled\n")
        self._daemons = [self._start("slurmctld"), self._start("slurmd")]
        self.wait(lambda: "idle" in self.run("sinfo", "--noheader", "--format=%T"), "the node is idle")

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        with open(self.folder / f"{name}.log", "wb") as log:
            return subprocess.Popen([name, "-D"], env={**os.environ, **self.env}, stdout=log, stderr=log)

    def run(self, *argv: str) -> str:
        done = subprocess.run(argv, env={**os.environ, **self.env}, capture_output=True, text=True, timeout=30)
        return done.stdout

    def wait(self, condition, what: str, patience: float = 60.0) -> None:
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                logs = "".join((self.folder / f"{name}.log").read_text()[-1500:] for name in ("slurmctld", "slurmd"))
                raise AssertionError(f"not within {patience:g} s: {what}\n{logs}")
            time.sleep(0.1)

    def close(self) -> None:
        self.run("scancel", "--signal=KILL", "--full", "--state=RUNNING", "--user=root")
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in self._daemons:
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
