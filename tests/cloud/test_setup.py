"""`studio cloud setup`: the least permissions, as whole texts, and an account that is ready afterwards."""

import contextlib
import json
import subprocess
import sys

import pytest

from studio.backends.cloud.ec2 import setup as ec2_setup
from studio.backends.cloud.ec2.setup import EC2Setup, ports_policy, worker_policy
from studio.backends.cloud.gce.setup import DRIVER, IAM, PROJECTS, STORAGE, GCESetup

# --- Amazon -----------------------------------------------------------------------------------------------------------


FORGET = [  # what the simulator has at its start, and what a test made
    ("delete_role_policy", ["RoleName", "PolicyName"]),
    ("remove_role_from_instance_profile", ["InstanceProfileName", "RoleName"]),
    ("delete_instance_profile", ["InstanceProfileName"]),
    ("delete_role", ["RoleName"]),
]


@pytest.fixture
def amazon(amazon, monkeypatch):
    """An account in which nothing was made."""
    monkeypatch.setattr(ec2_setup, "SPREADS", 0.0)
    forget_account(amazon)
    yield amazon
    forget_account(amazon)
    amazon.make_account()


def forget_account(amazon):
    iam, s3 = amazon.client("iam"), amazon.client("s3")
    names = {"InstanceProfileName": "studio-worker", "RoleName": "studio-worker", "PolicyName": "bucket-mine"}
    for method, needs in FORGET:
        with contextlib.suppress(iam.exceptions.NoSuchEntityException):
            getattr(iam, method)(**{name: names[name] for name in needs})
    if "mine" in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
        s3.delete_bucket(Bucket="mine")


def test_an_account_of_amazon_is_set_up(amazon, command, home):
    done = command("cloud", "setup", "ec2", "--bucket=mine", "--yes")
    assert (done.code, done.err) == (0, "")
    assert '"s3:ListBucket"' in done.out
    s3, iam = amazon.client("s3"), amazon.client("iam")
    assert s3.get_public_access_block(Bucket="mine")["PublicAccessBlockConfiguration"]["BlockPublicPolicy"]
    (rule,) = s3.get_bucket_lifecycle_configuration(Bucket="mine")["Rules"]
    assert (rule["Expiration"]["Days"], rule["Filter"]["Prefix"], rule["Status"]) == (30, "search/", "Enabled")
    (role,) = iam.get_instance_profile(InstanceProfileName="studio-worker")["InstanceProfile"]["Roles"]
    policy = iam.get_role_policy(RoleName=role["RoleName"], PolicyName="bucket-mine")
    assert policy["PolicyDocument"] == worker_policy("mine")
    assert json.loads((home / "cloud" / "ec2.json").read_text()) == {
        "bucket": "s3://mine/search",
        "account": "studio-worker",
    }
    (asked,) = amazon.requests("iam:CreateServiceLinkedRole")
    assert asked.parameters["AWSServiceName"] == "spot.amazonaws.com"
    with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):  # moto gives it another name
        iam.create_role(RoleName="AWSServiceRoleForEC2Spot", AssumeRolePolicyDocument="{}")
    assert all(step.is_done() for step in EC2Setup("mine").steps)
    again = command("cloud", "setup", "ec2", "--bucket=mine")  # without --yes: nothing is left to agree to
    assert (again.code, again.out.count(": done already")) == (0, 6)


def titles(setup):
    """Steps that are not done."""
    return [step.title for step in setup.steps if not step.is_done()]


