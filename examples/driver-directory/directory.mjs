/**
 * A lock driver in one file: a lock is a directory, since mkdir(2) makes it for one caller only.
 *
 * Guarantees: one holder for each resource among all who use the same `folder`, also over NFS.
 * Does not guarantee: that a lock ends with its holder. After a crash somebody has to remove its directory.
 * Depends on: a folder that every contender reaches.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const about = {
  name: 'directory',
  reach: 'file system',
  modes: ['exclusive'], // the manager asks for the others exclusively, which is stricter
  guarantees: ['one holder for each resource, among all who use the same folder'],
  doesNotGuarantee: ['that a lock ends with a holder that was killed: its directory stays'],
  supervise: true, // somebody has to remove the directory when the command ends
};

/** An error that the manager understands: one of the codes of docs/errors.md. */
const fail = (code, message, details) => Object.assign(new Error(message), { code, ...details });

async function start({ folder }) {
  if (typeof folder !== 'string') throw fail('CONFIG', 'driver directory: the setting `folder` is missing');
  await mkdir(folder, { recursive: true });
  const lockOf = ({ identity }) => join(folder, createHash('sha256').update(identity).digest('hex'));
  const held = new WeakMap();

  async function holders(resource) {
    const file = join(lockOf(resource), 'owner');
    try {
      const { kind, name, uuid, pid, host } = JSON.parse(await readFile(file, 'utf8'));
      const who = kind === 'domain' ? { guest: name } : { name };
      return [{ ...who, uuid, pid, host, through: ['driver directory'], evidence: [file] }];
    } catch {
      return []; // free, or taken a moment ago and not written yet
    }
  }

  async function take(resource) {
    try {
      await mkdir(lockOf(resource));
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
      const details = { resource: resource.label, holders: await holders(resource) };
      throw fail('IN_USE', `${resource.label} is in use`, details);
    }
  }

  const giveBack = (resources) =>
    Promise.all(resources.map((resource) => rm(lockOf(resource), { recursive: true })));

  return {
    async acquire(owner, requests) {
      const taken = [];
      try {
        for (const { resource } of requests) {
          await take(resource);
          taken.push(resource);
          await writeFile(join(lockOf(resource), 'owner'), JSON.stringify(owner));
        }
      } catch (error) {
        await giveBack(taken); // all or nothing
        throw error;
      }
      const grant = { requests, descriptors: [], tokens: {} };
      held.set(grant, taken);
      return grant;
    },
    async release(grant) {
      const taken = held.get(grant) ?? []; // twice is no error
      held.delete(grant);
      await giveBack(taken);
    },
    holders,
    // Optional functions would follow: a driver can do what is there.
  };
}

export default { about, start };
