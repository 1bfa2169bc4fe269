"""The newest Windows image, and the public parameter that names it; moto has neither.

AWS Systems Manager User Guide, "Calling AMI public parameters for Windows".
"""

from typing import Any, Final

from moto.core.utils import utcnow
from moto.ec2.models import amis
from moto.ssm import urls
from moto.ssm.models import Parameter, ParameterDict, SimpleSystemManagerBackend, ssm_backends

from envs.sandbox.aws.host import Host

IMAGE_ID: Final = "ami-0f1ee75ea32022000"
_NAME: Final = "Windows_Server-2022-English-Full-Base"
_FOLDER: Final = "/aws/service/ami-windows-latest/"


class _Parameters(ParameterDict):
    """moto's parameters, with this one: it is found by its name and, as on AWS, never listed with one's own."""

    def _check_loading_status(self, key: str) -> None:
        super()._check_loading_status(key)
        if key == f"{_FOLDER}{_NAME}" and not dict.__contains__(self, key):
            newest: Any = Parameter(
                account_id=self.account_id,
                name=key,
                value=IMAGE_ID,
                parameter_type="String",
                description=None,
                allowed_pattern=None,
                keyid=None,
                last_modified_date=utcnow(),
                version=1,
                data_type="aws:ec2:image",
            )
            self[key] = [newest]


class ParametersBackend(SimpleSystemManagerBackend):
    """moto's backend on these parameters."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self._parameters = _Parameters(account_id, region_name)

    @property
    def _url_module(self) -> Any:
        return urls


def install(_host: Host) -> None:
    """Adds the image to moto's, and puts this backend in the place of moto's."""
    model = next(image for image in amis.AMIS if image["platform"] == "windows")
    amis.AMIS.append({**model, "ami_id": IMAGE_ID, "name": f"{_NAME}-2026.11.11", "description": _NAME})
    ssm_backends.backend = ParametersBackend
