"""Builds dist/reseller with PyInstaller and says how large it is.

The same source gives the same bytes: hash seed and time stamps are fixed.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SPEC = ROOT / "packaging" / "reseller.spec"
BUILT = ROOT / "dist" / "reseller"


def source_date() -> str:
    """Seconds of the last commit, or a fixed day outside of a checkout."""
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "1767225600"


def main() -> int:
    """Build, then print the path, size and digest."""
    env = {**os.environ, "PYTHONHASHSEED": "1", "SOURCE_DATE_EPOCH": source_date()}
    command = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--clean", "--log-level=WARN"]
    command += ["--distpath", str(BUILT.parent), "--workpath", str(ROOT / "build"), str(SPEC)]
    print("Building (about a minute) …", flush=True)
    status = subprocess.run(command, env=env, cwd=ROOT, check=False).returncode
    if status:
        return status
    digest = hashlib.sha256(BUILT.read_bytes()).hexdigest()
    (BUILT.parent / "SHA256SUMS").write_text(f"{digest}  {BUILT.name}\n")
    print(f"{BUILT.relative_to(ROOT)}: {BUILT.stat().st_size / 1e6:.1f} MB, sha256 {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
