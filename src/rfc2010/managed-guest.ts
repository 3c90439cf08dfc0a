/** One guest of a caller of 2010: from `new_drv` to `shutdown_drv`. */
import { HoldfastError } from '../index.js';
import type { DiskInput, Hold, Manager } from '../index.js';
import {
  VIR_LOCK_MANAGER_MIGRATE_CANCEL,
  VIR_LOCK_MANAGER_RESOURCE_READONLY,
  VIR_LOCK_MANAGER_RESOURCE_SHARED,
  VIR_LOCK_MANAGER_RESOURCE_TYPE_DISK,
} from './lock-manager-table.js';

/**
 * new      -> running   startup, or attach for one that runs already
 * new      -> incoming  startup of an incoming migration: nothing is locked yet
 * incoming -> running   complete_migrate_in; with CANCEL -> ended
 * running  -> leaving   prepare_migrate: everything stays locked
 * leaving  -> ended     complete_migrate_out; with CANCEL -> running
 * any      -> ended     shutdown
 * Only `#go` changes it.
 */
type State = 'new' | 'running' | 'incoming' | 'leaving' | 'ended';

export type Arrival = 'start' | 'migrate' | 'attach';

const parameters = ['id', 'uuid', 'name'];
const uuidPattern = /^[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}$/i;

export class ManagedGuest {
  readonly #manager: Manager;
  readonly #arrival: Arrival;
  readonly #parameters = new Map<string, string>();
  readonly #disks = new Map<string, DiskInput>();
  #state: State = 'new';
  #hold: Hold | undefined;
  /** Calls come one after another, whatever the caller awaits. */
  #last: Promise<unknown> = Promise.resolve();
  /** Ends a `startup_drv` that still waits for a disk. */
  readonly #stop = new AbortController();

  constructor(manager: Manager, arrival: Arrival) {
    this.#manager = manager;
    this.#arrival = arrival;
  }

  get ended(): boolean {
    return this.#state === 'ended';
  }

