"""The command line. Every verb decides first, from fingerprints, and imports what it needs late:
`--help` needs neither DuckDB nor Delta, and Prefect and Torch are imported only to run something.

Exit codes: 0 done or nothing to do, 1 a stage or gate failed, 2 bad input. An error is one sentence
on standard error; `--verbose` adds the traceback.
"""

from __future__ import annotations

import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flows.show import Format

if TYPE_CHECKING:
    from storage.store import Store
    from tasks.config import Curation

app = typer.Typer(
    name="winnow",
    help="Curate labelled data: find the wrong labels, fix what can be proved, keep what teaches.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
review = typer.Typer(help="Hand doubtful labels to people, and take their decisions back.")
app.add_typer(review, name="review")
release = typer.Typer(help="Look at one release, or publish one that its gates hold back.")
app.add_typer(release, name="release")

CurationPath = Annotated[str, typer.Argument(metavar="CURATION", help="Path of the curation's YAML.")]
First = Annotated[str | None, typer.Option("--from", metavar="PARTITION", help="The oldest partition.")]
Last = Annotated[str | None, typer.Option("--to", metavar="PARTITION", help="The newest partition.")]
Jobs = Annotated[
    int,
    typer.Option(min=1, max=64, help="Partitions side by side, where none reads what another makes."),
]
ReleaseNumber = Annotated[int, typer.Argument(metavar="RELEASE", help="Its number.")]
Release = Annotated[int | None, typer.Option("--release", metavar="N", help="Default: the published one.")]


@dataclass
class Settings:
    """What stands before the verb."""

    verbose: bool = False


def main() -> None:
    """The console script."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Run one command line; the exit code."""
    # --verbose is asked for after something went wrong, so it may also stand at the end.
    front = [argument for argument in arguments if argument == "--verbose"]
    rest = [argument for argument in arguments if argument != "--verbose"]
    settings = Settings()
    try:
        code = app([*front, *(rest or ["--help"])], prog_name="winnow", standalone_mode=False, obj=settings)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except (BrokenPipeError, SystemExit):
        # The reader, such as `head`, has seen enough; Typer exits with 1 where it notices first.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        from tasks.redaction import redact

        if settings.verbose:
            print(redact(traceback.format_exc()), end="", file=sys.stderr)
        code, sentence = explain(error)
        print(f"winnow: {redact(sentence.strip())}", file=sys.stderr)
        return code


def explain(error: Exception) -> tuple[int, str]:
    """The exit code and the sentence of an error."""
    from storage.errors import Busy, StoreError
    from tasks.errors import BadInput, Cancelled, StageFailed
    from tasks.teach import BadTraining

    # Typer brings its own Click since 0.27, whose exceptions have no public name.
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):
        command = getattr(getattr(error, "ctx", None), "command_path", "winnow")
        return error.exit_code, f"{error.format_message().rstrip('.')}; see `{command} --help`"
    if isinstance(error, Busy):
        return 0, f"nothing to do: {error}"
    if isinstance(error, StoreError):
        from storage.query import QueryError

        return 2 if isinstance(error, QueryError) else 1, str(error)
    if isinstance(error, Cancelled):
        return 130, str(error)
    if isinstance(error, BadInput | StageFailed | BadTraining):
        return 2 if isinstance(error, BadInput) else 1, str(error)
    first = next(iter(str(error).splitlines()), "") or "no message"
    return 1, f"unexpected {type(error).__name__}: {first}; run with --verbose to see where"


def show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"winnow {version('winnow')}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show tracebacks and Prefect's log.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    context.obj.verbose = verbose


def opened(path: str) -> tuple[Curation, Store]:
    """A curation and its store, which need not exist yet."""
    from flows.credentials import lend
    from storage.store import Store, StoreError
    from tasks.config import load
    from tasks.errors import BadInput

    curation = load(path)
    lend(curation.store)
    try:
        return curation, Store(curation.store, curation.dataset)
    except StoreError as error:
        raise BadInput(f"{path}: {error}") from None


def existing(path: str) -> Store:
    """A curation's store. Raises BadInput where nothing was ever put there."""
    from storage.store import StoreError
    from tasks.errors import BadInput

    _, store = opened(path)
    try:
        return store.open(create=False)
    except StoreError as error:
        raise BadInput(f"{path}: {error}") from None


@app.command(epilog="Example: `winnow demo --folder ./my-demo`")
def demo(
    context: typer.Context,
    folder: Annotated[Path, typer.Option(help="Where its curation and store go.")] = Path("winnow-demo"),
) -> None:
    """Curate two nights of real digits, and show what it did to their labels."""
    from flows.demo import show_demo

    show_demo(folder, context.obj.verbose)


@app.command(epilog="Example: `winnow plan curations/digits.yaml --from 2026-01-01 --to 2026-01-07`")
def plan(curation: CurationPath, first: First = None, last: Last = None) -> None:
    """Show what would run, and why, without running it."""
    from flows.run import show_plan

    show_plan(*opened(curation), first, last)


