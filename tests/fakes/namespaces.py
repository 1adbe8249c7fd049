"""Code that gives a process disks of its own."""

from __future__ import annotations

NAMESPACE = """
    import ctypes, os
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    CLONE_NEWNS, CLONE_NEWUSER, MS_REC_PRIVATE = 0x20000, 0x10000000, 0x44000
    if libc.unshare(CLONE_NEWNS | CLONE_NEWUSER):
        raise SystemExit(77)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        open(f"/proc/self/{name}", "w").write(text)
    assert libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None) == 0
    root = os.environ["TFHUB_CACHE_DIR"]
    assert libc.mount(b"tmpfs", root.encode(), b"tmpfs", 0, b"size=2m") == 0
"""
