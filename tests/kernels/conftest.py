"""Kernels run in the interpreter and are compiled in processes of their own: TRITON_INTERPRET is read once."""

import os

LANE = "RECSERVE_LANE"

collect_ignore = [lane for lane in ("interpreter", "compile") if os.environ.get(LANE) != lane]
