"""Set up an AWS account: a bucket, and an instance profile that may use one prefix of it and nothing else."""

import json
import time
from collections.abc import Iterator
from typing import Any

from studio.backends.cloud.cloud import CloudDenied, CloudError
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
    tagged = {"Null": {"aws:ResourceTag/studio-search": "false"}}
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
    group, tag = "arn:aws:ec2:*:*:security-group/*", "studio-search"
    return _policy(
        {"Action": "ec2:CreateSecurityGroup", "Resource": "arn:aws:ec2:*:*:vpc/*"},
        {
            "Action": "ec2:CreateSecurityGroup",
            "Resource": group,
            "Condition": {"Null": {f"aws:RequestTag/{tag}": "false"}},
        },
        {
            "Action": ["ec2:AuthorizeSecurityGroupIngress", "ec2:DeleteSecurityGroup"],
            "Resource": group,
            "Condition": {"Null": {f"aws:ResourceTag/{tag}": "false"}},
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
    "ID": "studio-search",
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
            self._s3, self._iam, self._ec2 = (session.client(name) for name in ("s3", "iam", "ec2"))
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
        self.steps = [
            self._make_bucket(),
            self._keep_private(),
            self._expire(),
            self._make_role(),
            self._make_profile(),
            self._make_spot_role(),
        ]

    def checks(self) -> Iterator[str]:
        yield f"credentials: {self._who['Arn']}, region {self._region}"
        yield self._tried("machine types may be listed", "describe_instance_types", MaxResults=5)
        yield self._tried("machines may be listed", "describe_instances", MaxResults=5)
        asked = {"ImageId": UBUNTU.format("amd64"), "InstanceType": TRIED, "MinCount": 1, "MaxCount": 1}
        yield self._tried("machines may be made", "run_instances", DryRun=True, **asked)

    def _tried(self, what: str, method: str, **asked: Any) -> str:
        try:
            with aws_errors(what):
                getattr(self._ec2, method)(**asked)
        except CloudError as error:
            if code_of(error) == "DryRunOperation":  # would have succeeded
                return f"{what}: yes"
            if not isinstance(error, CloudDenied):
                raise
            return f"{what}: NO: {error}"
        return f"{what}: yes"

    # --- the steps --------------------------------------------------------------------------------------------------

    def _make_bucket(self) -> Step:
        asked: dict[str, Any] = {"Bucket": self._name}
        if self._region != "us-east-1":
            asked["CreateBucketConfiguration"] = {"LocationConstraint": self._region}
        return Step(
            "make the bucket",
            f"s3.create_bucket {_text(asked)}",
            lambda: self._found(self._s3, "head_bucket", Bucket=self._name) is not None,
            lambda: self._send(self._s3, "create_bucket", asked),
        )

    def _keep_private(self) -> Step:
        asked = {"Bucket": self._name, "PublicAccessBlockConfiguration": PRIVATE}

        def is_done() -> bool:
            found = self._found(self._s3, "get_public_access_block", Bucket=self._name)
            return found is not None and found["PublicAccessBlockConfiguration"] == PRIVATE

        text = f"s3.put_public_access_block {_text(asked)}"
        return Step(
            "keep the bucket private", text, is_done, lambda: self._send(self._s3, "put_public_access_block", asked)
        )

    def _expire(self) -> Step:
        def rules() -> list[dict[str, Any]]:
            found = self._found(self._s3, "get_bucket_lifecycle_configuration", Bucket=self._name)
            return [] if found is None else list(found["Rules"])

        def do() -> None:
            kept = [rule for rule in rules() if rule.get("ID") != RULE["ID"]]
            asked = {"Bucket": self._name, "LifecycleConfiguration": {"Rules": [*kept, RULE]}}
            self._send(self._s3, "put_bucket_lifecycle_configuration", asked)

        text = f"s3.put_bucket_lifecycle_configuration: with this rule\n{_text(RULE)}"
        title = f"delete files older than {KEPT} days from the bucket"
        return Step(title, text, lambda: RULE in [_known(rule) for rule in rules()], do)

    def _make_role(self) -> Step:
        role = {"RoleName": PROFILE, "AssumeRolePolicyDocument": json.dumps(TRUST)}
        policy = {
            "RoleName": PROFILE,
            "PolicyName": _policy_name(self._name),
            "PolicyDocument": json.dumps(worker_policy(self._name)),
        }

        def is_done() -> bool:
            made = self._found(self._iam, "get_role", RoleName=PROFILE)
            may = self._found(self._iam, "get_role_policy", RoleName=PROFILE, PolicyName=policy["PolicyName"])
            if made is None or may is None:
                return False
            trust = made["Role"]["AssumeRolePolicyDocument"]
            return (trust, may["PolicyDocument"]) == (TRUST, worker_policy(self._name))

        def do() -> None:
            self._send(self._iam, "create_role", role)
            trust = {"RoleName": PROFILE, "PolicyDocument": role["AssumeRolePolicyDocument"]}
            self._send(self._iam, "update_assume_role_policy", trust)  # a role that existed may have another one
            self._send(self._iam, "put_role_policy", policy)

        text = f"iam.create_role {_text(role)}\niam.put_role_policy {_text(policy)}"
        return Step("make the role of machines", text, is_done, do)

    def _make_profile(self) -> Step:
        profile = {"InstanceProfileName": PROFILE}
        add = {"InstanceProfileName": PROFILE, "RoleName": PROFILE}

        def do() -> None:
            self._send(self._iam, "create_instance_profile", profile)
            self._send(self._iam, "add_role_to_instance_profile", add)
            time.sleep(SPREADS)

        def is_done() -> bool:
            found = self._found(self._iam, "get_instance_profile", **profile)
            return found is not None and [role["RoleName"] for role in found["InstanceProfile"]["Roles"]] == [PROFILE]

        text = f"iam.create_instance_profile {_text(profile)}\niam.add_role_to_instance_profile {_text(add)}"
        return Step("make the instance profile", text, is_done, do)

    def _make_spot_role(self) -> Step:
        asked = {"AWSServiceName": "spot.amazonaws.com"}
        return Step(
            "make the role that Amazon needs to run spot machines",
            f"iam.create_service_linked_role {_text(asked)}",
            lambda: self._found(self._iam, "get_role", RoleName=SPOT_ROLE) is not None,
            lambda: self._send(self._iam, "create_service_linked_role", asked),
        )

    # --- inside -----------------------------------------------------------------------------------------------------

    def _send(self, client: Any, method: str, asked: dict[str, Any]) -> None:
        try:
            with aws_errors(method):
                getattr(client, method)(**asked)
        except CloudError as error:
            if code_of(error) not in THERE:
                raise

    def _found(self, client: Any, method: str, **asked: Any) -> dict[str, Any] | None:
        """Return the answer; None: there is no such thing."""
        try:
            with aws_errors(method):
                answer: dict[str, Any] = getattr(client, method)(**asked)
                return answer
        except CloudError as error:
            if code_of(error) in MISSING:
                return None
            raise


def _known(rule: dict[str, Any]) -> dict[str, Any]:
    return {name: rule.get(name) for name in RULE}


def _text(data: Any) -> str:
    return json.dumps(data, indent=2)
