/** A hold: a plan that was granted, until it ends. */
import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { HoldfastError } from '../errors.js';
import type { DriverAbout, Guarantee } from '../driver/contract.js';
import type { LockRequest, Loss, Owner, Plan } from '../vocabulary.js';
import { withoutName } from '../plan/make-plan.js';
import { aborted, joinSignals } from './abort.js';
import { earliestGuarantee } from './earliest-guarantee.js';
import type { GuestInput } from './guest-input.js';
import type { Ending, HoldContents, HoldKeeper } from './hold-contents.js';
import type { LockOptions, OwnerProcess } from './lock-options.js';
import { savedHold, type SavedHold } from './saved-hold.js';

/**
 * held -> released        release(): done; the locks are given back
 *      -> abandoned       abandon(): state unknown; nothing is given back on purpose
 *      -> handed over     handOver(): the started commands have it now
 *      <-> suspended      suspend(), resume(): the guest is paused, and nothing is held; it ends as a held one does
 * A loss does not end a hold: what is left of it still has to be given back.
 */
type State = 'held' | 'suspended' | Ending;

export type { HoldContents, HoldKeeper } from './hold-contents.js';

export class Hold {
  #state: State = 'held';
  #contents: HoldContents;
  #ending: Promise<void> | undefined;
  #afterEnd: (() => Promise<void>) | undefined;
  readonly #keeper: HoldKeeper;
  /** Made when somebody asks for `signal`: most holds are short, and nobody does. */
  #lost: AbortController | undefined;
  #loss: HoldfastError | undefined;
  /** Running commands, with the number of extensions that there had been when each was started. */
  readonly #children = new Map<ChildProcess, number>();
  #extensions = 0;
  /** Whether somebody else may have got the descriptors. */
  #shared = false;
  /** Changes come one after another: an extension that is granted while the hold ends is given back with it. */
  #changing: Promise<unknown> = Promise.resolve();
  #extending: AbortController | undefined;
  readonly #watched = new WeakSet<Promise<Loss>>();
  /** Those that have settled. */
  readonly #lostOnes = new WeakSet<Promise<Loss>>();

  /** Made by `manager.lock`. */
  constructor(contents: HoldContents, keeper: HoldKeeper) {
    this.#contents = contents;
    this.#keeper = keeper;
    this.#watchLosses();
  }

  /** 12 hexadecimal digits: the name of its record. */
  get id(): string {
    return this.#contents.id;
  }

  get owner(): Owner {
    return this.#contents.owner;
  }

  /** ISO 8601, UTC. */
  get since(): string {
    return this.#contents.since;
  }

  /** The plan that was granted. */
  get plan(): Plan {
    return this.#contents.plan;
  }

  /** What is locked, in which mode. */
  get requests(): readonly LockRequest[] {
    return this.#contents.plan.requests;
  }

  /** What the user should know (`libvirt's settings could not be seen`). */
  get notes(): readonly string[] {
    return this.#contents.notes;
  }

