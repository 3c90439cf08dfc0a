/**
 * A driver whose grants end by themselves unless they are renewed, as those of a lease do; for tests of what happens then.
 * The lock of a resource is a file in `folder`, with whose it is and until when; another one may take it when that is over.
 * Times are those of CLOCK_BOOTTIME, from /proc/uptime: 10 ms exact.
 *
 * Settings: `folder`; `ttl`, ms (loss is declared after a half of it, the kill after three quarters). Whoever makes the file
 * `folder`/stop stops all renewals for as long as it is there; `folder`/lose makes the present grants lost at once.
 */
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const about = {
  name: 'renewing',
  reach: 'cluster',
  modes: ['exclusive', 'shared', 'read', 'part'],
  guarantees: [],
  doesNotGuarantee: [],
  supervise: true,
  renews: true,
};

const now = () => Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 1000;

function refused(code, message) {
  return Object.assign(new Error(message), { code });
}

function start({ folder, ttl = 2000 }) {
  mkdirSync(folder, { recursive: true });
  const fileOf = ({ resource: { identity } }) =>
    join(folder, createHash('sha1').update(identity).digest('hex'));
  const read = (request) => {
    try {
      return JSON.parse(readFileSync(fileOf(request), 'utf8'));
    } catch {
      return undefined;
    }
  };
  const write = (request, lease) => {
    const file = fileOf(request);
    writeFileSync(`${file}.new`, JSON.stringify(lease));
    renameSync(`${file}.new`, file);
  };

  function grant(id, requests, sentAt) {
    let times;
    const listeners = new Set();
    const confirm = (at) => {
      times = { loseAtMs: at + ttl / 2, killAtMs: at + ttl * 0.75, endMs: at + ttl };
      for (const request of requests)
        write(request, { id, until: at + ttl, history: historyOf(request, id) });
    };
    confirm(sentAt);
    let lose;
    const lost = new Promise((resolve) => (lose = resolve));
    const over = (reason) => {
      clearInterval(timer);
      lose({ reason, resources: requests.map(({ resource }) => resource.label) });
    };
    const timer = setInterval(() => {
      const at = now();
      if (existsSync(join(folder, 'lose'))) return over('somebody wanted it');
      if (at >= times.loseAtMs) return over('it was not renewed in time');
      if (existsSync(join(folder, 'stop'))) return;
      confirm(at);
      for (const listener of listeners) listener(times);
    }, ttl / 20);
    const guarantee = {
      get times() {
        return times;
      },
      onRenewal(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    };
    const tokens = Object.fromEntries(requests.map(({ resource }) => [resource.identity, `renewing:${id}`]));
    return { requests, descriptors: [], tokens, lost, guarantee, id, end: () => clearInterval(timer) };
  }

  /** Who has had it, in order. */
  function historyOf(request, id) {
    const { history = [] } = read(request) ?? {};
    return history.at(-1) === id ? history : [...history, id];
  }

  return {
    async acquire(_owner, requests) {
      const at = now();
      for (const request of requests) {
        if ((read(request)?.until ?? 0) > at) throw refused('IN_USE', `${request.resource.label} is in use`);
      }
      return grant(randomUUID(), requests, at);
    },
    async release({ id, requests, end }) {
      end();
      for (const request of requests) {
        const lease = read(request);
        if (lease?.id === id) write(request, { ...lease, until: 0 });
      }
    },
    async holders() {
      return [];
    },
    async suspend() {},
    async resume({ id, requests, end }) {
      end();
      if (existsSync(join(folder, 'stop'))) throw refused('CLUSTER_UNREACHABLE', 'nobody answers');
      for (const request of requests) {
        const lease = read(request);
        if (lease?.id !== id) throw refused('LOST', `${request.resource.label} was somebody else's`);
      }
      rmSync(join(folder, 'lose'), { force: true });
      return grant(id, requests, now());
    },
  };
}

export default { about, start };
