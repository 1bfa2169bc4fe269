"""The verbs of the Service Fabric cluster: one line of help, one function in `envs.cluster`."""

from pathlib import Path
from typing import Annotated

import typer

from envs import project
from envs.errors import UsageError
from envs.options import Emulated, EnvironmentName, JsonPath, SandboxName, selected

cluster_app = typer.Typer(
    help="The Service Fabric cluster: forming it, looking at it, changing and repairing it.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@cluster_app.command()
def config(
    check: Annotated[
        Path | None,
        typer.Option("--check", exists=True, dir_okay=False, help="Judge this ClusterConfig.json instead."),
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="The one that the cluster has now.")] = False,
    env: EnvironmentName = project.SANDBOX,
    emulated: Emulated = False,
    name: SandboxName = None,
    json: JsonPath = None,
) -> None:
    """Prints the configuration that an environment's cluster is formed with, or judges a file by the product's rules.

    Examples: fleetstream cluster config --env dev > ClusterConfig.json

    fleetstream cluster config --check ClusterConfig.json
    """
    from envs import cluster

    if check is not None:
        if live:
            raise UsageError("--check judges a file, --live shows the cluster's: one of the two")
        raise typer.Exit(cluster.check(check, json))
    cluster.show_configuration(selected(env, emulated, name), live, json)


@cluster_app.command()
def bootstrap(
    workers: Annotated[
        int | None,
        typer.Option(help="Raise the workers to this number; by default the environment's. Never lowers them."),
    ] = None,
    packages: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder with Microsoft's files, until the bucket has them."),
    ] = None,
    env: EnvironmentName = project.SANDBOX,
    emulated: Emulated = False,
    name: SandboxName = None,
    json: JsonPath = None,
) -> None:
    """Forms the cluster: configuration, certificates, installation, health, workers. Run again, it goes on or does
    nothing.

    Example: fleetstream cluster bootstrap --env dev --workers 6
    """
    from envs import cluster

    cluster.bootstrap(selected(env, emulated, name), workers, packages, json)


@cluster_app.command()
def nodes(
    env: EnvironmentName = project.SANDBOX,
    emulated: Emulated = False,
    name: SandboxName = None,
    json: JsonPath = None,
) -> None:
    """Shows the live cluster: each node with its status, its instance, its domains and its health.

    Example: fleetstream cluster nodes --env dev --json nodes.json
    """
    from envs import cluster

    cluster.show_nodes(selected(env, emulated, name), json)


@cluster_app.command()
def reconcile(
    apply: Annotated[
        bool, typer.Option("--apply", help="Make the repairs, one at a time, the safe ones only.")
    ] = False,
    env: EnvironmentName = project.SANDBOX,
    emulated: Emulated = False,
    name: SandboxName = None,
    json: JsonPath = None,
) -> None:
    """Compares groups, tags, live nodes and the configuration, and proposes or makes the repairs. Exits 1 while
    something differs.

    Example: fleetstream cluster reconcile --env dev --apply
    """
    from envs import cluster

    raise typer.Exit(cluster.reconcile(selected(env, emulated, name), apply, json))


@cluster_app.command()
def upgrade(
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="SECTION/PARAMETER=VALUE", help="Set a parameter of fabricSettings; repeatable."
        ),
    ] = None,
    code_version: Annotated[
        str | None, typer.Option("--code-version", help="Go to this version of Service Fabric.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and stop.")] = False,
    env: EnvironmentName = project.SANDBOX,
    emulated: Emulated = False,
    name: SandboxName = None,
    json: JsonPath = None,
) -> None:
    """Changes the configuration, starting from the cluster's own, and follows the change to its end.

    Example: fleetstream cluster upgrade --env dev --set Management/CleanupApplicationPackageOnProvisionSuccess=true
    """
    from envs import cluster

    chosen = cluster.parse_settings(settings or [])
    if not chosen and code_version is None:
        raise UsageError("nothing to change: name it with --set Section/Parameter=value or --code-version")
    cluster.upgrade(selected(env, emulated, name), chosen, code_version, dry_run, json)


@cluster_app.command()
def dispose(
    env: EnvironmentName = project.SANDBOX,
    emulated: Emulated = False,
    name: SandboxName = None,
    json: JsonPath = None,
) -> None:
    """Ends retained instances whose node is gone from the cluster. Exits 1 while one has to stay.

    Example: fleetstream cluster dispose --env dev
    """
    from envs import cluster

    raise typer.Exit(cluster.dispose(selected(env, emulated, name), json))


@cluster_app.command()
def agents(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="ServiceTags_Public_<date>.json.")],
    geography: Annotated[
        str | None, typer.Option(help="The geography of the Azure DevOps organization, such as Europe.")
    ] = None,
    region: Annotated[
        list[str] | None, typer.Option("--region", help="A region instead, such as westeurope; repeatable.")
    ] = None,
    json: JsonPath = None,
) -> None:
    """Writes the settings that let Microsoft's hosted agents reach the public management listener.

    Example: fleetstream cluster agents ServiceTags_Public_20260105.json --geography "United Kingdom"
    """
    from envs import agents as hosted

    hosted.show(file, geography, region or (), json)
