"""A sweep on a real Slurm of one node, in a network of its own: a job that is cancelled is tried again, same frame."""

import os
import shutil
import subprocess
import sys

import pytest

from adaptlab import paths
from adaptlab.evidence import frames
from adaptlab.runner import sweep
from test_sweep import KIT, NO_SNAKEMAKE, command, marks, study_file, tiny

NEEDED = ("slurmctld", "slurmd", "sbatch", "munged", "unshare", "ip")
CONF = """ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={run}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SlurmUser=root
StateSaveLocation={run}
SlurmdSpoolDir={run}/spool
SlurmctldPidFile={run}/ctld.pid
SlurmdPidFile={run}/slurmd.pid
NodeName=localhost CPUs=2 RealMemory=4000
PartitionName=main Nodes=localhost Default=YES
"""
# slurmd wants an address that is not the loopback's; jobs find the configuration in /etc/slurm only.
NAMESPACE = """set -e
mount --bind {run}/etc /etc/slurm
hostname localhost; ip link set lo up
ip link add v0 type veth peer name v1; ip addr add 10.123.0.1/24 dev v0; ip link set v0 up; ip link set v1 up
munged --force --foreground --key-file={run}/key --socket={run}/munge.socket --pid-file={run}/munged.pid \
    --log-file={run}/munged.log --seed-file={run}/seed & munge=$!
for i in $(seq 50); do [ -S {run}/munge.socket ] && break; sleep .1; done
slurmctld -D -c > {run}/ctld.log 2>&1 & ctld=$!
slurmd -D -N localhost > {run}/slurmd.log 2>&1 & slurmd=$!
trap 'kill $slurmd $ctld $munge' EXIT
for i in $(seq 60); do sinfo -h -o %T 2> {run}/sinfo.log | grep -q idle && break; sleep .5; done
( while [ ! -s marks ]; do sleep .2; done; sleep 1; scancel "$(squeue -h -t R -o %i | head -1)" ) &
"$@"
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="a network of its own takes root")
def test_a_job_that_is_cancelled_is_tried_again_and_the_frame_is_that_of_a_local_sweep(tmp_path, monkeypatch):
    missing = [name for name in NEEDED if not shutil.which(name)]
    if missing:
        pytest.skip(f"{missing[0]} is not installed (Debian: slurmctld slurmd slurm-client munge iproute2)")
    if not sweep._snakemake():
        pytest.skip(NO_SNAKEMAKE)
    run = tmp_path / "run"
    (run / "etc").mkdir(parents=True)
    (run / "etc" / "slurm.conf").write_text(CONF.format(run=run))
    (run / "key").write_bytes(os.urandom(1024))
    (run / "key").chmod(0o400)
    (run / "start.sh").write_text(NAMESPACE.replace("{run}", str(run)))
    profile = tmp_path / "profile"
    shutil.copytree(sweep.SCALE / "profiles" / "slurm", profile)
    with (profile / "config.yaml").open("a") as file:
        file.write("slurm-init-seconds-before-status-checks: 3\ndefault-resources: [slurm_partition=main]\n")
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path)
    tiny(tmp_path, 6)
    resources = {"memory_mb": 1000, "minutes": 5}
    study_file(tmp_path, notebooks=["01_tiny.ipynb"], seeds=[0, 1], resources=resources)

    cluster = ["unshare", "--net", "--uts", "--mount", "bash", str(run / "start.sh"), sys.executable, "-m", "adaptlab"]
    cluster += ["sweep", "study.yaml", "--out", "cluster", "--on", str(profile)]
    environment = os.environ | {"PYTHONPATH": str(KIT)}
    pipes = {"capture_output": True, "text": True, "timeout": 300}
    done = subprocess.run(cluster, cwd=tmp_path, env=environment, **pipes)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "CANCELLED" in said and "Trying to restart job" in said and "3 of 3 steps" in said
    assert len(marks(tmp_path)) == 3  # two runs, and the one that was cancelled

    local = command(tmp_path, without=True)
    assert local.communicate(timeout=300) and local.returncode == 0
    assert frames.read(tmp_path / "cluster" / "frame.csv").equals(frames.read(tmp_path / "out" / "frame.csv"))