@app.command(epilog="Example: `winnow run curations/digits.yaml --partition 2026-01-01`")
def run(
    context: typer.Context,
    curation: CurationPath,
    partition: Annotated[str, typer.Option(metavar="PARTITION", help="For instance 2026-01-01.")],
    stage: Annotated[
        str | None, typer.Option(metavar="STAGE", help="Run this stage alone, and publish nothing.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Compute again what is up to date.")] = False,
) -> None:
    """Curate one partition and publish the result."""
    from flows.run import run_partition, run_stage

    loaded, store = opened(curation)
    if stage is None:
        run_partition(loaded, store, partition, force, context.obj.verbose)
    else:
        run_stage(loaded, store, partition, stage, force, context.obj.verbose)


@app.command(
    epilog="Example: `winnow backfill curations/digits.yaml --from 2026-01-01 --to 2026-01-07 --dry-run`"
)
def backfill(
    context: typer.Context,
    curation: CurationPath,
    first: First = None,
    last: Last = None,
    partitions: Annotated[
        list[str] | None,
        typer.Option("--partition", metavar="PARTITION", help="This one alone; may be given several times."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="These alone: one partition a line.")
    ] = None,
    only: Annotated[
        Literal["missing", "failed", "stale", "all"],
        typer.Option(
            help="missing: not curated yet; failed: that failed, were cancelled or never had their turn; "
            "stale: missing, and those that the curation would now make differently; all.",
        ),
    ] = "missing",
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="PARTITION", help="Not this one; may be given several times."),
    ] = None,
    order: Annotated[
        Literal["oldest", "newest"], typer.Option(help="Which end of the range comes first.")
    ] = "oldest",
    jobs: Jobs = 1,
    stage: Annotated[
        str | None, typer.Option(metavar="STAGE", help="Run this stage alone, and publish nothing.")
    ] = None,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first partition that fails.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run, and why.")] = False,
) -> None:
    """Curate any number of partitions; the same command again takes up what failed or was cut off."""
    from flows.run import run_backfill, selected

    selection = selected(
        first=first,
        last=last,
        partitions=partitions or [],
        file=file,
        only=only,
        exclude=exclude or [],
        order=order,
        stage=stage,
    )
    run_backfill(*opened(curation), selection, jobs, fail_fast, dry_run, context.obj.verbose)


@app.command(epilog="Example: `winnow nightly curations/digits.yaml`")
def nightly(
    context: typer.Context,
    curation: CurationPath,
    jobs: Jobs = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run, and why.")] = False,
) -> None:
    """Curate what has arrived and is not curated yet, as the nightly deployment does."""
    from flows.run import run_night

    run_night(*opened(curation), jobs, dry_run, context.obj.verbose)


@app.command(epilog="Example: `winnow status curations/digits.yaml`")
def status(
    curation: CurationPath,
    run: Annotated[str | None, typer.Option(metavar="RUN", help="Default: the newest.")] = None,
    form: Annotated[
        Literal["table", "json"], typer.Option("--format", help="For people, or for programs.")
    ] = "table",
) -> None:
    """Show how far a backfill or a night is, what failed and why, and how fresh the data is."""
    from flows.status import show_status

    show_status(*opened(curation), run, form)


@app.command(
    epilog='Example: `winnow sql curations/digits.yaml "SELECT action, count(*) FROM labels GROUP BY action"`'
)
def sql(
    curation: CurationPath,
    query: Annotated[str, typer.Argument(metavar="SQL", help="A SELECT on the tables, or on `story`.")],
    release: Release = None,
    form: Annotated[Format, typer.Option("--format", help="How the result is written.")] = "table",
    output: Annotated[Path | None, typer.Option(help="A file to write to instead.")] = None,
) -> None:
    """Ask the published tables, or those of one release, a question in SQL."""
    from flows.reading import show_sql

    show_sql(existing(curation), query, release, form, output)


@app.command(epilog="Example: `winnow why curations/digits.yaml 0042`")
def why(
    curation: CurationPath,
    row: Annotated[str, typer.Argument(metavar="ROW", help="A row's id.")],
) -> None:
    """Tell one row's whole story: what came in, who said what of it, what was decided and why."""
    from flows.story import tell

    tell(existing(curation), row)


@app.command(epilog="Example: `winnow releases curations/digits.yaml`")
def releases(curation: CurationPath) -> None:
    """List the releases, the newest first."""
    from flows.reading import show_releases

    show_releases(existing(curation))


@release.command("list", epilog="Example: `winnow release list curations/digits.yaml`")
def release_list(curation: CurationPath) -> None:
    """List the releases, the newest first: the same as `winnow releases`."""
    releases(curation)