  setParameter(key: string, value: string | number): Promise<void> {
    return this.#call('set_parameter_drv', ['new'], () => {
      if (!parameters.includes(key)) {
        throw new HoldfastError('USAGE', `set_parameter_drv: a domain has no parameter \`${key}\``, {
          remedy: `The parameters of a domain are ${parameters.join(', ')}.`,
        });
      }
      if (key === 'uuid' && !uuidPattern.test(String(value))) {
        throw new HoldfastError('BAD_UUID', `set_parameter_drv: \`${value}\` is no uuid`);
      }
      this.#parameters.set(key, String(value));
    });
  }

  /** Notes a disk, or takes one more if the guest runs. */
  acquireResource(type: number, name: string, flags: number): Promise<void> {
    return this.#call('acquire_resource', ['new', 'incoming', 'running'], async () => {
      const disk = stricter(diskOf(type, name, flags), this.#disks.get(name));
      if (this.#state === 'running') await this.#plug(disk);
      this.#disks.set(name, disk);
    });
  }

  /** Forgets a disk that was noted, or gives one back if the guest runs. */
  releaseResource(name: string): Promise<void> {
    return this.#call('release_resource', ['new', 'incoming', 'running'], async () => {
      if (!this.#disks.has(name)) {
        throw new HoldfastError('USAGE', `release_resource: ${name} was never acquired`, { resource: name });
      }
      if (this.#state === 'running') await this.#unplug(name);
      this.#disks.delete(name);
    });
  }

  startup(): Promise<void> {
    return this.#call('startup_drv', ['new'], async () => {
      if (this.#arrival === 'attach') {
        throw new HoldfastError('USAGE', 'startup_drv: this guest runs already', {
          remedy: 'Call attach_drv.',
        });
      }
      this.#owner();
      if (this.#arrival === 'start') await this.#lock();
      this.#go(this.#arrival === 'start' ? 'running' : 'incoming');
    });
  }

  /** Finds the hold of a guest that runs already: its locks live in its own process, so there is nothing to take. */
  attach(): Promise<void> {
    return this.#call('attach_drv', ['new'], async () => {
      const { uuid, name } = this.#owner();
      const holds = await this.#manager.holds();
      if (!holds.some(({ owner }) => owner.uuid === uuid)) {
        throw new HoldfastError(
          'LOST',
          `attach_drv: no hold of the guest ${name} (${uuid}) is there any more`,
        );
      }
      this.#go('running');
    });
  }

  prepareMigrate(): Promise<void> {
    return this.#call('prepare_migrate_drv', ['running'], () => {
      if (this.#arrival === 'attach') throw livesElsewhere('prepare_migrate_drv');
      this.#go('leaving');
    });
  }

  /** Nothing is locked between this call and the destination's: over any driver, there is no more to be had. */
  completeMigrateOut(flags: number): Promise<void> {
    return this.#call('complete_migrate_out_drv', ['leaving'], async () => {
      if (isCancelled(flags)) return this.#go('running');
      this.#go('ended');
      await this.#hold?.release();
    });
  }

  completeMigrateIn(flags: number): Promise<void> {
    return this.#call('complete_migrate_in_drv', ['incoming'], async () => {
      if (isCancelled(flags)) return this.#go('ended');
      await this.#lock();
      this.#go('running');
    });
  }

  /** Gives everything back, also while `startup_drv` still waits. Twice is no error. */
  shutdown(): Promise<void> {
    this.#stop.abort(new HoldfastError('ABORTED', 'the guest was shut down; nothing is held'));
    return this.#call('shutdown_drv', ['new', 'running', 'incoming', 'leaving', 'ended'], async () => {
      this.#go('ended');
      await this.#hold?.release();
    });
  }

  #owner(): { uuid: string; name: string; id?: number } {
    const [id, uuid, name] = parameters.map((key) => this.#parameters.get(key));
    if (uuid === undefined || name === undefined) {
      const missing = uuid === undefined ? 'uuid' : 'name';
      throw new HoldfastError('USAGE', `the parameter \`${missing}\` was not set`, {
        remedy: `Call set_parameter_drv with \`${missing}\` first.`,
      });
    }
    const digits = uuid.replaceAll('-', '').toLowerCase();
    const written = digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
    // libvirt gives a guest that does not run yet the id -1.
    return { uuid: written, name, ...(Number(id) >= 0 ? { id: Number(id) } : {}) };
  }

  async #lock(): Promise<void> {
    const guest = { owner: this.#owner(), disks: [...this.#disks.values()] };
    this.#hold = await this.#manager.lock(guest, { signal: this.#stop.signal });
  }

  /**
   * An attached guest has no hold in this process: what is plugged in becomes one, under the guest's name alone.
   * Its uuid is locked by the process of the guest, and cannot be locked twice.
   */
  async #plug(disk: DiskInput): Promise<void> {
    const { name, ...owner } = this.#owner();
    const guest = this.#arrival === 'attach' ? { name } : { owner: { name, ...owner } };
    const options = { signal: this.#stop.signal };
    if (this.#hold === undefined) this.#hold = await this.#manager.lock({ ...guest, disks: [disk] }, options);
    else await this.#hold.extend({ ...guest, disks: [disk] }, options);
  }

  async #unplug(name: string): Promise<void> {
    const own = this.#hold?.requests.some(({ resource }) => resource.label === name) ?? false;
    if (!own && this.#arrival === 'attach') throw livesElsewhere('release_resource');
    await this.#hold?.shrink([name]);
  }

  #call(name: string, states: readonly State[], run: () => void | Promise<void>): Promise<void> {
    const done = this.#last.then(() => {
      if (states.includes(this.#state)) return run();
      throw new HoldfastError(
        this.#state === 'ended' ? 'ENDED' : 'USAGE',
        `${name}: the guest is ${this.#state}, and has to be ${states.join(' or ')}`,
        { remedy: 'The order of the calls is in docs/from-the-rfc.md.' },
      );
    });
    this.#last = done.catch(() => undefined);
    return done;
  }

  #go(state: State): void {
    this.#state = state;
  }
}

function livesElsewhere(call: string): HoldfastError {
  return new HoldfastError('UNSUPPORTED', `${call}: the lock lives in the process of the guest`, {
    remedy: 'It ends with the guest; whoever comes next can take it then.',
  });
}

/** What a guest asks for twice it gets in the stricter of the two modes; a reader that also writes is alone with it. */
function stricter(asked: DiskInput, before: DiskInput | undefined): DiskInput {
  if (before === undefined || before.mode === asked.mode) return asked;
  return { ...asked, mode: 'exclusive' };
}

function diskOf(type: number, name: string, flags: number): DiskInput {
  if (type !== VIR_LOCK_MANAGER_RESOURCE_TYPE_DISK) {
    throw new HoldfastError('USAGE', `acquire_resource: ${type} is no type of resource`, {
      remedy: 'The proposal has one type: VIR_LOCK_MANAGER_RESOURCE_TYPE_DISK.',
    });
  }
  const known = VIR_LOCK_MANAGER_RESOURCE_READONLY | VIR_LOCK_MANAGER_RESOURCE_SHARED;
  if ((flags & ~known) !== 0) {
    throw new HoldfastError('USAGE', `acquire_resource: unknown flags (${flags})`, {
      remedy: 'The flags are VIR_LOCK_MANAGER_RESOURCE_READONLY and VIR_LOCK_MANAGER_RESOURCE_SHARED.',
    });
  }
  const readOnly = (flags & VIR_LOCK_MANAGER_RESOURCE_READONLY) !== 0;
  const shared = (flags & VIR_LOCK_MANAGER_RESOURCE_SHARED) !== 0;
  return { path: name, mode: readOnly ? 'read' : shared ? 'shared' : 'exclusive' };
}

function isCancelled(flags: number): boolean {
  return (flags & VIR_LOCK_MANAGER_MIGRATE_CANCEL) !== 0;
}
