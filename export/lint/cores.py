"""How many cores this process may use."""

import math
import os
from pathlib import Path


def cgroup_cores(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Whole cores: the smaller of the affinity mask and the cgroup's quota (v2 `cpu.max`, v1 `cpu.cfs_quota_us`)."""
    cores = len(os.sched_getaffinity(0))
    quota = _quota(root)
    return cores if quota is None else max(1, min(cores, math.floor(quota)))


def _quota(root: Path) -> float | None:
    """Cores of the quota; None where there is none. A container sees its own cgroup at the root."""
    unified, legacy = root / "cpu.max", root / "cpu"
    if unified.exists():
        quota, period = unified.read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    if (legacy / "cpu.cfs_quota_us").exists():
        quota = int((legacy / "cpu.cfs_quota_us").read_text())
        return None if quota < 0 else quota / int((legacy / "cpu.cfs_period_us").read_text())
    return None
