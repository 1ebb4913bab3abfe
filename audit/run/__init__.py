"""Run folders: finished parts of a scan on the disk, to resume, share and merge.

A folder holds a manifest (what is measured, and how it is cut into jobs) and one part
file for each finished job. Both are written whole or not at all, so that whatever ends
a process, what is there can be used. Nothing here knows torch.
"""
