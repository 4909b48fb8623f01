"""Keypoints in, stick figures out (Everybody Dance Now, arXiv 1808.07371, sections 4.1 and 9.1).

What a pose detector finds jitters, has holes, and is of a person of another size and place than the one to be drawn:

    joints = smooth(fill(found))                                  # (T, J, 2)
    joints = normalise(joints, measure(joints), measure(others))  # to the size and place of the other person
    figures = draw(joints, (height, width))                       # (T, 3, H, W)

Keypoints are x and y in pixels, from the upper left corner of the picture; NaN where a joint was not found.

Shapes: T frames, J joints, H, W height and width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from zoo.errors import DataError

FINE = 4  # sub-pixels of a side of a pixel, for smooth edges
NEARBY = 0.1  # of the way between the extremes: ankles within it count as being there


@dataclass(frozen=True)
class Skeleton:
    """Which joints there are, and the limbs between them, in the order in which they are drawn.

    Attributes:
        joints: names.
        limbs: from joint to joint, by name, and its colour.
        head: name of the joint at the top.
        ankles: names of the joints that stand on the ground.
    """

    joints: tuple[str, ...]
    limbs: tuple[tuple[str, str, tuple[int, int, int]], ...]
    head: str = "head"
    ankles: tuple[str, str] = ("l_ankle", "r_ankle")

    def index(self, name: str) -> int:
        """The number of a joint."""
        return self.joints.index(name)


# The joints of `mocap_figure64`; colours go round the circle, as OpenPose's do.
FIGURE = Skeleton(
    joints=(
        *("head", "neck", "l_shoulder", "l_elbow", "l_wrist", "r_shoulder", "r_elbow", "r_wrist"),
        *("l_hip", "l_knee", "l_ankle", "l_toe", "r_hip", "r_knee", "r_ankle", "r_toe", "hips", "chest"),
    ),
    limbs=(
        ("head", "neck", (255, 0, 85)),
        ("neck", "chest", (255, 0, 0)),
        ("chest", "hips", (255, 0, 0)),
        ("neck", "l_shoulder", (255, 85, 0)),
        ("l_shoulder", "l_elbow", (255, 170, 0)),
        ("l_elbow", "l_wrist", (255, 255, 0)),
        ("neck", "r_shoulder", (170, 255, 0)),
        ("r_shoulder", "r_elbow", (85, 255, 0)),
        ("r_elbow", "r_wrist", (0, 255, 0)),
        ("hips", "l_hip", (0, 255, 85)),
        ("l_hip", "l_knee", (0, 255, 170)),
        ("l_knee", "l_ankle", (0, 255, 255)),
        ("l_ankle", "l_toe", (0, 170, 255)),
        ("hips", "r_hip", (0, 85, 255)),
        ("r_hip", "r_knee", (0, 0, 255)),
        ("r_knee", "r_ankle", (85, 0, 255)),
        ("r_ankle", "r_toe", (170, 0, 255)),
    ),
)


def draw(
    joints: torch.Tensor, size: tuple[int, int], *, skeleton: Skeleton = FIGURE, thickness: float = 2.0
) -> torch.Tensor:
    """Stick figures on black, uint8 (T, 3, H, W).

    A limb is drawn if both of its ends are there. `fill` before it, and a limb is there in all frames or in none.

    Args:
        joints: (T, J, 2).
        size: (H, W).
        skeleton: what the joints are.
        thickness: of a limb, in pixels.

    Raises:
        DataError: keypoints of another skeleton.
    """
    _check(joints, skeleton)
    figures = [_figure(frame, size, skeleton, thickness) for frame in joints.float().cpu()]
    return torch.stack(figures) if figures else torch.zeros(0, 3, *size, dtype=torch.uint8)


def _figure(joints: torch.Tensor, size: tuple[int, int], skeleton: Skeleton, thickness: float) -> torch.Tensor:
    height, width = size
    canvas = torch.zeros(3, height * FINE, width * FINE)
    ys, xs = ((torch.arange(n * FINE) + 0.5) / FINE for n in size)
    for first, second, colour in skeleton.limbs:
        a, b = joints[skeleton.index(first)], joints[skeleton.index(second)]
        if not (a.isfinite().all() and b.isfinite().all()):
            continue
        low = ((torch.minimum(a, b) - thickness) * FINE).floor().long().clamp(min=0)
        high = ((torch.maximum(a, b) + thickness) * FINE).ceil().long().clamp(min=0)
        columns, rows = slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1]))
        x, y = xs[columns][None, :] - a[0], ys[rows][:, None] - a[1]
        limb = b - a
        share = ((x * limb[0] + y * limb[1]) / limb.square().sum().clamp(min=1e-6)).clamp(0, 1)
        inside = (x - share * limb[0]).square() + (y - share * limb[1]).square() <= (thickness / 2) ** 2
        part = canvas[:, rows, columns]
        canvas[:, rows, columns] = torch.where(inside, torch.tensor(colour, dtype=torch.float32)[:, None, None], part)
    return F.avg_pool2d(canvas, FINE).round().to(torch.uint8)


def fill(joints: torch.Tensor) -> torch.Tensor:
    """Joints that are missing in some frames, put between those of the frames around, or as in the nearest one.

    A joint that is missing in all frames stays so, and its limbs are drawn in none.

    Args:
        joints: (T, J, 2).

    Raises:
        DataError: no joint in any frame.
    """
    found = joints.isfinite().all(2)  # T J
    if not found.any():
        raise DataError(f"there is no keypoint in any of the {len(joints)} frames")
    filled = joints.clone()
    filled[~found] = torch.nan
    times = torch.arange(len(joints))
    for joint in range(joints.shape[1]):
        known = times[found[:, joint]]
        if 0 < len(known) < len(times):
            after = torch.searchsorted(known, times).clamp(max=len(known) - 1)
            before = torch.where(known[after] > times, after - 1, after).clamp(min=0)
            first, last = known[before], known[after]
            share = ((times - first) / (last - first).clamp(min=1)).clamp(0, 1)[:, None]
            filled[:, joint] = torch.lerp(joints[first, joint], joints[last, joint], share.to(joints.dtype))
    return filled


def smooth(joints: torch.Tensor, *, median: int = 3, mean: int = 3) -> torch.Tensor:
    """Without jitter: the median of some frames around each, which takes out single outliers, then their mean.

    Args:
        joints: (T, J, 2), without holes in time, as `fill` gives them.
        median, mean: frames, odd; fewer at the ends of the clip, as many on both sides.
    """
    if min(median, mean) < 1 or median % 2 == 0 or mean % 2 == 0:
        raise ValueError(f"median and mean must be odd numbers of frames, not {median} and {mean}")
    joints = _over_time(joints, median, lambda frames: frames.median(0).values)
    return _over_time(joints, mean, lambda frames: frames.mean(0))


def _over_time(joints: torch.Tensor, frames: int, combine: object) -> torch.Tensor:
    count, reach = len(joints), frames // 2
    sides = [min(reach, t, count - 1 - t) for t in range(count)]
    combined = [combine(joints[t - side : t + side + 1]) for t, side in enumerate(sides)]  # type: ignore[operator]
    return torch.stack(combined) if combined else joints


@dataclass(frozen=True)
class Extremes:
    """Where a person stands and how tall they are, far from the camera and near to it, on the ground; all in pixels.

    Attributes:
        far, near: row of the ankles; the nearer a person, the lower they stand in the picture.
        far_height, near_height: from the head to the ankles there.
        middle: column in the middle of all ankles.
    """

    far: float
    near: float
    far_height: float
    near_height: float
    middle: float


def measure(joints: torch.Tensor, skeleton: Skeleton = FIGURE) -> Extremes:
    """The extremes of a clip (T, J, 2), of the frames in which head and ankles are there.

    Feet in the air are not far away: as in section 9.1 the far row is about as far above the median as the near one is
    below it, and ankles higher up do not count.

    Raises:
        DataError: keypoints of another skeleton, no such frame, or a head that is no higher than the ankles.
    """
    _check(joints, skeleton)
    ankles, tall = _ankles(joints, skeleton), _heights(joints, skeleton)
    known = ankles.isfinite().all(1) & tall.isfinite()
    if not known.any():
        raise DataError(f"head and ankles are missing in all of the {len(joints)} frames")
    ankles, tall = ankles[known], tall[known]
    rows = ankles[:, 1]
    near = rows.max()
    median = rows.sort().values[[(len(rows) - 1) // 2, len(rows) // 2]].mean()
    far = rows[rows >= 2 * median - near - 1e-4 * near.abs()].min()
    reach = NEARBY * (near - far)
    far_height, near_height = (float(tall[(rows - row).abs() <= reach].max()) for row in (far, near))
    if min(far_height, near_height) <= 0:
        raise DataError("the head is not above the ankles where they are the farthest, or the nearest")
    middle = float(ankles[:, 0].mean())
    return Extremes(float(far), float(near), far_height, near_height, middle)


def normalise(joints: torch.Tensor, source: Extremes, target: Extremes, *, skeleton: Skeleton = FIGURE) -> torch.Tensor:
    """Poses of one person at the place and in the size of another (section 9.1).

    Between the extremes the scale and the row of the ankles go linearly with where the ankles are: the source's far and
    near rows become the target's. Where the source keeps its distance, it stands at the target's near row. Beyond them,
    as of feet in the air, the scale stays, and rows change by it.

    Args:
        joints: (T, J, 2) of the source.
        source, target: of `measure`.
        skeleton: what the joints are.
    """
    _check(joints, skeleton)
    ankles = _ankles(joints, skeleton)  # T 2
    span = source.near - source.far
    rows = ankles[:, 1].clamp(source.far, source.near)
    share = (rows - source.far) / span if span > 1e-6 else torch.ones_like(rows)
    far_ratio, near_ratio = target.far_height / source.far_height, target.near_height / source.near_height
    scale = far_ratio + share * (near_ratio - far_ratio)  # T
    row = target.far + share * (target.near - target.far) + (ankles[:, 1] - rows) * scale
    column = target.middle + (ankles[:, 0] - source.middle) * scale
    place = torch.stack([column, row], 1)[:, None]
    return place + (joints - ankles[:, None]) * scale[:, None, None]


def _ankles(joints: torch.Tensor, skeleton: Skeleton) -> torch.Tensor:
    """Between the ankles, (T, 2)."""
    return joints[:, [skeleton.index(name) for name in skeleton.ankles]].mean(1)


def _heights(joints: torch.Tensor, skeleton: Skeleton) -> torch.Tensor:
    """From the head to the ankles, (T,)."""
    return _ankles(joints, skeleton)[:, 1] - joints[:, skeleton.index(skeleton.head), 1]


def _check(joints: torch.Tensor, skeleton: Skeleton) -> None:
    if joints.ndim != 3 or joints.shape[1:] != (len(skeleton.joints), 2):
        raise DataError(f"keypoints must be (T, {len(skeleton.joints)}, 2), not {tuple(joints.shape)}")
