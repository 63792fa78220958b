"""Set up an AWS account: a bucket, and an instance profile that may use one prefix of it and nothing else."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from studio.backends.cloud.cloud import TAG, CloudDenied, CloudError
from studio.backends.cloud.ec2.cloud import EC2Cloud
from studio.backends.cloud.ec2.errors import aws_errors, code_of
from studio.backends.cloud.ec2.requests import UBUNTU
from studio.backends.cloud.setup import KEPT, PREFIX, Setup, Step
from studio.backends.queue.bucket import sdk

PROFILE = "studio-worker"
SPOT_ROLE = "AWSServiceRoleForEC2Spot"  # used by Amazon to make spot machines; an account needs it once
SPREADS = 10.0  # seconds until a new instance profile can be used
TRIED = "m7i.large"  # machine type of the dry run
MISSING = {
    "404",
    "NoSuchBucket",
    "NoSuchEntity",
    "NoSuchLifecycleConfiguration",
    "NoSuchPublicAccessBlockConfiguration",
}
THERE = {
    "EntityAlreadyExists",
    "BucketAlreadyOwnedByYou",
    "InvalidInput",  # the role of spot machines
}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
ROLES = "InstanceProfile", "Roles"
PRIVATE = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True}


def worker_policy(bucket: str) -> dict[str, Any]:
    """Return the policy of a machine: it reads and writes below the prefix, and can neither delete nor make machines."""
    return _policy(
        {"Action": ["s3:GetObject", "s3:PutObject"], "Resource": f"arn:aws:s3:::{bucket}/{PREFIX}/*"},
        {
            "Action": "s3:ListBucket",
            "Resource": f"arn:aws:s3:::{bucket}",
            "Condition": {"StringLike": {"s3:prefix": f"{PREFIX}/*"}},
        },
    )


def driver_policy(bucket: str, account: str) -> dict[str, Any]:
    """Return the policy of the searching account: machines with Studio's tag, the bucket's prefix, and prices.
    `ports_policy` adds --port and --ssh-keypair.
    """
    tagged = {"Null": {f"aws:ResourceTag/{TAG}": "false"}}
    return _policy(
        {
            "Action": ["ec2:Describe*", "pricing:GetProducts", "ssm:GetParameter", "ssm:GetParameters"],
            "Resource": "*",
        },
        {"Action": "ec2:RunInstances", "Resource": "*"},
        {
            "Action": "ec2:CreateTags",
            "Resource": "*",
            "Condition": {"StringEquals": {"ec2:CreateAction": "RunInstances"}},
        },
        {"Action": "ec2:TerminateInstances", "Resource": "*", "Condition": tagged},
        {"Action": "iam:PassRole", "Resource": f"arn:aws:iam::{account}:role/{PROFILE}"},
        {"Action": "iam:GetInstanceProfile", "Resource": f"arn:aws:iam::{account}:instance-profile/{PROFILE}"},
        *worker_policy(bucket)["Statement"],
    )


def ports_policy() -> dict[str, Any]:
    """Return the policy for security groups made with Studio's tag, and no other group of the account."""
    group = "arn:aws:ec2:*:*:security-group/*"
    return _policy(
        {"Action": "ec2:CreateSecurityGroup", "Resource": "arn:aws:ec2:*:*:vpc/*"},
        {
            "Action": "ec2:CreateSecurityGroup",
            "Resource": group,
            "Condition": {"Null": {f"aws:RequestTag/{TAG}": "false"}},
        },
        {
            "Action": ["ec2:AuthorizeSecurityGroupIngress", "ec2:DeleteSecurityGroup"],
            "Resource": group,
            "Condition": {"Null": {f"aws:ResourceTag/{TAG}": "false"}},
        },
        {
            "Action": "ec2:CreateTags",
            "Resource": group,
            "Condition": {"StringEquals": {"ec2:CreateAction": "CreateSecurityGroup"}},
        },
    )


