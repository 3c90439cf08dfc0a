/**
 * The first words of a shell script that starts something in a mount namespace of its own: it gives up the mounts of loop
 * devices that it has copies of. They are those of other tests, which would wait in vain for their device to be free.
 */
export const leaveLoopMounts = `
while read -r _ _ _ _ mountpoint rest; do
  case $rest in *' - '*' /dev/loop'*) umount -l "$mountpoint" ;; esac
done </proc/self/mountinfo
`;
