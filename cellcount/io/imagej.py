"""ImageJ's regions of interest: `.roi` with points, or a `.zip` of several (RoiSet.zip); one image a file.

For points, integer coordinates are the centres of pixels, as ours (`ij.gui.Roi.useLineSubpixelConvention`: "line and
point rois ... coordinates are with respect to the pixel center"). A name that a person gave is the label; multi-point
selections may have counters, which become labels "counter 1" and so on.
"""

import logging
import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from roifile import ROI_OPTIONS, ROI_TYPE, ImagejRoi

from cellcount.io.points import Annotation, Reader
from cellcount.io.problems import Report, Stop

MAX_BYTES = 2**26  # of the unpacked regions: five million points; more is refused before it is unpacked
_AUTOMATIC = re.compile(r"^(\d{3,}-){1,3}\d{3,}$|^$|^[0-9a-f-]{36}$")  # names that ImageJ and roifile give


def recognises(reader: Reader) -> bool:
    """Whether the file is a region, or an archive with one."""
    if reader.suffix == ".roi":
        return True
    with _guarded(reader):
        if not zipfile.is_zipfile(reader.path):
            return False
        with zipfile.ZipFile(reader.path) as archive:
            return any(name.lower().endswith(".roi") for name in archive.namelist())


def parse(reader: Reader) -> list[Annotation]:
    """One `Annotation`; its `image` is that of the file's name."""
    found = Annotation(reader.file, "", reader.owner)
    others, slices = [], set()
    for name, roi in _regions(reader):
        if roi.roitype != ROI_TYPE.POINT:
            others.append(str(roi.roitype.name).lower())
            continue
        named_by_file = reader.suffix == ".roi" and roi.name == reader.path.stem  # as ImageJ saves it
        label = "" if named_by_file or _AUTOMATIC.match(roi.name or "") else roi.name
        points = np.asarray(roi.coordinates(), float)
        counters = [0] * len(points) if roi.counters is None else roi.counters.tolist()
        several = len(set(counters)) > 1
        stack = [0] * len(points) if roi.counter_positions is None else roi.counter_positions.tolist()
        slices |= {(roi.position, roi.c_position, roi.z_position, roi.t_position, place) for place in stack}
        for (x, y), counter in zip(points.tolist(), counters):
            reader.point(found, {"y": y, "x": x}, f"{label} counter {counter}".strip() if several else label, name)
    return reader.marked([found], others, slices=slices)


class _Refusing(logging.Handler):
    """Stops at what roifile only logs: a name, and so a label, that the file does not hold."""

    def emit(self, record: logging.LogRecord) -> None:
        raise ValueError(record.getMessage())


@contextmanager
def _guarded(reader: Reader, place: str = "") -> Iterator[None]:
    """Report any error in the block as a broken file."""
    log, handler = logging.getLogger("roifile"), _Refusing()
    log.addHandler(handler)
    try:
        yield
    except Stop:
        raise
    except Exception as error:  # zipfile, its decompressors and roifile raise a dozen kinds of errors on damaged files
        reader.stop("roi-broken", place, error=error)
    finally:
        log.removeHandler(handler)


def _regions(reader: Reader) -> list[tuple[str, ImagejRoi]]:
    """(name, region) of the file or of each file in the archive, which is never unpacked to the disk."""
    if reader.suffix == ".roi":
        contents = [("", reader.raw)]
    else:
        with _guarded(reader), zipfile.ZipFile(reader.path) as archive:
            inside = [one for one in archive.infolist() if one.filename.lower().endswith(".roi")]
            size = sum(one.file_size for one in inside)
            if size > MAX_BYTES:
                reader.stop("roi-size", megabytes=size / 1e6)
            contents = [(one.filename, _unpacked(archive, one)) for one in inside]
    found = []
    for name, content in contents:
        with _guarded(reader, name):
            found.append((name, ImagejRoi.frombytes(content)))
    return found


def _unpacked(archive: zipfile.ZipFile, one: zipfile.ZipInfo) -> bytes:
    """A file in the archive, of which no more is unpacked than it claims; its checksum fails if it is larger."""
    if one.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others can be unpacked only as a whole
        raise ValueError(f"its compression method {one.compress_type} is none that ImageJ uses")
    with archive.open(one) as file:
        return file.read(one.file_size + 1)


def write(path: Path, annotations: Sequence[Annotation], report: Report) -> None:
    """Write the points of one image, one region for each label; a `.roi` file has one region, so one label."""
    [one] = annotations
    regions = {}
    for label in dict.fromkeys(mark.label for mark in one.points):
        xy = np.array([mark.position[::-1] for mark in one.points if mark.label == label], np.float32)
        region = ImagejRoi.frompoints(xy, name=label or "{1:04.0f}-{0:04.0f}".format(*np.abs(xy[0])))  # as ImageJ's
        region.roitype = ROI_TYPE.POINT  # else it would be a freehand outline
        region.options |= ROI_OPTIONS.SUB_PIXEL_RESOLUTION
        regions[label] = region.tobytes()
    if path.suffix.lower() == ".roi":
        if len(regions) != 1:
            report.add("write-one-label", image=one.image, count=len(regions))
            return
        path.write_bytes(*regions.values())
        return
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, (label, content) in enumerate(regions.items(), 1):
            archive.writestr(f"{number:04d}-{re.sub(r'[^A-Za-z0-9 _-]', '_', label)[:60] or 'cells'}.roi", content)