  /** Aborted with a `LOST` error as its reason at the moment after which the hold cannot be guaranteed. */
  get signal(): AbortSignal {
    this.#lost ??= new AbortController();
    if (this.#loss !== undefined) this.#lost.abort(this.#loss);
    return this.#lost.signal;
  }

  /** Fencing tokens by identity, of those drivers that have them. */
  get tokens(): Readonly<Record<string, string>> {
    return Object.assign({}, ...this.#contents.held.map(({ grant }) => grant.tokens)) as Record<
      string,
      string
    >;
  }

  /** Until when it is certain, if a grant of it ends by itself unless it is renewed: as of the one that ends first. */
  get guarantee(): Guarantee | undefined {
    return earliestGuarantee(() =>
      this.#contents.held.flatMap(({ grant }) => (grant.guarantee === undefined ? [] : [grant.guarantee])),
    );
  }

  /** The same one by one, of those that lock something: as the drivers gave them, so that who looks after many holds can tell which stand together. */
  get guarantees(): readonly Guarantee[] {
    return this.#contents.held.flatMap(({ grant: { requests, guarantee } }) =>
      requests.length === 0 || guarantee === undefined ? [] : [guarantee],
    );
  }

  /** What a command finds in its environment: the hold, and the fencing tokens by identity, as JSON. */
  get environment(): Readonly<Record<string, string>> {
    const { id, tokens } = this;
    return {
      HOLDFAST_HOLD: id,
      ...(Object.keys(tokens).length === 0 ? {} : { HOLDFAST_TOKENS: JSON.stringify(tokens) }),
    };
  }

  /** What a command inherits to keep the locks; `spawn` passes them on. */
  get descriptors(): readonly number[] {
    this.#shared = true;
    return [
      ...this.#contents.held.flatMap(({ grant }) => grant.descriptors),
      this.#contents.recordDescriptor,
    ];
  }

  /** Those that locked something of it. */
  get drivers(): readonly DriverAbout[] {
    return this.#contents.held.filter(({ grant }) => grant.requests.length > 0).map(({ about }) => about);
  }

  /** Whether some driver needs this process to stay beside the command. */
  get needsSupervision(): boolean {
    return this.#contents.held.some(({ about }) => about.supervise);
  }

  get state(): State {
    return this.#state;
  }

  /**
   * Starts a command that inherits the locks: they last until both the hold has ended and the command (with
   * all that inherited from it) is gone. `options.stdio` may say what 0, 1 and 2 are, as for
   * `child_process.spawn`; the locks follow from 3 on. Throws `ENDED` or `LOST`.
   */
  spawn(command: string, args: readonly string[] = [], options: SpawnOptions = {}): ChildProcess {
    this.#requireHeld('start a command');
    this.signal.throwIfAborted();
    const stdio = Array.isArray(options.stdio)
      ? options.stdio
      : Array.from({ length: 3 }, () => options.stdio ?? 'pipe');
    const child = spawn(command, args, {
      ...options,
      env: { ...(options.env ?? process.env), ...this.environment },
      stdio: [...stdio, ...this.descriptors] as SpawnOptions['stdio'] & unknown[],
    });
    this.#children.set(child, this.#extensions);
    const forget = (): void => void this.#children.delete(child);
    child.once('exit', forget);
    child.once('error', forget);
    return child;
  }

  /**
   * Adds disks or leases to a running guest: all of them or none. Commands that run already do not inherit
   * them: they last as long as this hold. Throws what `lock` throws.
   */
  extend(input: GuestInput, options: LockOptions = {}): Promise<void> {
    return this.#change('extend', async () => {
      this.signal.throwIfAborted();
      this.#extending = new AbortController();
      const { signal, leave } = joinSignals(options.signal, this.#extending.signal);
      try {
        this.#contents = await this.#keeper.extend(this.#contents, input, { ...options, signal });
        if (signal.aborted) throw aborted(signal); // It ended meanwhile, and what was added ends with it.
      } finally {
        leave();
        this.#extending = undefined;
      }
      this.#extensions++;
      this.#watchLosses();
    });
  }

