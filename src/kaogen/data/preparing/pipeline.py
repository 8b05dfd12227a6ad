"""The pictures' way through the workers: shards out, shard files in, nothing lost in silence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from kaogen.data.inputs.sources import Source
from kaogen.data.preparing import shards
from kaogen.data.preparing.engine import Engine, Lost
from kaogen.data.preparing.found import Found
from kaogen.data.preparing.looks import Job, Parcel, look_at
from kaogen.data.preparing.shards import Work
from kaogen.errors import DataError

Progress = Callable[[str, int, int], None]

LOOKING = "looking at pictures"
# Pictures in a shard: many at a time cost less; but a small folder must keep all workers busy and
# the bar moving, and a shard of large faces must fit the memory.
_LARGEST_SHARD = 256
_SMALLEST_SHARD = 8
_SHARDS = 64
# So many pictures that all kill their workers are no bad luck.
_HOPELESS = 16


def cut_into_shards(names: Sequence[str], height: int, width: int) -> list[Sequence[str]]:
    """Shards of the pictures; depends on nothing but their number and the faces' size."""
    fitting = min(_LARGEST_SHARD, _LARGEST_SHARD * 256**2 // (height * width))
    size = max(_SMALLEST_SHARD, min(fitting, len(names) // _SHARDS))
    return [names[start : start + size] for start in range(0, len(names), size)]


def work_through(
    engine: Engine[Parcel, bytes | None],
    job: Job,
    source: Source,
    cut: Sequence[Sequence[str]],
    work: Work,
    *,
    shared: bool,
    progress: Progress | None = None,
) -> int:
    """See to it that every shard's file is there; the pictures that already were are returned.

    Args:
        engine: where it is done.
        job: what is done.
        source: the pictures.
        cut: the shards.
        work: where their files go.
        shared: whether the workers see that folder too, and write there themselves.
        progress: called with (what is done, pictures done, all pictures).

    Raises:
        DataError: a shard cannot be worked through, whatever is left out of it.
    """
    total = sum(map(len, cut))
    todo = [number for number in range(len(cut)) if not work.path(number).exists()]
    resumed = done = total - sum(len(cut[number]) for number in todo)
    if progress is not None:
        progress(LOOKING, done, total)

    def parcel(number: int) -> Parcel:
        path = work.path(number) if shared else None
        return Parcel(job, source.part(cut[number]), path)

    lost: list[tuple[int, str]] = []
    for place, result in engine.run(look_at, (parcel(number) for number in todo)):
        number = todo[place]
        if isinstance(result, Lost):
            lost.append((number, result.reason))
            continue
        if result is not None:
            shards.write(work.path(number), result)
        done += len(cut[number])
        if progress is not None:
            progress(LOOKING, done, total)
    for number, reason in lost:
        data = _rescue(engine, job, source, cut[number], reason)
        shards.write(work.path(number), data)
        done += len(cut[number])
        if progress is not None:
            progress(LOOKING, done, total)
    return resumed


def _rescue(
    engine: Engine[Parcel, bytes | None],
    job: Job,
    source: Source,
    names: Sequence[str],
    reason: str,
) -> bytes:
    """A shard that failed, without the pictures that fail when they are alone, too."""
    alone = (Parcel(job, source.part([name]), None) for name in names)
    skip = {
        names[place]: f"looking at it failed ({result.reason})"
        for place, result in engine.run(look_at, alone)
        if isinstance(result, Lost)
    }
    if len(skip) == len(names) >= _HOPELESS:
        raise DataError(
            f"every one of {len(names)} pictures, such as {names[0]}, failed: {reason}.",
            hint="What is done is kept. `--workers 0 --limit 1` shows the fault itself.",
        )
    known = tuple((name, skip[name]) for name in names if name in skip)
    whole = Parcel(job, source.part(names), None, known)
    for _, result in engine.run(look_at, [whole]):
        if isinstance(result, bytes):
            return result
        reason = result.reason if result is not None else reason
    raise DataError(
        f"the pictures from {names[0]} to {names[-1]} cannot be worked through: {reason}.",
        hint="What is done is kept. Short of memory? Try --workers 1.",
    )


def in_order(work: Work, shards_count: int, *, pictures: bool) -> Iterator[Found]:
    """Everything that was found, in the pictures' order; a shard at a time is in memory."""
    for number in range(shards_count):
        yield from work.read(number, pictures=pictures)
