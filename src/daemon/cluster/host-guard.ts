/**
 * The dead man's switch of this host (guard/process-guard.ts), as the daemon uses it: one for each lease, with all guests whose
 * locks stand under it. It outlives the daemon; the next one takes up the locks, starts another, and sends this one away.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import type { Guarantee } from '../../driver/contract.js';
import { causeText, HoldfastError } from '../../errors.js';
import { GuardProcess } from '../../guard/guard-process.js';
import type { GuardedProcess, GuardReport, NamedProcess } from '../../guard/guard-words.js';
import { signalProcess } from '../../system/pidfd.js';
import { processStartTime } from '../../system/process.js';
import { ownProcesses } from './own-processes.js';

export interface HostGuardOptions {
  /** Where it stands which guards there are. */
  readonly file: string;
  /** A watchdog device that is fed while all is well. */
  readonly watchdog?: string;
  /** The words that start a guard where the end of this service does not reach it (`scopeWords`). Missing: it needs none. */
  readonly scope?: () => readonly string[] | undefined;
  readonly tell: (what: GuardEvent, facts: object) => void;
}

export type GuardEvent =
  | 'guard ended'
  | 'guard ends with the service'
  | 'guard acted'
  | 'guard not started'
  | 'guards not written'
  | 'watchdog not fed';

interface Watch {
  readonly guarantee: Guarantee;
  /** By what they are on the list for: one process can be there for several things. */
  readonly processes: Map<string, GuardedProcess>;
  guard: StartedGuard;
  /** How often the list or the guard was changed; as of which of them the guard has said that it has the list. */
  changes: number;
  confirmed: number;
  readonly stop: () => void;
}

/** A guard says so when it has started, and after each list. */
interface StartedGuard {
  readonly process: GuardProcess;
  readonly inScope: boolean;
  lists: number;
  said: number;
}

/** What was taken off a list, until the guard has said so or ended: it may stop it until then. */
interface Leave {
  readonly name: string;
  readonly watch: Watch;
  readonly guard: StartedGuard;
}

/** A process that is to be on the list of a guarantee. */
export interface GuardWish {
  readonly process: GuardedProcess;
  readonly guarantee: Guarantee;
  /** What it is on the list for, which stands under one guarantee at a time. Missing: all that it has. */
  readonly for?: string;
}

/** A guard starts in a tenth of that; a guest is not told that it has its lock before it is guarded. */
const confirmMsMax = 5_000;
const againMs = 1_000;

export class HostGuard {
  readonly #options: HostGuardOptions;
  readonly #watches = new Map<Guarantee, Watch>();
  readonly #leaves = new Set<Leave>();
  readonly #before: readonly NamedProcess[];
  #hasScopes = true;
  #left = false;
  #isWritten = true;
  #writeAgain: NodeJS.Timeout | undefined;

  constructor(options: HostGuardOptions) {
    this.#options = options;
    this.#before = readGuards(options.file);
  }