@release.command("show", epilog="Example: `winnow release show curations/digits.yaml 4`")
def release_show(curation: CurationPath, number: ReleaseNumber) -> None:
    """Show what a release holds, what its gates found, and who decided about it."""
    from flows.upkeep import show_release

    show_release(existing(curation), number)


@release.command(
    "approve", epilog='Example: `winnow release approve curations/digits.yaml 4 --why "new camera, checked"`'
)
def release_approve(
    curation: CurationPath,
    number: ReleaseNumber,
    why: Annotated[str, typer.Option(metavar="TEXT", help="Why it is good all the same; kept with it.")],
    by: Annotated[str | None, typer.Option(metavar="NAME", help="Default: who is logged in.")] = None,
) -> None:
    """Give readers a release that its gates hold back; the failed checks stay on record."""
    from flows.upkeep import approve

    approve(existing(curation), number, why, by)


@app.command(epilog="Example: `winnow rollback curations/digits.yaml 3`")
def rollback(curation: CurationPath, number: ReleaseNumber) -> None:
    """Publish an earlier release again; readers see it from the next query on."""
    from flows.reading import roll_back

    roll_back(existing(curation), number)


@app.command(epilog="Example: `winnow diff curations/digits.yaml 2 3`")
def diff(
    curation: CurationPath,
    older: Annotated[int, typer.Argument(metavar="A", help="A release.")],
    newer: Annotated[int, typer.Argument(metavar="B", help="Another.")],
) -> None:
    """Show what changed between two releases."""
    from flows.reading import show_diff

    show_diff(existing(curation), older, newer)


@app.command(epilog="Example: `winnow export curations/digits.yaml ./digits-export`")
def export(
    curation: CurationPath,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder, or an empty one.")],
    release: Release = None,
) -> None:
    """Write a release as Parquet files and a data card, for Hugging Face `datasets` and all else."""
    from flows.export import export as write_export

    loaded, _ = opened(curation)
    write_export(loaded, folder, release)


@review.command("export", epilog="Example: `winnow review export curations/digits.yaml doubtful.csv`")
def review_export(
    curation: CurationPath,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Ends in .csv or .parquet.")],
    partition: Annotated[str | None, typer.Option(metavar="PARTITION", help="Default: all.")] = None,
) -> None:
    """Write the rows that wait for a person to a file, to be filled in."""
    from flows.review import export_reviews

    export_reviews(existing(curation), file, partition)


@review.command("import", epilog="Example: `winnow review import curations/digits.yaml doubtful.csv`")
def review_import(
    curation: CurationPath,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Ends in .csv or .parquet.")],
) -> None:
    """Take people's decisions in: all rows of the file, or none if one is bad."""
    from flows.review import import_reviews

    import_reviews(existing(curation), file)


@app.command(epilog="Example: `winnow report curations/digits.yaml --partition 2026-01-01`")
def report(
    curation: CurationPath,
    partition: Annotated[str | None, typer.Option(metavar="PARTITION", help="Default: the newest.")] = None,
) -> None:
    """Print a partition's figures, and where its page lies."""
    from flows.reading import show_report

    show_report(existing(curation), partition)


@app.command(epilog="Example: `winnow methods detect`")
def methods(
    stage: Annotated[str | None, typer.Argument(metavar="[STAGE]", help="Default: every stage.")] = None,
) -> None:
    """List every method with its parameters and its paper."""
    from flows.methods import describe

    describe(stage)


@app.command(epilog="Example: `winnow vacuum curations/digits.yaml --keep-releases 30 --dry-run`")
def vacuum(
    curation: CurationPath,
    keep_releases: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Let releases expire but the newest N.")
    ] = None,
    keep_days: Annotated[
        float | None,
        typer.Option(min=0, metavar="D", help="Let releases expire that are older; with N, if both say so."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the files, and leave them.")] = False,
) -> None:
    """Delete files that no kept release and no newest version needs."""
    from flows.upkeep import vacuum_store
    from storage.vacuum import Keep

    vacuum_store(existing(curation), Keep(keep_releases, keep_days), dry_run)


@app.command(epilog="Example: `winnow compact curations/digits.yaml --dry-run`")
def compact(
    curation: CurationPath,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be merged.")] = False,
) -> None:
    """Merge the small files of each partition into few; nothing that readers see changes."""
    from flows.upkeep import compact_store

    compact_store(existing(curation), dry_run)


@app.command(epilog="Example: `winnow doctor curations/digits.yaml --deep`")
def doctor(
    curation: CurationPath,
    deep: Annotated[bool, typer.Option("--deep", help="Read every row too, and compare its hash.")] = False,
    fix: Annotated[bool, typer.Option("--fix", help="Remove what lies about, and nothing else.")] = False,
) -> None:
    """Look for what is missing, damaged or left over in the store, and say what to do about it."""
    from flows.upkeep import examine

    examine(existing(curation), deep, fix)
