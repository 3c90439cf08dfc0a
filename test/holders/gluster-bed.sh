#!/bin/sh
# Serves a GlusterFS volume in name spaces of its own, mounts it twice and runs a command there:
#   unshare -m -n -p --fork --kill-child --mount-proc --propagation private sh gluster-bed.sh FOLDER COMMAND...
# The mounts are FOLDER/one and FOLDER/two. Everything ends with this process.
set -e
folder=$1
shift
ip link set lo up
# GlusterFS refuses loopback addresses.
ip link add bed0 type veth peer name bed1
ip addr add 10.99.0.1/24 dev bed0
ip link set bed0 up
ip link set bed1 up
mount -t tmpfs tmpfs /run
mkdir -p /run/gluster "$folder/state" "$folder/log" "$folder/brick" "$folder/one" "$folder/two"
mount --bind "$folder/state" /var/lib/glusterd
mount --bind "$folder/log" /var/log/glusterfs
{
  glusterd -N &
  tries=0
  until gluster --mode=script volume info; do
    tries=$((tries + 1))
    test "$tries" -lt 60
    sleep 0.5
  done
  gluster --mode=script volume create v1 "10.99.0.1:$folder/brick" force
  gluster --mode=script volume start v1
  mount -t glusterfs 10.99.0.1:/v1 "$folder/one"
  mount -t glusterfs 10.99.0.1:/v1 "$folder/two"
} >"$folder/set-up.log" 2>&1
"$@"
umount "$folder/one" "$folder/two"
