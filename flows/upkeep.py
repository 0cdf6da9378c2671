"""The verbs that look after a store: `release`, `vacuum`, `compact`, `doctor`."""

from __future__ import annotations

import getpass
from collections.abc import Iterable

from flows import show
from flows.reading import require_number, require_release, status
from storage import doctor, releases
from storage.compact import compact
from storage.doctor import Finding
from storage.store import Store
from storage.vacuum import Keep, let_go, vacuum
from tasks.errors import BadInput, StageFailed


def show_release(store: Store, number: int) -> None:
    """One release: what it holds, what its gates found, and who decided about it."""
    require_number(store, number)
    release = next(release for release in releases.newest(store) if release.number == number)
    seen = releases.published(store)
    readers = "yes" if seen and seen.number == number else "no"
    facts: list[tuple[str, object]] = [
        ("status", status(release)),
        ("readers get it", readers),
        ("partition", release.partition),
        ("created", f"{release.created_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("flow run", release.flow_run),
        ("note", release.note),
    ]
    facts += [(f"version of {table}", version) for table, version in sorted(release.versions.items())]
    facts += [(f"{each.table} of {each.partition}", as_kept(each.version)) for each in release.kept]
    show.table((f"release {number}", store.dataset), facts)
    if release.checks:
        show.table(
            ("gate", "value", "bound", "passed"),
            ((check["name"], check["value"], check["bound"], check["passed"]) for check in release.checks),
        )


def as_kept(version: int | None) -> str:
    """What readers get of a partition whose newest rows were refused."""
    return "refused, and no earlier one was published" if version is None else f"as at version {version}"


def approve(store: Store, number: int, why: str, by: str | None) -> None:
    """Give readers a release that its gates hold back, by a person's decision."""
    if not why.strip():
        raise BadInput("--why is empty; say why the release is good all the same")
    require_release(store, number)
    release = releases.get(store, number)
    if release.status != releases.HELD:
        raise BadInput(
            f"release {number} of {store.dataset} is {release.status}; only a held one is approved"
        )
    made = releases.approve(store, number, why, by or user())
    show.line(f"readers of {store.dataset} get release {number}, as release {made}")
    failed = [check["name"] for check in release.checks if not check["passed"]]
    show.line(f"gates that failed and stay on record: {', '.join(failed) or 'none'}")


def user() -> str:
    """The operating system's name of who runs this. Raises BadInput where it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise BadInput("this machine does not know who you are; add --by NAME") from None


def vacuum_store(store: Store, keep: Keep, dry_run: bool) -> None:
    """Let old releases go, and delete what nothing needs any more; or list it."""
    going = sorted(let_go(store, keep))
    paths = vacuum(store, dry_run, keep)
    for path in paths:
        show.line(path)
    if going:
        which = ", ".join(runs(going))
        show.line(
            f"{'would expire' if dry_run else 'expired'}: {show.plural(len(going), 'release')} ({which})"
        )
    show.line(f"{show.plural(len(paths), 'file')} {'would be deleted' if dry_run else 'deleted'}")


def runs(numbers: list[int]) -> list[str]:
    """Numbers in order, neighbours as one: 1 to 3, 5."""
    known = set(numbers)
    firsts = [n for n in numbers if n - 1 not in known]
    lasts = [n for n in numbers if n + 1 not in known]
    return [str(a) if a == b else f"{a} to {b}" for a, b in zip(firsts, lasts, strict=True)]


def compact_store(store: Store, dry_run: bool) -> None:
    """Merge what is in many small files, or say what would be."""
    done = compact(store, dry_run)
    if not done:
        show.line(f"{store.dataset} has nothing to merge")
        return
    show.table(
        ("table", "partition", "files", "merged into"),
        ((merge.table, merge.partition, merge.before, merge.after) for merge in done),
    )
    if dry_run:
        show.line("nothing was merged; leave out --dry-run to do it")
    else:
        show.line("the small files go with `winnow vacuum`, once no kept release names them")


def examine(store: Store, deep: bool, fix: bool) -> None:
    """Say what is wrong with a store, and mend what is safe. Raises StageFailed if something stays wrong."""
    findings = doctor.examine(store, deep)
    tell(finding for finding in findings if not finding.wrong)
    wrong = [finding for finding in findings if finding.wrong]
    if fix:
        mended = doctor.mend(store, wrong)
        for finding in mended:
            show.line(f"mended {finding.code}: {finding.sentence}")
        wrong = [finding for finding in wrong if finding not in mended]
    tell(wrong)
    if not wrong:
        how = "mended" if fix and mended else "sound" if deep else "sound, as far as a quick look tells"
        show.line(f"{store.dataset} is {how}")
        return
    easy = sum(finding.safe_to_fix for finding in wrong)
    hint = f"; --fix mends {easy:,} of them" if easy and not fix else ""
    raise StageFailed(f"{store.path} has {show.plural(len(wrong), 'problem')}{hint}")


def tell(findings: Iterable[Finding]) -> None:
    """A line a finding: its kind, what is so, and what to do."""
    for finding in findings:
        show.line(f"{finding.code}: {finding.sentence}")
        show.line(f"    {finding.remedy}")
