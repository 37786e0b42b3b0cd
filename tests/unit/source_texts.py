"""Texts of counters: as kernels wrote them, and as documentation says that they are written."""

# Recorded: Linux 6.18, version 1, Docker 20.10, in a container that had read a file of 64 MiB after
# some group had been given a throttle rule on the disk; its own /proc/self/io had read_bytes of
# 67108864. Before such a rule the same file says `Total 0`, whatever is read.
THROTTLE_BYTES = """\
254:0 Read 67108864
254:0 Write 0
254:0 Sync 67108864
254:0 Async 0
254:0 Discard 0
254:0 Total 67108864
Total 67108864
"""
THROTTLE_BYTES_BEFORE = "Total 0\n"

# Recorded: Linux 6.18, the mounts of a container without network storage.
MOUNTSTATS_NONE = """\
device overlay mounted on / with fstype overlay
device proc mounted on /proc with fstype proc
device shm mounted on /dev/shm with fstype tmpfs
device /dev/vda mounted on /etc/hosts with fstype ext4
"""

# Composed from Documentation/admin-guide/cgroup-v2.rst.
IO_STAT = """\
259:0 rbytes=8192 wbytes=0 rios=2 wios=0 dbytes=0 dios=0
8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0
8:0 rbytes=90430464 wbytes=299008000 rios=8950 wios=1252 dbytes=50331648 dios=3021
7:0
"""

# Composed from fs/nfs/super.c, net/sunrpc/stats.c and include/linux/nfs_iostat.h of Linux: on
# `bytes:` the fifth number is what READs had from the server, on `READ:` the fifth what their
# replies were long. Of four mounts, three lie within the first: their names have a
# blank, a hash and a backslash, which the kernel writes as octal numbers.
MOUNTSTATS = """\
device sysfs mounted on /sys with fstype sysfs
device filer:/export/a mounted on /mnt/array with fstype nfs4 statvers=1.1
\topts:\trw,vers=4.2,rsize=1048576,wsize=1048576,proto=tcp,addr=10.0.0.9
\tage:\t3600
\tevents:\t52 226 0 0 1 13 398 0 0 331 0 47 0 0 77 0 0 77 0 0 0 0 0 0 0 0 0
\tbytes:\t900000000 0 0 0 600000000 0 146485 0
\tRPC iostats version: 1.1  p/v: 100003/4 (nfs)
\txprt:\ttcp 832 1 1 0 11 6428 6428 0 12154 0 24 26 5726
\tper-op statistics
\t        NULL: 1 1 0 44 24 0 0 0 0
\t        READ: 600 600 0 124800 600062400 6 79386 79407 0
\t       WRITE: 0 0 0 0 0 0 0 0 0
device filer:/export/b mounted on /mnt/array/with\\040blank with fstype nfs statvers=1.1
\tbytes:\t0 0 5000 0 5000 0 0 0
\tper-op statistics
\t        READ: 2 2 0 416 5208 0 1 1
device /dev/sda1 mounted on /mnt/array/disk with fstype ext4
device filer:/export/c mounted on /mnt/array/with\\043hash with fstype nfs statvers=1.1
\tbytes:\t0 0 6000 0 6000 0 0 0
\tper-op statistics
\t        READ: 2 2 0 416 6208 0 1 1
device filer:/export/d mounted on /mnt/array/with\\134backslash with fstype nfs statvers=1.1
\tbytes:\t0 0 7000 0 7000 0 0 0
\tper-op statistics
\t        READ: 2 2 0 416 7208 0 1 1
"""

# Composed from the Lustre Operations Manual ("Lustre Parameters") and what its developers say on
# lustre-discuss of both: llite has what read calls returned, osc what came from the servers.
LUSTRE_OSC = """\
snapshot_time             1523008010.817348638 secs.nsecs
req_waittime              75 samples [usec] 60 9000 90000 99000000
req_active                75 samples [reqs] 1 3 80 90
read_bytes                25 samples [bytes] 4096 4194304 83886080 351843720888320
ost_read                  25 samples [usec] 500 9000 60000 240000000
"""
LUSTRE_LLITE = """\
snapshot_time             1523008010.817348638 secs.nsecs
read_bytes                2048 samples [bytes] 1024 65536 125829120
write_bytes               1 samples [bytes] 1048576 1048576 1048576
open                      12 samples [reqs]
"""
LUSTRE_BEFORE = """\
snapshot_time             1523008010.817348638 secs.nsecs
req_waittime              1 samples [usec] 60 60 60 3600
"""