  /**
   * Gives back some disks and leases, and what is held only for them: by path as it was written, target (`vdb`) or
   * identity. What another disk of the hold needs as well stays. Throws `USAGE` for one that it does not have.
   */
  shrink(names: readonly string[]): Promise<void> {
    return this.#change('shrink', async () => {
      let { plan } = this;
      for (const name of names) plan = withoutName(plan, name) ?? this.#hasNot(name);
      const { contents, failure } = await this.#keeper.shrink(this.#contents, plan);
      this.#contents = contents;
      if (failure !== undefined) throw failure;
    });
  }

  /**
   * The guest is paused: gives the locks back until `resume`, also those that commands have inherited, and from then on
   * they are this process's alone. Throws `UNSUPPORTED` if a driver cannot do that.
   */
  suspend(): Promise<void> {
    return this.#change('suspend', async () => {
      await this.#keeper.suspend(this.#contents);
      if (this.#state === 'held') this.#state = 'suspended';
    });
  }

  /**
   * Takes them again, all or none. Throws `LOST` if somebody else had, or changed, one of them meanwhile, and `IN_USE`
   * while somebody has one; then it stays suspended.
   */
  resume(signal: AbortSignal = new AbortController().signal): Promise<void> {
    return this.#change(
      'resume',
      async () => {
        await this.#keeper.resume(this.#contents, signal);
        if (this.#state === 'suspended') this.#state = 'held';
        // What the commands that run have inherited is locked no longer.
        this.#extensions++;
        this.#watchLosses();
      },
      'suspended',
    );
  }

  /**
   * After a loss, and with nothing running that relied on it: takes again what was lost, if nobody had it since. Then
   * `signal` is another one, and not aborted. Throws `LOST` if somebody had it, `UNSUPPORTED` if a driver cannot tell, and
   * what drivers throw; then it stays lost.
   */
  retake(signal: AbortSignal = new AbortController().signal): Promise<void> {
    return this.#change('take again what was lost', async () => {
      const lost = this.#contents.held.filter(
        ({ grant }) => grant.lost !== undefined && this.#lostOnes.has(grant.lost),
      );
      await this.#keeper.retake(this.#contents, lost, signal);
      this.#loss = undefined;
      this.#lost = undefined;
      this.#watchLosses();
    });
  }

  /** It is another process's from now on, as far as the record and those who are refused are told; the locks stay as they are. */
  passTo({ pid, startTime }: OwnerProcess): Promise<void> {
    return this.#change('pass on', async () => {
      const contents = { ...this.#contents, owner: { ...this.owner, pid, startTime } };
      this.#contents = await this.#keeper.rewrite(contents);
    });
  }

  /** What `manager.adopt` needs besides `descriptors` to take it up after a restart of this process. Plain data. */
  save(): SavedHold {
    return savedHold(this.#contents);
  }

  #change(wish: string, work: () => Promise<void>, from: 'held' | 'suspended' = 'held'): Promise<void> {
    const changed = this.#changing.then(() => {
      this.#requireHeld(wish, from);
      return work();
    });
    this.#changing = changed.catch(() => undefined);
    return changed;
  }

  #hasNot(name: string): never {
    const own = this.plan.items.filter(
      ({ of, role, verdict }) => of === undefined && role !== 'domain' && verdict === 'lock',
    );
    throw new HoldfastError('USAGE', `hold ${this.id} has no disk or lease '${name}'`, {
      remedy: `It has ${[...new Set(own.map(({ label }) => label))].join(', ') || 'none'}.`,
    });
  }

  /** Done: gives the locks back. A command that inherited them keeps them until it ends. Twice is no error. */
  release(): Promise<void> {
    return this.#end('released');
  }

  /**
   * The state of the guest is unknown: nothing is given back on purpose, nothing is renewed; what happens to
   * the locks is what the driver says of a holder that vanished. `signal` is aborted.
   */
  abandon(): Promise<void> {
    this.#lose({
      reason: 'the hold was abandoned',
      resources: this.requests.map(({ resource }) => resource.label),
    });
    return this.#end('abandoned');
  }

  /**
   * It is someone else's now: the commands that `spawn` started keep the locks, and this process lets go of
   * them without a gap. Throws `USAGE` if none of them runs, `UNSUPPORTED` if a driver's locks are not in descriptors.
   */
  handOver(): Promise<void> {
    // In turn with the changes: what is added while it is looked whether a command has everything would be lost.
    return this.#change('hand over', async () => {
      this.#requireReceiver();
      await this.#end('handed over', () => this.#endNow('handed over'));
    });
  }

  #requireReceiver(): void {
    if (![...this.#children.values()].includes(this.#extensions)) {
      const message = `hold ${this.id} cannot be handed over: no running command has all of its locks`;
      throw new HoldfastError('USAGE', message, {
        remedy: 'Start one with spawn, or give the locks back with release.',
      });
    }
    const without = this.#contents.held.find(
      ({ grant }) => grant.requests.length > 0 && grant.descriptors.length === 0,
    );
    if (without !== undefined) {
      const message = `the locks of driver ${without.about.name} cannot be handed over to a command`;
      throw new HoldfastError('UNSUPPORTED', message);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isOpen) await this.release();
  }

  /** The one door through which the state changes. */
  #end(how: Ending, work = () => this.#endAfterChanges(how)): Promise<void> {
    if (this.#isOpen) {
      this.#state = how;
      this.#extending?.abort(`the hold was ${how}`);
      this.#ending = work();
    }
    return this.#ending ?? Promise.resolve();
  }

  get #isOpen(): boolean {
    return this.#state === 'held' || this.#state === 'suspended';
  }

  async #endAfterChanges(how: Ending): Promise<void> {
    await this.#changing;
    await this.#endNow(how);
  }

  async #endNow(how: Ending): Promise<void> {
    try {
      await this.#keeper.end(this.#contents, how, this.#shared);
    } finally {
      await this.#afterEnd?.();
    }
  }

  /** Called once, after the hold has ended in whatever way: what exists for this hold alone ends with it. */
  whenEnded(after: () => Promise<void>): void {
    this.#afterEnd = after;
  }

  #requireHeld(wish: string, state: 'held' | 'suspended' = 'held'): void {
    if (this.#state === state) return;
    if (!this.#isOpen)
      throw new HoldfastError('ENDED', `cannot ${wish}: hold ${this.id} was ${this.#state} already`);
    throw new HoldfastError('USAGE', `cannot ${wish}: hold ${this.id} is ${this.#state}`, {
      remedy: `It has to be ${state}.`,
    });
  }

  #watchLosses(): void {
    for (const { grant } of this.#contents.held) {
      if (grant.lost === undefined || this.#watched.has(grant.lost)) continue;
      this.#watched.add(grant.lost);
      void grant.lost.then((loss) => this.#noticeLoss(grant.lost, loss));
    }
  }

  #noticeLoss(lost: Promise<Loss> | undefined, loss: Loss): void {
    if (lost !== undefined) this.#lostOnes.add(lost);
    // A grant in whose place there is another one has ended for the hold.
    const counts = this.#contents.held.some(({ grant }) => grant.lost === lost);
    if (counts && this.#state === 'held') this.#lose(loss);
  }

  #lose({ reason, resources, cause }: Loss): void {
    this.#loss ??= new HoldfastError('LOST', `${resources.join(', ')}: ${reason}`, {
      ...(resources[0] === undefined ? {} : { resource: resources[0] }),
      ...(cause === undefined ? {} : { cause }),
    });
    this.#lost?.abort(this.#loss);
  }
}
