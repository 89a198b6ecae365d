"""A signal may fall between any two instructions of a command that waits for its threads."""

import subprocess
import sys

ROUNDS = 400

# In a process of its own: what hangs here is killed, and the test fails instead.
SCRIPT = f"""
import random, signal, sys, threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from forcegate_client.aside import run_aside

aside = sys.argv[1] == "aside"

def ring(number, frame):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, ring)
interrupted = 0
for _ in range({ROUNDS}):
    stop = threading.Event()

    def work():
        with ThreadPoolExecutor(2) as pool:
            waiting = set()
            for _ in range(60):
                if stop.is_set():
                    return
                while len(waiting) < 4:
                    waiting.add(pool.submit(lambda: None))
                _, waiting = wait(waiting, return_when=FIRST_COMPLETED)

    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 4e-3))
            run_aside(work, stop) if aside else work()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
    except KeyboardInterrupt:
        interrupted += 1
assert not [one.name for one in threading.enumerate() if one.name.startswith("ThreadPool")]
print(interrupted)
"""


def test_threads_end_whenever_a_signal_falls() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "aside"],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > ROUNDS // 20
