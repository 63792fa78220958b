"""Kubernetes: the whole manifest, what the answers of kubectl mean, and which commands are sent to it."""

import json
import sys
from dataclasses import replace

import pytest

from studio.backends.kubernetes import KubernetesJob, KubernetesLauncher, read_state
from studio.backends.queue.launcher import Copy, LauncherError, Refused
from studio.backends.queue.pool import LaunchFailed, WorkerPool
from studio.experiment import Resources

JOB = KubernetesJob("digits-0a1b2c", "registry/image:1", "lab", "studio-worker", "bucket-keys")
COMMAND = ["studio", "worker", "s3://bucket/x/digits-0a1b2c", "--name={name}", "--idle=60s"]
MANIFEST = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "studio-digits-0a1b2c-1", "labels": {"studio-search": "digits-0a1b2c"}},
    "spec": {
        "completionMode": "Indexed",
        "completions": 4,
        "parallelism": 4,
        "backoffLimit": 12,
        "ttlSecondsAfterFinished": 3600,
        "template": {
            "metadata": {"labels": {"studio-search": "digits-0a1b2c"}},
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 60,
                "containers": [
                    {
                        "name": "worker",
                        "image": "registry/image:1",
                        "command": [
                            "studio",
                            "worker",
                            "s3://bucket/x/digits-0a1b2c",
                            "--name=studio-digits-0a1b2c-1-$(INDEX)",
                            "--idle=60s",
                        ],
                        "env": [
                            {
                                "name": "INDEX",
                                "valueFrom": {
                                    "fieldRef": {
                                        "fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']"
                                    }
                                },
                            }
                        ],
                        "envFrom": [{"secretRef": {"name": "bucket-keys"}}],
                        "resources": {
                            "requests": {"cpu": "2", "memory": "2000000000", "nvidia.com/gpu": "1"},
                            "limits": {"cpu": "2", "memory": "2000000000", "nvidia.com/gpu": "1"},
                        },
                    }
                ],
                "serviceAccountName": "studio-worker",
            },
        },
    },
}


def test_the_whole_manifest():
    text = KubernetesLauncher(JOB).preview(4, COMMAND, Resources(cpus=2, gpus=1, ram="2GB"))
    assert json.loads(text) == MANIFEST


def test_the_shortest_manifest():
    pod = KubernetesJob("t", "i").manifest("n", 1, ["studio", "a$b"], Resources())["spec"]["template"]["spec"]
    assert set(pod) == {"restartPolicy", "terminationGracePeriodSeconds", "containers"}
    assert set(pod["containers"][0]) == {"name", "image", "command", "env"}
    assert pod["containers"][0]["command"] == ["studio", "a$$b"], "a $ is one for Kubernetes, too"


def test_searches_of_a_long_name_have_jobs_of_their_own():
    names = set()
    for end in ("0a1b2c", "9f9f9f"):
        launcher = KubernetesLauncher(replace(JOB, tag=f"{'a' * 40}-{end}"))
        names.add(json.loads(launcher.preview(4, COMMAND, Resources()))["metadata"]["name"])
    assert names == {f"studio-{'a' * 31}-0a1b2c-1", f"studio-{'a' * 31}-9f9f9f-1"}


def test_a_node_where_workers_failed_gets_one_only_if_no_other_has_room():
    pod = JOB.manifest("n", 1, COMMAND, Resources(), {"node-2", "node-1"})["spec"]["template"]["spec"]
    (preferred,) = pod["affinity"]["nodeAffinity"].pop("preferredDuringSchedulingIgnoredDuringExecution")
    assert pod["affinity"] == {"nodeAffinity": {}}, "nothing is required"
    (other,) = preferred["preference"]["matchExpressions"]
    assert other == {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["node-1", "node-2"]}


def job(name="studio-digits-1", completions=4, **status):
    return {"metadata": {"name": name}, "spec": {"completions": completions}, "status": status}


def pod(index, phase="Running", *, job="studio-digits-1", deleted=False, **status):
    about = {
        "name": f"{job}-{index}-x1y2z",
        "labels": {"batch.kubernetes.io/job-name": job},
        "annotations": {"batch.kubernetes.io/job-completion-index": f"{index}"},
        "creationTimestamp": "2026-11-28T10:00:00Z",
        **({"deletionTimestamp": "2026-11-28T10:10:00Z"} if deleted else {}),
    }
    return {"metadata": about, "status": {"phase": phase, **status}}