  /** Returns when the guards have all of them on their lists. Throws `DRIVER_FAILED` where there is none that says so. */
  async add(wishes: readonly GuardWish[]): Promise<void> {
    const changed = new Set<Watch>();
    const left: Promise<boolean>[] = [];
    for (const { process, guarantee, for: name = keyOf(process) } of wishes) {
      left.push(...this.#leaveOthers(name, guarantee));
      const watch = this.#watches.get(guarantee) ?? this.#open(guarantee);
      const before = watch.processes.get(name);
      if (before === undefined || !isSame(before, process)) {
        watch.processes.set(name, process);
        watch.changes++;
      }
      // Also what an earlier call has changed, and nobody has confirmed.
      if (watch.confirmed !== watch.changes) changed.add(watch);
    }
    // One that still had it on its list would stop what goes on under the new one.
    const confirmed = await Promise.all([...[...changed].map((watch) => this.#send(watch)), ...left]);
    if (confirmed.every(Boolean)) return;
    throw new HoldfastError(
      'DRIVER_FAILED',
      'the guard that stops guests whose lock is lost does not start',
      {
        remedy: "See the daemon's log; without it a guest could outlive its lock.",
      },
    );
  }

  /** @param what `for` of the wish, or the process. */
  remove(what: NamedProcess | string): void {
    const left = this.#leaveOthers(typeof what === 'string' ? what : keyOf(what), undefined);
    void Promise.all(left).catch((error: unknown) => this.#tellNotStarted(error));
  }

  /** Gives, for each guard that had it, whether that one has it no longer. */
  #leaveOthers(name: string, guarantee: Guarantee | undefined): readonly Promise<boolean>[] {
    const current = guarantee === undefined ? undefined : this.#watches.get(guarantee);
    for (const watch of this.#watches.values()) {
      if (watch === current || !watch.processes.delete(name)) continue;
      watch.changes++;
      const leave = { name, watch, guard: watch.guard };
      this.#leaves.add(leave);
      void leave.guard.process.ended.then(() => this.#leaves.delete(leave));
    }
    return [...this.#leaves].flatMap((leave) => {
      if (leave.name !== name) return [];
      if (leave.watch === current) {
        this.#leaves.delete(leave);
        return [];
      }
      return [this.#confirm(leave)];
    });
  }

  async #confirm(leave: Leave): Promise<boolean> {
    const { watch, guard } = leave;
    const { process } = guard;
    const sent = this.#send(watch);
    this.#tidy(watch);
    if (!(await sent) && !process.hasEnded) return false;
    this.#leaves.delete(leave);
    return true;
  }

  /** The guards of a daemon before: everything that they guard is guarded by this one, or gone. */
  dismissBefore(): void {
    for (const { pid, startTime } of this.#before) signalProcess(pid, startTime, constants.signals.SIGTERM);
    this.#write();
  }

  /** Ends those that have nobody to guard; the others go on without this process. */
  leave(): void {
    this.#left = true;
    for (const { guard, processes, stop } of this.#watches.values()) {
      stop();
      if (processes.size === 0) guard.process.order({ do: 'end' });
      guard.process.unref();
    }
  }

  #open(guarantee: Guarantee): Watch {
    const watch: Watch = {
      guarantee,
      processes: new Map(),
      guard: this.#start(guarantee),
      changes: 0,
      confirmed: -1,
      stop: guarantee.onRenewal((times) => (watch.guard.process.times = times)),
    };
    this.#watches.set(guarantee, watch);
    void this.#watchOver(watch);
    return watch;
  }

  #start(guarantee: Guarantee): StartedGuard {
    const { watchdog, tell } = this.#options;
    const guarded = { processes: true as const, ...(watchdog === undefined ? {} : { watchdog }) };
    const scope = this.#hasScopes ? this.#options.scope?.() : undefined;
    const guard = {
      process: new GuardProcess(guarded, guarantee.times, scope),
      inScope: scope !== undefined,
      lists: 0,
      said: 0,
    };
    guard.process.onReport((report) => {
      if (report.is === 'guarding') guard.said++;
      if (report.is === 'not fed') tell('watchdog not fed', { why: report.message });
      if (report.is === 'killed' || report.is === 'stopped') tell('guard acted', { ...report });
    });
    return guard;
  }

  /** One that is killed is replaced at once: the page of the next has the times of now. */
  async #watchOver(watch: Watch): Promise<void> {
    for (;;) {
      const { guard } = watch;
      await guard.process.ended;
      if (this.#watches.get(watch.guarantee) !== watch || this.#left) return;
      if (watch.guard !== guard) continue;
      try {
        this.#replace(watch, guard);
        await this.#send(watch);
      } catch (error) {
        this.#tellNotStarted(error);
        await pause(againMs, undefined, { ref: false });
      }
    }
  }

  #tellNotStarted(error: unknown): void {
    this.#options.tell('guard not started', { why: causeText(error) });
  }

  #replace(watch: Watch, { process: { pid }, inScope, said }: StartedGuard): void {
    const { tell } = this.#options;
    // It has never begun: there is no systemd-run, or systemd does not let it.
    if (inScope && said === 0) {
      this.#hasScopes = false;
      tell('guard ends with the service', { why: 'systemd gives it no scope of its own' });
    } else tell('guard ended', { pid, guests: watch.processes.size });
    watch.guard = this.#start(watch.guarantee);
    watch.changes++;
  }

  async #send(watch: Watch): Promise<boolean> {
    const { guard } = watch;
    if (await this.#sendTo(watch, guard)) return true;
    // One that was sent away is missed by nobody.
    if (!guard.process.hasEnded || this.#left || this.#watches.get(watch.guarantee) !== watch) return false;
    if (watch.guard === guard) this.#replace(watch, guard);
    return this.#sendTo(watch, watch.guard);
  }

  async #sendTo(watch: Watch, guard: StartedGuard): Promise<boolean> {
    const { processes, changes } = watch;
    const list = ++guard.lists;
    const each = new Map([...processes.values()].map((one) => [`${keyOf(one)} ${one.witness ?? ''}`, one]));
    guard.process.order({ do: 'processes', processes: [...each.values()], spared: ownProcesses() });
    const isTold = (report: GuardReport): report is GuardReport =>
      report.is === 'guarding' && guard.said > list;
    const said = await guard.process.hear(isTold, confirmMsMax);
    if (said === undefined) return false;
    if (watch.guard === guard) watch.confirmed = Math.max(watch.confirmed, changes);
    this.#write();
    return true;
  }

  /** One whose lease is gone has done its work when its last guest has ended. */
  #tidy(watch: Watch): void {
    const current = [...this.#watches.values()].at(-1);
    const isOpen = this.#watches.get(watch.guarantee) === watch;
    if (!isOpen || watch === current || watch.processes.size > 0) return;
    this.#watches.delete(watch.guarantee);
    watch.stop();
    watch.guard.process.order({ do: 'end' });
  }

  /** Which guards there are concerns the next daemon alone: who is guarded by them is guarded all the same. Never throws. */
  #write(): void {
    clearTimeout(this.#writeAgain);
    try {
      this.#writeNow();
      this.#isWritten = true;
    } catch (error) {
      if (this.#isWritten) this.#options.tell('guards not written', { why: causeText(error) });
      this.#isWritten = false;
      this.#writeAgain = setTimeout(() => this.#write(), againMs).unref();
    }
  }

  #writeNow(): void {
    const guards = [...this.#watches.values()].flatMap(({ guard }): NamedProcess[] => {
      const { pid } = guard.process;
      const startTime = pid === undefined ? undefined : processStartTime(pid);
      return pid === undefined || startTime === undefined ? [] : [{ pid, startTime }];
    });
    const { file } = this.#options;
    writeFileSync(`${file}.new`, JSON.stringify(guards), { mode: 0o600 });
    renameSync(`${file}.new`, file);
  }
}

function keyOf({ pid, startTime }: NamedProcess): string {
  return `${pid} ${startTime}`;
}

function isSame(one: GuardedProcess, other: GuardedProcess): boolean {
  return keyOf(one) === keyOf(other) && one.action === other.action && one.witness === other.witness;
}

function readGuards(file: string): readonly NamedProcess[] {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as readonly NamedProcess[];
  } catch {
    return [];
  }
}