def _policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement} for statement in statements]}


RULE = {  # of the bucket's lifecycle; others are kept
    "ID": TAG,
    "Status": "Enabled",
    "Filter": {"Prefix": f"{PREFIX}/"},
    "Expiration": {"Days": KEPT},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
}


def template(bucket: str) -> dict[str, Any]:
    """Return a template of CloudFormation that makes what the steps make, except for the role of spot machines, which an
    account can have only once.
    """
    rule = {
        "Id": RULE["ID"],
        "Status": RULE["Status"],
        "Prefix": f"{PREFIX}/",
        "ExpirationInDays": KEPT,
        "AbortIncompleteMultipartUpload": RULE["AbortIncompleteMultipartUpload"],
    }
    made = {
        "BucketName": bucket,
        "PublicAccessBlockConfiguration": PRIVATE,
        "LifecycleConfiguration": {"Rules": [rule]},
    }
    policy = {"PolicyName": _policy_name(bucket), "PolicyDocument": worker_policy(bucket)}
    role = {"RoleName": PROFILE, "AssumeRolePolicyDocument": TRUST, "Policies": [policy]}
    profile = {"InstanceProfileName": PROFILE, "Roles": [{"Ref": "Role"}]}
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "Machines of Studio: aws cloudformation deploy --stack-name studio --template-file FILE "
        "--capabilities CAPABILITY_NAMED_IAM; once in an account, for spot machines: "
        "aws iam create-service-linked-role --aws-service-name spot.amazonaws.com",
        "Resources": {
            "Bucket": {"Type": "AWS::S3::Bucket", "DeletionPolicy": "Retain", "Properties": made},
            "Role": {"Type": "AWS::IAM::Role", "Properties": role},
            "Profile": {"Type": "AWS::IAM::InstanceProfile", "Properties": profile},
        },
    }


def _policy_name(bucket: str) -> str:
    return f"bucket-{bucket}"[:128]


