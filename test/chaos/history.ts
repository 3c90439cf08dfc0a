/**
 * What was seen of a run of the chaos test, in the order in which it was seen, by one observer with one clock: who held what,
 * and what the storage was told. The verdict (`check-history`) rests on nothing else.
 */

/** Milliseconds on CLOCK_BOOTTIME of the machine on which all hosts of the test are. */
type At = { readonly at: number };

/** `exclusive` keeps everyone else out; `read` those who are not readers. */
export type HeldMode = 'exclusive' | 'read';

export interface HeldDisk {
  readonly disk: string;
  readonly mode: HeldMode;
  /** `CLUSTER:REVISION`, as the command got it. */
  readonly token: string;
}

/**
 * One `holdfast run`; all processes that its command consists of are of one run. They are told apart by pid and start time,
 * `PID:TICKS`.
 */
interface OfProcess {
  readonly run: string;
  readonly process: string;
}

/** The storage beside each disk that never looks at tokens shows what the locks do alone. */
export type Cell = 'checked' | 'unchecked';

export type HistoryEvent =
  /** It runs, under its locks. Both were so at `at`: the process was seen to live after that. */
  | (At & OfProcess & { readonly kind: 'enter'; readonly host: string; readonly disks: readonly HeldDisk[] })
  /** It was still there. */
  | (At & { readonly kind: 'alive'; readonly process: string })
  /** It was no longer there, nor a zombie with threads. */
  | (At & { readonly kind: 'gone'; readonly process: string })
  /** The storage was told to replace what the process had read before; `base` and `value` are the counter. */
  | (At &
      OfProcess & {
        readonly kind: 'write';
        readonly disk: string;
        readonly cell: Cell;
        readonly token: string;
        readonly base: number;
        readonly value: number;
        /** What it added to the set, which it replaced as a whole as well. */
        readonly added: number;
        readonly accepted: boolean;
      })
  /** All processes of a host stand still, as in a machine that is suspended or starved; and go on again. */
  | (At & { readonly kind: 'frozen' | 'thawed'; readonly host: string })
  /** From here on nothing of the host reaches etcd; and from here on it may again. */
  | (At & { readonly kind: 'cut' | 'joined'; readonly host: string })
  /** What the run of the test was about, for people. */
  | (At & { readonly kind: 'fault'; readonly what: string })
  /** After everything was mended and everyone had ended. */
  | (At & {
      readonly kind: 'end';
      /** The sets as they are in the storage. */
      readonly sets: readonly {
        readonly disk: string;
        readonly cell: Cell;
        readonly members: readonly number[];
      }[];
      /** Locks that are still in etcd. */
      readonly left: readonly string[];
      /** Disks that could not be locked by somebody new. */
      readonly stuck: readonly string[];
    });

/** The events of a run, taken down one by one. */
export class History {
  readonly events: HistoryEvent[] = [];

  add(event: HistoryEvent): void {
    this.events.push(event);
  }

  /** One event a line, as a file of it has them. */
  toString(): string {
    return this.events.map((event) => JSON.stringify(event)).join('\n') + '\n';
  }
}