def test_what_exists_is_compared_and_corrected(amazon, home):
    """A bucket with another rule and a role with another policy are there, and not as they should be."""
    setup = EC2Setup("mine")
    for step in setup.steps[:-1]:
        step.do()
    right = titles(setup)
    s3, iam = amazon.client("s3"), amazon.client("iam")
    other = {"ID": "logs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 1}}
    ours = {**ec2_setup.RULE, "Expiration": {"Days": 365}}
    s3.put_bucket_lifecycle_configuration(Bucket="mine", LifecycleConfiguration={"Rules": [other, ours]})
    block = {**ec2_setup.PRIVATE, "BlockPublicPolicy": False}
    s3.put_public_access_block(Bucket="mine", PublicAccessBlockConfiguration=block)
    policy = json.dumps(worker_policy("another"))
    iam.put_role_policy(RoleName="studio-worker", PolicyName="bucket-mine", PolicyDocument=policy)
    wrong = [title for title in titles(setup) if title not in right]
    assert wrong == [
        "keep the bucket private",
        "delete files older than 30 days from the bucket",
        "make the role of machines",
    ]
    for step in setup.steps[:-1]:
        if not step.is_done():
            step.do()
    assert titles(setup) == right
    rules = s3.get_bucket_lifecycle_configuration(Bucket="mine")["Rules"]
    assert [(rule["ID"], rule["Expiration"]["Days"]) for rule in rules] == [("logs", 1), ("studio-search", 30)]


def test_a_role_that_others_may_take_is_corrected(amazon, home):
    step = next(step for step in EC2Setup("mine").steps if "role of machines" in step.title)
    step.do()
    anybody = json.dumps({**ec2_setup.TRUST, "Statement": [{**ec2_setup.TRUST["Statement"][0], "Principal": "*"}]})
    amazon.client("iam").update_assume_role_policy(RoleName="studio-worker", PolicyDocument=anybody)
    assert not step.is_done()
    step.do()
    assert step.is_done()


def test_the_template_of_amazon_makes_what_the_steps_make(amazon, command, home):
    done = command("cloud", "setup", "ec2", "--bucket=mine", "--template")
    assert (done.code, done.err) == (0, "")
    setup = EC2Setup("mine")
    stacks = amazon.client("cloudformation")
    stacks.create_stack(StackName="studio", TemplateBody=done.out, Capabilities=["CAPABILITY_NAMED_IAM"])
    assert {"make the bucket", "make the instance profile"}.isdisjoint(titles(setup))
    assert not (home / "cloud" / "ec2.json").exists()
    # The simulation leaves these properties out.
    bucket, role, _ = (each["Properties"] for each in json.loads(done.out)["Resources"].values())
    assert bucket["PublicAccessBlockConfiguration"] == ec2_setup.PRIVATE
    (rule,) = bucket["LifecycleConfiguration"]["Rules"]
    assert (rule["Prefix"], rule["ExpirationInDays"], rule["Status"]) == ("search/", 30, "Enabled")
    assert role["AssumeRolePolicyDocument"] == ec2_setup.TRUST
    assert [policy["PolicyDocument"] for policy in role["Policies"]] == [worker_policy("mine")]
    stacks.delete_stack(StackName="studio")


def test_spot_machines_without_their_role(amazon, home):
    amazon.refuse("AuthFailure.ServiceLinkedRoleCreationNotPermitted", of="ec2:RunInstances")
    answers = list(EC2Setup("mine").checks())
    amazon.allow()
    assert "an administrator can make it: studio cloud setup ec2" in answers[-1]


def test_a_dry_run_makes_nothing(amazon, command, home):
    done = command("cloud", "setup", "ec2", "--bucket=mine", "--dry-run")
    assert done.code == 0
    for text in ("s3.create_bucket", "iam.create_role", "iam.put_role_policy", "machines may be made: "):
        assert text in done.out
    assert "mine" not in {bucket["Name"] for bucket in amazon.client("s3").list_buckets()["Buckets"]}
    assert not (home / "cloud" / "ec2.json").exists()


@pytest.mark.parametrize("cloud", ["ec2", "gcloud"])
@pytest.mark.parametrize(
    ("given", "form"), [("Bad_Name", "NAME"), ("s3://abc", "abc"), ("gs://abc", "abc"), ("ab", "NAME"), ("", "NAME")]
)
def test_a_name_that_no_search_takes(amazon, command, home, monkeypatch, cloud, given, form):
    """Nobody is asked, and what an earlier setup left stays."""
    monkeypatch.setenv("CLOUDSDK_CONFIG", "/nonexistent")
    folder = home / "cloud"
    folder.mkdir(parents=True)
    kept = {"bucket": "s3://mine/search", "account": "studio-worker"}
    (folder / "ec2.json").write_text(json.dumps(kept))
    done = command("cloud", "setup", cloud, f"--bucket={given}", "--yes")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith(f"studio: --bucket {given}: {given!r} cannot be the name of a bucket")
    assert json.loads((folder / "ec2.json").read_text()) == kept
    if given.startswith("s3") == (cloud == "ec2"):
        assert done.err.endswith(f"write --bucket={form}\n")


def test_a_bucket_that_an_earlier_version_remembered(amazon, command, home, script):
    script("train.py", "lr = 1\nprint('fitness:', lr)\n")
    (home / "cloud").mkdir(parents=True)
    (home / "cloud" / "ec2.json").write_text('{"bucket": "s3://Bad_Name/search"}')
    done = command("run", "--dry-run", "--cloud=ec2", "--hp=lr=1,2", "train.py")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "--bucket s3://Bad_Name/search, from an earlier studio cloud setup: 'Bad_Name'" in done.err
    assert "or make one with: studio cloud setup ec2" in done.err


def test_nothing_is_made_unasked(amazon, command):
    done = command("cloud", "setup", "ec2", "--bucket=mine")
    assert (done.code, done.err) == (2, "studio: nothing was made: confirm with --yes, or look with --dry-run\n")
    assert "mine" not in {bucket["Name"] for bucket in amazon.client("s3").list_buckets()["Buckets"]}


def test_without_credentials(amazon, command):
    amazon.refuse("InvalidClientTokenId", "*", by="driver")
    done = command("cloud", "setup", "ec2", "--yes")
    amazon.allow()
    assert done.code == 2
    assert "InvalidClientTokenId" in done.err
    assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in done.err


def test_a_cloud_that_does_not_exist(command):
    done = command("cloud", "setup", "azure")
    assert (done.code, done.err) == (
        2,
        "studio: 'azure' is not a cloud; choose from: ec2, ec2spot, gce, gcloud, gcspot\n",
    )


# --- Google -----------------------------------------------------------------------------------------------------------


class Google:
    """Buckets, accounts, roles and policies of one project, by address."""

    def __init__(self, allowed=DRIVER):
        self.there, self.sent, self.allowed = {}, [], allowed
        mine = {"role": "roles/owner", "members": ["user:me@example.org"]}
        self.policies = {"bucket": {"etag": "a"}, "project": {"etag": "b", "bindings": [mine]}}

    def __call__(self, method, at, body):
        self.sent.append((method, at))
        if at.endswith(":testIamPermissions"):
            return {"permissions": [name for name in body["permissions"] if name in self.allowed]}
        for name, words in (("bucket", "/iam"), ("project", "IamPolicy")):
            if words in at.partition("?")[0].removeprefix(IAM):
                if method == "GET" or "getIamPolicy" in at:
                    return self.policies[name]
                self.policies[name] = body.get("policy", body)
                return {}
        if method == "GET":
            return self.there.get(at)
        if method == "PATCH":
            self.there[at] |= body
            return {}
        name = body.get("name") or body.get("accountId") or body.get("roleId")
        name = f"{name}@my-project.iam.gserviceaccount.com" if "accountId" in body else name
        self.there[f"{at.partition('?')[0]}/{name}"] = body.get("role", body)
        return {}


@pytest.fixture
def google():
    return Google()


def test_a_project_of_google_is_set_up(google, home):
    setup = GCESetup("mine", project="my-project", send=google)
    assert [step.is_done() for step in setup.steps] == [False] * 6
    for step in setup.steps:
        step.do()
    assert [step.is_done() for step in setup.steps] == [True] * 6
    bucket = google.there[f"{STORAGE}/b/mine"]
    assert bucket["iamConfiguration"]["publicAccessPrevention"] == "enforced"
    assert bucket["lifecycle"]["rule"][0]["condition"] == {"age": 30, "matchesPrefix": ["search/"]}
    worker = "serviceAccount:studio-worker@my-project.iam.gserviceaccount.com"
    (on_bucket,) = google.policies["bucket"]["bindings"]
    assert on_bucket == {
        "role": "projects/my-project/roles/studioWorkerBucket",
        "members": [worker],
        "condition": {
            "title": "studio-below-prefix",
            "expression": 'resource.name.startsWith("projects/_/buckets/mine/objects/search/") || '
            'api.getAttribute("storage.googleapis.com/objectListPrefix", "").startsWith("search/")',
        },
    }
    owner, on_project = google.policies["project"]["bindings"]
    assert owner["role"] == "roles/owner"  # what was there stays
    assert google.policies["project"]["etag"] == "b"
    assert on_project["condition"]["expression"] == 'resource.name.extract("/instances/{name}").startsWith("studio-")'
    setup.remember()
    assert json.loads((home / "cloud" / "gce.json").read_text()) == {
        "bucket": "gs://mine/search",
        "account": "studio-worker@my-project.iam.gserviceaccount.com",
    }


def test_every_step_shows_what_it_sends(google, home):
    setup = GCESetup("mine", project="my-project", send=google)
    for step in setup.steps:
        before = len(google.sent)
        step.do()
        method, at = google.sent[-1]
        assert len(google.sent) > before
        assert method in ("POST", "PUT")
        assert at in step.text


def test_what_exists_at_google_is_compared_and_corrected(google, home):
    setup = GCESetup("mine", project="my-project", send=google)
    for step in setup.steps:
        step.do()
    bucket, role = (
        google.there[f"{STORAGE}/b/mine"],
        google.there[f"{IAM}/projects/my-project/roles/studioWorkerMachine"],
    )
    other = {"action": {"type": "Delete"}, "condition": {"age": 1, "matchesPrefix": ["logs/"]}}
    bucket["lifecycle"], bucket["iamConfiguration"] = {"rule": [other]}, {"publicAccessPrevention": "inherited"}
    role["includedPermissions"] = ["compute.instances.create"]
    assert titles(setup) == ["make the bucket", "make the role studioWorkerMachine"]
    for step in setup.steps:
        if not step.is_done():
            step.do()
    assert titles(setup) == []
    assert [rule["condition"]["age"] for rule in bucket["lifecycle"]["rule"]] == [1, 30]
    assert role["includedPermissions"] == ["compute.instances.delete"]


GCLOUD = """#!{python}
import json, sys
reads = any(word.endswith("=/dev/stdin") for word in sys.argv)
with open({told!r}, "a") as file:
    print(json.dumps([sys.argv[1:], json.load(sys.stdin) if reads else None]), file=file)
"""


def test_the_script_of_google_makes_what_the_steps_make(google, home, tmp_path):
    setup = GCESetup("mine", project="my-project", send=google)
    for step in setup.steps:
        step.do()
    told = tmp_path / "told"
    (tmp_path / "gcloud").write_text(GCLOUD.format(python=sys.executable, told=str(told)))
    (tmp_path / "gcloud").chmod(0o755)
    subprocess.run(["/bin/sh"], input=setup.template, text=True, check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    calls = [json.loads(line) for line in told.read_text().splitlines()]
    assert {"--uniform-bucket-level-access", "--public-access-prevention", "gs://mine"} <= set(calls[0][0])
    assert calls[1][1] == google.there[f"{STORAGE}/b/mine"]["lifecycle"]
    made = {}
    for argv, _ in calls:
        if argv[:3] == ["iam", "roles", "create"]:
            made[argv[3]] = dict(word.removeprefix("--").partition("=")[::2] for word in argv[4:])
    for name, about in made.items():
        role = google.there[f"{IAM}/projects/my-project/roles/{name}"]
        assert (about["title"], about["permissions"].split(",")) == (role["title"], role["includedPermissions"])
    assert len(made) == 2
    bound = [
        {"role": argv[-2].partition("=")[2], "members": [argv[-3].partition("=")[2]], "condition": condition}
        for argv, condition in calls
        if "add-iam-policy-binding" in argv
    ]
    assert bound == [google.policies[what]["bindings"][-1] for what in ("bucket", "project")]


def test_permissions_that_lack_are_told(home):
    may = [name for name in DRIVER if name != "compute.instances.create"]
    lines = list(GCESetup("mine", project="my-project", send=Google(may)).checks())
    assert lines[0].startswith("credentials: project my-project")
    assert [line for line in lines if line.endswith("NO")] == ["compute.instances.create: NO"]


def test_the_last_step_lets_machines_delete_themselves(google, home):
    step = GCESetup("mine", project="my-project", send=google).steps[-1]
    assert f"{PROJECTS}/projects/my-project:setIamPolicy" in step.text


def test_ports_are_opened_for_groups_of_studio_alone():
    """Whoever searches may change no other security group of the account."""
    for statement in ports_policy()["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        if {"ec2:AuthorizeSecurityGroupIngress", "ec2:DeleteSecurityGroup"} & set(actions):
            assert statement["Condition"] == {"Null": {"aws:ResourceTag/studio-search": "false"}}
        assert statement["Resource"] != "*"
