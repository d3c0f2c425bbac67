import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from clothseg.freed_memory import NO_LIMIT, keep_freed_memory

def use():
    buffers = [np.ones(20 << 20, np.uint8) for _ in range(10)]

if sys.argv[1] == "kept":
    keep_freed_memory(NO_LIMIT)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")
def test_buffers_that_were_freed_cost_no_page_faults_again():
    faults = {
        word: int(subprocess.run([sys.executable, "-c", FAULTS, word], capture_output=True, check=True).stdout)
        for word in ("kept", "as usual")
    }
    assert faults["kept"] < 100
    assert faults["as usual"] > 1000
