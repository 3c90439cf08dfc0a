/**
 * A command that a guard has started, for a hold that ends by itself unless it is renewed.
 *
 * States:
 *   guarded -> own     the guard has ended before its time, or did not answer and was ended from here: all that it guarded
 *                      falls to this process, which does everything itself from then on, with another guard that has a list
 *   guarded -> empty   the guard has ended because nobody is left
 *   own     -> empty   the last child has ended
 * Whatever is asked of a guard has to be answered in a moment. So one that hangs or was stopped holds nothing up, and what
 * it does not do is done from here.
 */
import { constants } from 'node:os';
import { HoldfastError } from '../errors.js';
import type { Guarantee, GuaranteeTimes } from '../driver/contract.js';
import type { GuardProcess } from '../guard/guard-process.js';
import type { GuardedAction, GuardReport, NamedProcess } from '../guard/guard-words.js';
import { belowSpared } from '../guard/below-spared.js';
import {
  hasOthers,
  isStopped,
  pauseDescendants,
  resumePaused,
  stopDescendants,
  type Paused,
} from '../guard/stop-descendants.js';
import { boottimeMs } from '../system/boot-clock.js';
import { descendantsOf, hasChildren, reapOrphans } from '../system/descendants.js';
import { signalProcess } from '../system/pidfd.js';
import { allThreadsEnded, readProcessStat } from '../system/process.js';
import type { CommandTree } from './command-tree.js';
import type { Hold } from './hold.js';
import { startFailure } from './own-tree.js';
import { StandInGuard } from './stand-in-guard.js';
import type { SupervisedCommand } from './supervised-command.js';

/** A guard that lives takes some milliseconds; real-time priority helps it on a busy host. */
const answerMsMax = 500;
/** For a guard that has killed all, to see the last of them go. */
const endMsMax = 1_000;
/** How often it is looked whether a guard has missed an end. */
const lookMs = 500;
/** The status of a command that somebody has killed together with its guard. */
const killedStatus = 128 + constants.signals.SIGKILL;

/**
 * Starts the command through the guard. Throws what is wrong with the command, the reason of `hold.signal` if the hold is
 * lost before, and `INTERNAL` if the guard ends; then nothing runs.
 */
export async function startGuarded(
  hold: Hold,
  guarantee: Guarantee,
  guard: GuardProcess,
  command: SupervisedCommand,
  action: GuardedAction,
): Promise<CommandTree> {
  if (hold.signal.aborted) {
    await endAll(guard);
    throw hold.signal.reason;
  }
  guard.times = guarantee.times;
  const statuses: number[] = [];
  // From the beginning: a short command has ended by the time that it is known to have started.
  guard.onReport((said) => said.is === 'ended' && statuses.push(said.status));
  const started = guard.hear(isStart);
  const lost = new Promise<'lost'>((resolve) => {
    hold.signal.addEventListener('abort', () => resolve('lost'), { once: true });
  });
  const { file, argv, descriptors, openFilesSoft } = command;
  const locks = hold.descriptors;
  const first = Math.max(...descriptors) + 1;
  const lockNumbers = locks.map((_, index) => first + index);
  let said: GuardReport | 'lost' | undefined;
  try {
    guard.send([...descriptors, ...locks]);
    guard.order({
      do: 'start',
      file,
      argv,
      env: { ...definedOf(process.env), ...hold.environment },
      descriptors: [...descriptors, ...lockNumbers],
      locks: lockNumbers,
      action,
      ...(openFilesSoft === undefined ? {} : { openFilesSoft }),
    });
    said = await Promise.race([started, lost]);
  } finally {
    // Where it has ended without a word, the command may have been started all the same.
    if (said === undefined || said === 'lost' || said.is !== 'started') await endAll(guard);
  }
  if (said === 'lost') throw hold.signal.reason;
  if (said?.is === 'started') return new GuardedTree({ guard, guarantee, action }, said, statuses[0]);
  if (said?.is === 'not started') throw startFailure(Object.assign(new Error(said.message), said));
  throw new HoldfastError('INTERNAL', 'the guard ended before it had started the command');
}

type Start = Extract<GuardReport, { is: 'started' | 'not started' }>;
const isStart = (said: GuardReport): said is Start => said.is === 'started' || said.is === 'not started';

function definedOf(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter((one): one is [string, string] => one[1] !== undefined),
  );
}

async function endAll(guard: GuardProcess): Promise<void> {
  guard.kill();
  await guard.ended;
  if (hasChildren())
    await stopDescendants(
      () => reapOrphans(undefined),
      () => true,
    );
}

class GuardedTree implements CommandTree {
  readonly pid: number;
  readonly ended: Promise<number>;
  readonly emptied: Promise<void>;
  readonly #startTime: number;
  readonly #guard: GuardProcess;
  readonly #guarantee: Guarantee;
  readonly #action: GuardedAction;
  #standIn: StandInGuard | undefined;
  #stopping = false;
  #forgetRenewals: () => void = () => undefined;
  readonly #looking: NodeJS.Timeout;
  #status: number | undefined;
  #end: (status: number) => void = () => undefined;
  #state: 'guarded' | 'own' | 'empty' = 'guarded';
  /** Looks in a row at which the guard had missed an end. */
  #missed = 0;
  #paused: Paused = [];