UNSCHEDULABLE = {
    "conditions": [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
        }
    ]
}
NO_IMAGE = {
    "containerStatuses": [
        {"state": {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "i"'}}}
    ]
}
CREATING = {"containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}
FAILED = {"containerStatuses": [{"state": {"terminated": {"reason": "Error", "exitCode": 3}}}]}
OUT_OF_MEMORY = {"containerStatuses": [{"state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}]}


@pytest.mark.parametrize(
    ("pods", "copies"),
    [
        ([], {0: Copy("waiting")}),
        ([pod(0)], {0: Copy("running")}),
        ([pod(0, deleted=True)], {0: Copy("ending")}),
        ([pod(0, "Pending", **CREATING)], {0: Copy("waiting")}),
        (
            [pod(0, "Pending", **UNSCHEDULABLE)],
            {0: Copy("waiting", "Kubernetes: Unschedulable; 0/3 nodes are available: 3 Insufficient nvidia.com/gpu.")},
        ),
        (
            [pod(0, "Pending", **NO_IMAGE)],
            {0: Copy("waiting", 'Kubernetes: ImagePullBackOff; Back-off pulling image "i"')},
        ),
        ([pod(0, "Failed", **FAILED)], {0: Copy("waiting", "Kubernetes: Error, exit code 3")}),
    ],
)
def test_what_pods_mean(pods, copies):
    found = read_state([job(completions=1)], pods)
    assert found == {f"studio-digits-1-{index}": copy for index, copy in copies.items()}


def test_indexes_that_are_done_are_gone():
    jobs = [job(completions=6, completedIndexes="0,2-3", failedIndexes="5"), job("studio-digits-2", 1)]
    assert set(read_state(jobs, [])) == {"studio-digits-1-1", "studio-digits-1-4", "studio-digits-2-0"}
    for kind in ("Complete", "Failed"):
        assert read_state([job(conditions=[{"type": kind, "status": "True"}])], []) == {}


# --- kubectl ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def kubectl(tmp_path, monkeypatch):
    """A program of that name that keeps what it is told, and answers from files."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "answers").mkdir()
    program = tmp_path / "bin" / "kubectl"
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, pathlib, sys\n"
        f"here = pathlib.Path({str(tmp_path)!r})\n"
        "words = [word for word in sys.argv[1:] if not word.startswith('--namespace')]\n"
        "text = sys.stdin.read() if '-' in words else ''\n"
        "with open(here / 'calls', 'a') as calls: calls.write(json.dumps([words, text]) + '\\n')\n"
        "answer = here / 'answers' / '-'.join(words[:2])\n"
        "error = here / 'answers' / f'{words[0]}.error'\n"
        "if error.exists(): sys.exit(error.read_text())\n"
        "print(answer.read_text() if answer.exists() else '{\"items\": []}')\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")

    class Kubectl:
        @property
        def calls(self):
            return [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]

        def answers(self, name, what):
            (tmp_path / "answers" / name).write_text(what if isinstance(what, str) else json.dumps(what))

    return Kubectl()


def test_workers_are_a_new_job_each_time(kubectl):
    kubectl.answers("get-jobs", {"items": [job("studio-digits-0a1b2c-1"), job("studio-digits-0a1b2c-7")]})
    names = KubernetesLauncher(JOB).start(2, COMMAND, Resources())
    assert names == ["studio-digits-0a1b2c-8-0", "studio-digits-0a1b2c-8-1"]
    words, text = kubectl.calls[-1]
    assert words == ["create", "-f", "-"]
    assert json.loads(text) == JOB.manifest("studio-digits-0a1b2c-8", 2, COMMAND, Resources())


def test_all_end_by_the_label_of_their_search(kubectl):
    KubernetesLauncher(JOB).end()
    what = ["--ignore-not-found", "--wait=false"]
    assert kubectl.calls == [[["delete", "jobs", "-l", "studio-search=digits-0a1b2c", *what], ""]]


def test_some_end_by_their_pods(kubectl):
    kubectl.answers("get-pods", {"items": [pod(0), pod(1)]})
    KubernetesLauncher(JOB).end(["studio-digits-1-1", "studio-digits-1-9"])
    assert kubectl.calls[-1][0] == ["delete", "pods", "studio-digits-1-1-x1y2z", "--ignore-not-found", "--wait=false"]


def test_last_words_are_the_reason_and_the_log(kubectl):
    kubectl.answers("get-pods", {"items": [pod(0, "Failed", **OUT_OF_MEMORY)]})
    kubectl.answers("logs-studio-digits-1-0-x1y2z", "took p/1\n")
    launcher = KubernetesLauncher(JOB)
    assert launcher.last_words("studio-digits-1-0") == "Kubernetes: OOMKilled, exit code 137; took p/1"
    assert launcher.last_words("studio-digits-1-5") == ""


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Error from server (Forbidden): jobs.batch is forbidden: User cannot create resource", LaunchFailed),
        ("error: no configuration has been provided, try setting KUBERNETES_MASTER", LaunchFailed),
        ("Unable to connect to the server: dial tcp: i/o timeout", None),
    ],
)
def test_refusals_end_the_search_and_silence_does_not(said, kind, kubectl):
    kubectl.answers("create.error", said)
    told = []
    pool = WorkerPool(KubernetesLauncher(JOB), COMMAND, Resources(), most=1, say=told.append)
    if kind is None:
        pool.maintain(1, waiting=True)
        assert told == [f"no response, retrying: kubectl: {said}"]
    else:
        with pytest.raises(kind, match="Kubernetes refuses these workers: kubectl: "):
            pool.maintain(1, waiting=True)


@pytest.mark.parametrize("answer", ["", "[]", "no json", '{"items": 7'])
def test_an_answer_that_is_none(answer, kubectl):
    kubectl.answers("get-jobs", answer)
    with pytest.raises(LauncherError, match="did not return a list"):
        KubernetesLauncher(JOB).alive()
    assert not isinstance(LauncherError(""), Refused)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--backend=kubernetes"], "--backend=kubernetes:IMAGE"),
        (["--backend=kubernetes:my image", "--kubernetes-bucket=s3://b"], "write an image with Studio"),
        (["--backend=kubernetes:image"], "--kubernetes-bucket"),
    ],
)
def test_what_is_missing_is_said_in_one_line(options, says, command, script):
    script("train.py", "print('fitness: 1')")
    result = command("run", *options, "train.py")
    assert result.code == 2
    assert says in result.err
    assert result.err.count("\n") == 1
