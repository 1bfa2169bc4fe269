"""The verbs that make what is deployed by other means than the program: one line of help, one function elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from envs.options import JsonPath

package_app = typer.Typer(
    help="Packages for the cluster's Windows nodes.", no_args_is_help=True, rich_markup_mode="rich"
)


@package_app.callback()
def _packages() -> None:
    """Packages for the cluster's Windows nodes."""


@package_app.command()
def consumer(
    output: Annotated[
        Path, typer.Option("--output", help="The folder to write; an older package there is replaced.")
    ],
    version: Annotated[
        str | None, typer.Option("--version", help="Its version; by default one that is made of its content.")
    ] = None,
    json: JsonPath = None,
) -> None:
    """Makes the consumer's application package: a guest executable with its own Python and wheels for Windows.

    Example: fleetstream package consumer --output build/consumer
    """
    from envs import lifecycle
    from envs.guest import package

    made = package.show(output, version)
    if json is not None:
        lifecycle.write_json(json, made.as_json())