  constructor(
    { guard, guarantee, action }: { guard: GuardProcess; guarantee: Guarantee; action: GuardedAction },
    { pid, startTime }: Extract<Start, { is: 'started' }>,
    status: number | undefined,
  ) {
    this.pid = pid;
    this.#startTime = startTime;
    this.#guard = guard;
    this.#guarantee = guarantee;
    this.#action = action;
    this.ended = new Promise((resolve) => (this.#end = resolve));
    if (status !== undefined) this.#ended(status);
    guard.onReport((said) => said.is === 'ended' && this.#ended(said.status));
    this.#passOnRenewals();
    process.on('SIGCHLD', this.#reap);
    this.#looking = setInterval(this.#look, lookMs);
    this.emptied = guard.ended.then(() => this.#guardEnded());
  }

  #passOnRenewals(): void {
    this.#forgetRenewals();
    const passOn = (times: GuaranteeTimes): void => {
      this.#guard.times = times;
      if (this.#standIn !== undefined) this.#standIn.times = times;
    };
    this.#forgetRenewals = this.#guarantee.onRenewal(passOn);
    passOn(this.#guarantee.times);
  }

  readonly #spared = (): readonly NamedProcess[] => this.#standIn?.processes ?? [];

  readonly #reap = (): void => {
    if (this.#state !== 'own') return;
    // The end of the other guard is Node's to hear.
    const [own] = this.#spared();
    reapOrphans(own?.pid, (pid, status) => pid === this.pid && this.#ended(status));
  };

  #ended(status: number): void {
    this.#status ??= status;
    this.#end(this.#status);
  }

  #guardEnded(): void {
    this.#state = 'own';
    if (this.isEmpty()) this.#ended(killedStatus);
    else if (!this.#stopping) this.#standIn = new StandInGuard(this.#guarantee, this.#action);
  }

  /** A guard that was stopped sees nobody end. */
  readonly #look = (): void => {
    if (this.#state !== 'guarded') return;
    const stat = readProcessStat(this.pid);
    const lives = stat?.startTime === this.#startTime && !allThreadsEnded(stat);
    const missed = this.#status === undefined ? !lives : this.#nobodyRuns();
    this.#missed = missed ? this.#missed + 1 : 0;
    if (this.#missed > 1 && this.#guardIsStopped()) this.#guard.kill();
  };

  /**
   * One that runs has the kernel's word for who is left: a command may be over, and what it has started too short-lived to be
   * met by any look from here.
   */
  #guardIsStopped(): boolean {
    return ['T', 't'].includes(readProcessStat(this.#guard.pid ?? 0)?.state ?? '');
  }

  #nobodyRuns(): boolean {
    return descendantsOf(this.#guard.pid ?? 0).every(allThreadsEnded);
  }

  signal(signal: NodeJS.Signals): void {
    signalProcess(this.pid, this.#startTime, constants.signals[signal]);
  }

  isEmpty(): boolean {
    this.#reap();
    if (this.#state === 'own' && !hasOthers(this.#spared)) {
      this.#state = 'empty';
      void this.#standIn?.end();
    }
    return this.#state === 'empty';
  }

  async stop(graceMs: number): Promise<void> {
    const killAtMs = boottimeMs() + graceMs;
    this.#stopping = true;
    if (await this.#ask('stop', graceMs)) {
      const leftMs = Math.min(killAtMs, this.#guarantee.times.killAtMs) - boottimeMs();
      await this.#guardEnds(Math.max(0, leftMs) + this.#endMsMax());
    }
    await this.#takeOver();
    if (this.isEmpty()) return this.#standIn?.end();
    const isTimeToKill = (): boolean => boottimeMs() >= Math.min(killAtMs, this.#guarantee.times.killAtMs);
    await stopDescendants(this.#reap, isTimeToKill, this.#spared);
    this.isEmpty();
    await this.#standIn?.end();
  }

  async pause(): Promise<void> {
    if (await this.#ask('pause')) return;
    await this.#takeOver();
    this.#paused = [...this.#paused, ...(await pauseDescendants(this.#reap, this.#spared))];
  }

  async resume(): Promise<void> {
    // The grant is another one.
    this.#passOnRenewals();
    if (await this.#ask('resume')) return;
    await this.#takeOver();
    await this.#standIn?.settled();
    // Whom the guard had stopped, it alone knew.
    resumePaused([
      ...this.#paused,
      ...belowSpared(process.pid, this.#spared()).filter((one) => isStopped(one, true)),
    ]);
    this.#paused = [];
  }

  /** Whether the guard does what it is told to. */
  async #ask(wish: 'stop' | 'pause' | 'resume', graceMs = 0): Promise<boolean> {
    if (this.#state !== 'guarded') return false;
    const answers = { stop: 'stopping', pause: 'paused', resume: 'resumed' } as const;
    const answer = this.#guard.hear((said): said is GuardReport => said.is === answers[wish], answerMsMax);
    this.#guard.order(wish === 'stop' ? { do: wish, graceMs } : { do: wish });
    return (await answer) !== undefined;
  }

  /** Of what is left between the kill and the end, so that there is time to do it from here. */
  #endMsMax(): number {
    const { killAtMs, endMs } = this.#guarantee.times;
    return Math.min(endMsMax, (endMs - killAtMs) / 4);
  }

  async #guardEnds(waitMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, waitMs)));
    await Promise.race([this.#guard.ended, late]);
    clearTimeout(timer);
  }

  async #takeOver(): Promise<void> {
    if (this.#state !== 'guarded') return;
    this.#guard.kill();
    await this.#guard.ended;
    // Whatever became of it, its end was noticed first.
    if (this.#state === 'guarded') this.#guardEnded();
  }

  leave(): void {
    void this.#standIn?.end();
    clearInterval(this.#looking);
    this.#forgetRenewals();
    process.off('SIGCHLD', this.#reap);
  }
}
