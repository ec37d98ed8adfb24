"""Rules that all layouts share: masks fit, test images are not trained on, nothing lies about."""

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath

from fcdd.data.check_files import Inventory
from fcdd.data.check_findings import Notes
from fcdd.data.check_images import Examined

_SAVE_SIZE = "save the mask at the size of its image"


def note_masks(
    images: Mapping[str, Examined],
    anomalous: Collection[str],
    masks: Mapping[str, str],
    examined: Mapping[str, Examined],
    notes: Notes,
) -> None:
    """Notes masks that do not fit their images, or mark what they should not."""
    for name, mask_name in masks.items():
        image, mask = images.get(name), examined.get(mask_name)
        if image is None or mask is None or image.size is None or mask.size is None:
            continue
        if image.size != mask.size:
            (h, w), (mask_h, mask_w) = image.size, mask.size
            detail = f"mask {mask_h} x {mask_w}, image {h} x {w} (height x width)"
            notes.add(mask_name, "mask that does not fit its image", "refused", _SAVE_SIZE, detail)
        if name in anomalous and not mask.marks:
            remedy = "mark the anomaly, or move the image to the nominal ones"
            notes.add(mask_name, "empty mask of an anomalous image", "refused", remedy)
        if name not in anomalous and mask.marks:
            remedy = "delete it, or move the image to the anomalous ones"
            notes.add(mask_name, "mask that marks a nominal image", "refused", remedy)


def note_copies(
    train: Mapping[str, Examined],
    test: Mapping[str, Examined],
    notes: Notes,
) -> None:
    """Notes test images that are also in `train`, and copies within each."""
    trained: dict[bytes, str] = {}
    for name, examined in train.items():
        if examined.digest is not None:
            trained.setdefault(examined.digest, name)
    for name, examined in test.items():
        if examined.digest is not None and examined.digest in trained:
            notes.add(
                name,
                "test image that is also a training image",
                "refused",
                "delete one of the two: a test image must not be trained on",
                f"the same picture as {trained[examined.digest]}",
            )
    for found, part in ((train, "training"), (test, "test")):
        counts = Counter(e.digest for e in found.values() if e.digest is not None)
        firsts: dict[bytes, str] = {}
        for name, examined in found.items():
            if examined.digest is None or counts[examined.digest] == 1:
                continue
            first = firsts.setdefault(examined.digest, name)
            if first != name:
                remedy = "it counts as often as it is there; delete copies"
                kind = f"{part} image that is there more than once"
                notes.add(name, kind, "harmless", remedy, f"the same picture as {first}")


def note_strays(
    files: Inventory, used: Collection[str], tops: tuple[str, ...], notes: Notes
) -> None:
    """Notes files in the layout's folders that a run does not read."""
    remedy = "it is not read; move it elsewhere"
    told = {finding.path for finding in notes.findings}
    for name in files.names:
        if name not in used and name not in told and PurePosixPath(name).parts[0] in tops:
            notes.add(name, "stray file", "harmless", remedy)
