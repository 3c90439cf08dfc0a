/** libvirt's locks as the API shows them. */
import type { LockdThread } from '../lockd/lockd-thread.js';
import type { LockAnswer } from './answer-schemas.js';

export async function lockAnswers(lockd: Pick<LockdThread, 'locks'>): Promise<LockAnswer[]> {
  return (await lockd.locks()).map(({ lockspace, name, shared, since, owners }) => ({
    lockspace,
    name,
    mode: shared ? 'shared' : 'exclusive',
    since,
    owners: owners.map((owner) => ({
      name: owner.name,
      uuid: dashed(owner.uuid),
      id: owner.id,
      pid: owner.pid,
      startTime: owner.startTime,
    })),
  }));
}

/** libvirt's 32 digits as everybody writes them. */
function dashed(uuid: string): string {
  const parts = /^(.{8})(.{4})(.{4})(.{4})(.{12})$/.exec(uuid)?.slice(1);
  return parts === undefined ? uuid : parts.join('-');
}