class EC2Setup(Setup):
    cloud = "ec2"
    account = PROFILE

    def __init__(self, bucket: str | None = None):
        self._region = EC2Cloud().region
        with aws_errors("AWS"):
            session = sdk("boto3", extra="ec2").session.Session(region_name=self._region)
            self._clients = {name: session.client(name) for name in ("s3", "iam", "ec2")}
            self._who = session.client("sts").get_caller_identity()
        number = self._who["Account"]
        self._name = bucket or f"studio-search-{number}-{self._region}"
        self.bucket = f"s3://{self._name}/{PREFIX}"
        self.policies = [
            ("permissions of the account or role that searches", _text(driver_policy(self._name, number))),
            ("also for --port or --ssh-keypair", _text(ports_policy())),
            (f"permissions of machines (role {PROFILE})", _text(worker_policy(self._name))),
        ]
        self.template = _text(template(self._name))
        self.steps = list(self._all_steps())

    def checks(self) -> Iterator[str]:
        yield f"credentials: {self._who['Arn']}, region {self._region}"
        yield self._tried("machine types may be listed", "describe_instance_types", MaxResults=5)
        yield self._tried("machines may be listed", "describe_instances", MaxResults=5)
        asked = {"ImageId": UBUNTU.format("amd64"), "InstanceType": TRIED, "MinCount": 1, "MaxCount": 1}
        yield self._tried("machines may be made", "run_instances", DryRun=True, **asked)

    def _tried(self, what: str, method: str, **asked: Any) -> str:
        try:
            with aws_errors(what):
                getattr(self._clients["ec2"], method)(**asked)
        except CloudError as error:
            if code_of(error) == "DryRunOperation":  # would have succeeded
                return f"{what}: yes"
            if not isinstance(error, CloudDenied):
                raise
            return f"{what}: NO: {error}"
        return f"{what}: yes"

    def _all_steps(self) -> Iterator[Step]:
        bucket, role, profile = {"Bucket": self._name}, {"RoleName": PROFILE}, {"InstanceProfileName": PROFILE}
        there = {"CreateBucketConfiguration": {"LocationConstraint": self._region}}
        yield self._step(
            "make the bucket",
            lambda: self._found("s3", "head_bucket", **bucket) is not None,
            ("s3", "create_bucket", bucket if self._region == "us-east-1" else bucket | there),
        )
        block = "PublicAccessBlockConfiguration"
        yield self._step(
            "keep the bucket private",
            lambda: self._found("s3", "get_public_access_block", block, **bucket) == PRIVATE,
            ("s3", "put_public_access_block", bucket | {block: PRIVATE}),
        )
        yield Step(
            f"delete files older than {KEPT} days from the bucket",
            f"s3.put_bucket_lifecycle_configuration, with this rule:\n{_text(RULE)}",
            lambda: RULE in [_known(rule) for rule in self._rules()],
            self._expire,
        )
        trust, may = json.dumps(TRUST), worker_policy(self._name)
        policy = role | {"PolicyName": _policy_name(self._name)}
        yield self._step(
            "make the role of machines",
            lambda: (
                self._found("iam", "get_role", "Role", "AssumeRolePolicyDocument", **role) == TRUST
                and self._found("iam", "get_role_policy", "PolicyDocument", **policy) == may
            ),
            ("iam", "create_role", role | {"AssumeRolePolicyDocument": trust}),
            # a role that existed had another one
            ("iam", "update_assume_role_policy", role | {"PolicyDocument": trust}),
            ("iam", "put_role_policy", policy | {"PolicyDocument": json.dumps(may)}),
        )
        yield self._step(
            "make the instance profile",
            lambda: (
                [role["RoleName"] for role in self._found("iam", "get_instance_profile", *ROLES, **profile) or []]
                == [PROFILE]
            ),
            ("iam", "create_instance_profile", profile),
            ("iam", "add_role_to_instance_profile", profile | role),
        )
        yield self._step(
            "make the role that Amazon needs to run spot machines",
            lambda: self._found("iam", "get_role", RoleName=SPOT_ROLE) is not None,
            ("iam", "create_service_linked_role", {"AWSServiceName": "spot.amazonaws.com"}),
        )

    def _step(self, title: str, is_done: Callable[[], bool], *calls: tuple[str, str, dict[str, Any]]) -> Step:
        def do() -> None:
            for call in calls:
                self._send(*call)

        text = "\n".join(f"{service}.{method} {_text(asked)}" for service, method, asked in calls)
        return Step(title, text, is_done, do)

    def _rules(self) -> list[dict[str, Any]]:
        return self._found("s3", "get_bucket_lifecycle_configuration", "Rules", Bucket=self._name) or []

    def _expire(self) -> None:
        rules = [*(rule for rule in self._rules() if rule.get("ID") != RULE["ID"]), RULE]
        asked = {"Bucket": self._name, "LifecycleConfiguration": {"Rules": rules}}
        self._send("s3", "put_bucket_lifecycle_configuration", asked)

    def _send(self, service: str, method: str, asked: dict[str, Any]) -> None:
        try:
            with aws_errors(method):
                getattr(self._clients[service], method)(**asked)
        except CloudError as error:
            if code_of(error) not in THERE:
                raise
        if method == "add_role_to_instance_profile":
            time.sleep(SPREADS)

    def _found(self, service: str, method: str, *path: str, **asked: Any) -> Any:
        """Return what the answer has at `path`; None: there is no such thing."""
        try:
            with aws_errors(method):
                answer = getattr(self._clients[service], method)(**asked)
        except CloudError as error:
            if code_of(error) in MISSING:
                return None
            raise
        for name in path:
            answer = answer[name]
        return answer


def _known(rule: dict[str, Any]) -> dict[str, Any]:
    return {name: rule.get(name) for name in RULE}


def _text(data: Any) -> str:
    return json.dumps(data, indent=2)
