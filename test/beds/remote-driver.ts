/**
 * A driver in another process, used as if it were in this one: what two managers on a host are to each other. Run as a
 * program (`remote-driver.ts NAME SETTINGS`) it is that other process.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { argv } from 'node:process';
import { fileURLToPath } from 'node:url';
import type { Driver, Grant } from '../../src/driver/contract.js';
import { findDriver } from '../../src/driver/discovery.js';
import { HoldfastError, isHoldfastError, type ErrorDetails } from '../../src/errors.js';
import type { ErrorCode } from '../../src/vocabulary.js';

type Remote =
  | ('acquire' | 'release' | 'holders' | 'extend' | 'shrink' | 'probe')
  | ('accept' | 'adopt' | 'breakLock' | 'wait');

/** A grant is told by its number: what is behind it stays where it was made. */
interface Call {
  readonly id: number;
  readonly name: Remote;
  readonly grant?: number;
  readonly args: readonly unknown[];
}

interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly grant?: number;
  readonly error?: { readonly code: ErrorCode; readonly message: string } & ErrorDetails;
}

export interface RemoteDriver {
  readonly pid: number;
  readonly driver: Driver;
  /** Ends the process, without any goodbye. */
  kill(): Promise<void>;
}

/** Starts the built-in driver of that name in a process of its own. Its grants have no descriptors here. */
export async function startRemoteDriver(
  name: string,
  settings: Readonly<Record<string, unknown>>,
  environment: Readonly<Record<string, string>> = {},
): Promise<RemoteDriver> {
  const file = fileURLToPath(import.meta.url);
  const env = { ...process.env, ...environment };
  const child = fork(file, [name, JSON.stringify(settings)], { execArgv: ['--import', 'tsx'], env });
  await once(child, 'message');
  const local = await (await findDriver(name)).factory.start(settings);
  return {
    pid: child.pid ?? 0,
    driver: remote(child, local),
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    },
  };
}

function remote(child: ChildProcess, local: Driver): Driver {
  const waiting = new Map<number, (answer: Answer) => void>();
  const numbers = new WeakMap<Grant, number>();
  let calls = 0;
  child.on('message', (answer: Answer) => waiting.get(answer.id)?.(answer));

  const call = async (
    name: Remote,
    grant: Grant | undefined,
    ...args: readonly unknown[]
  ): Promise<unknown> => {
    const id = ++calls;
    const number = grant === undefined ? undefined : numbers.get(grant);
    const answer = await new Promise<Answer>((resolve) => {
      waiting.set(id, resolve);
      child.send({ id, name, args, ...(number === undefined ? {} : { grant: number }) } satisfies Call);
    });
    waiting.delete(id);
    if (answer.error !== undefined) {
      throw new HoldfastError(answer.error.code, answer.error.message, answer.error);
    }
    if (answer.grant !== undefined) numbers.set(answer.result as Grant, answer.grant);
    return answer.result;
  };
  return {
    acquire: (owner, requests, { state }) =>
      call('acquire', undefined, owner, requests, ...(state === undefined ? [] : [state])) as Promise<Grant>,
    release: (grant) => call('release', grant) as Promise<void>,
    holders: (resource) => call('holders', undefined, resource) as ReturnType<Driver['holders']>,
    extend: (grant, owner, requests) => call('extend', grant, owner, requests) as Promise<Grant>,
    shrink: (grant, identities) => call('shrink', grant, identities) as Promise<Grant>,
    probe: (requests) => call('probe', undefined, requests) as ReturnType<Required<Driver>['probe']>,
    ...(local.accept === undefined
      ? {}
      : { accept: (offer, owner) => call('accept', undefined, offer, owner) as Promise<Grant> }),
    ...(local.adopt === undefined
      ? {}
      : {
          adopt: (owner, requests) => call('adopt', undefined, owner, requests, []) as Promise<Grant>,
        }),
    ...(local.breakLock === undefined
      ? {}
      : {
          breakLock: (resource, evidence) =>
            call('breakLock', undefined, resource, evidence) as Promise<void>,
        }),
    ...(local.wait === undefined
      ? {}
      : {
          // The signal stays here: in the other process it is waited on.
          wait: (owner, requests, { signal }) =>
            Promise.race([
              call('wait', undefined, owner, requests) as Promise<void>,
              once(signal, 'abort').then(() => undefined),
            ]),
        }),
    ...(local.mapRequest === undefined
      ? {}
      : { mapRequest: (request) => local.mapRequest?.(request) ?? { can: true, mode: request.mode } }),
  };
}

async function serve(name: string, settings: Readonly<Record<string, unknown>>): Promise<void> {
  const driver = await (await findDriver(name)).factory.start(settings);
  const grants = new Map<number, Grant>();
  let count = 0;
  const options = { signal: new AbortController().signal };

  const work = async ({ name: wanted, grant: number, args: given }: Call): Promise<Omit<Answer, 'id'>> => {
    // The state of an earlier holder is an option there.
    const [args, state] = wanted === 'acquire' ? [given.slice(0, 2), given[2]] : [given, undefined];
    const grant = grants.get(number ?? 0);
    const before = grant === undefined ? [] : [grant];
    const rest = ['acquire', 'extend', 'accept', 'wait'].includes(wanted)
      ? [{ ...options, ...(state === undefined ? {} : { state }) }]
      : [];
    const wantedFunction = driver[wanted] as (...all: readonly unknown[]) => Promise<unknown>;
    const result = await wantedFunction.call(driver, ...before, ...args, ...rest);
    if (!['acquire', 'extend', 'shrink', 'accept', 'adopt'].includes(wanted)) return { result };
    grants.set(++count, result as Grant);
    const { requests, tokens } = result as Grant;
    return { result: { requests, tokens, descriptors: [] }, grant: count };
  };
  process.on('message', (call: Call) => {
    void work(call).then(
      (answer) => process.send?.({ id: call.id, ...answer }),
      (error: unknown) => {
        const told = isHoldfastError(error) ? error.toJSON() : { code: 'INTERNAL', message: String(error) };
        process.send?.({ id: call.id, error: told });
      },
    );
  });
  process.send?.('ready');
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  await serve(argv[2] ?? '', JSON.parse(argv[3] ?? '{}') as Record<string, unknown>);
}
