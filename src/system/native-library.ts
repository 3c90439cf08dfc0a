/** Functions of a shared library other than libc, bound when they are first called. Only for what has no protocol of its own to speak. */
import { koffi, libcFunction } from './libc.js';

/** A native function, called here or on a thread of libuv's pool, where it may block. */
export interface NativeFunction<Args extends readonly unknown[]> {
  (...args: Args): number;
  /** Buffers that it gets are kept until it has returned. */
  later(...args: Args): Promise<number>;
}

type Bound<Args extends readonly unknown[]> = ((...args: Args) => number) & {
  async(...args: [...Args, (error: unknown, result: number) => void]): void;
};

/** Throws whatever the loader says if the library or the function is missing. */
export class NativeLibrary {
  readonly #file: string;
  /** The arguments of calls that have not returned: what they point to has to stay. */
  readonly #running = new Set<readonly unknown[]>();
  #library: ReturnType<ReturnType<typeof koffi>['load']> | undefined;

  /** `file` as the loader looks for it (`libx.so.1`). */
  constructor(file: string) {
    this.#file = file;
  }

  /** A function by its C prototype. */
  function<Args extends readonly unknown[]>(prototype: string): NativeFunction<Args> {
    let bound: Bound<Args> | undefined;
    const bind = (): Bound<Args> => {
      this.#library ??= koffi().load(this.#file);
      return (bound ??= this.#library.func(prototype) as unknown as Bound<Args>);
    };
    const call = (...args: Args): number => bind()(...args);
    const later = (...args: Args): Promise<number> =>
      new Promise((resolve, reject) => {
        this.#running.add(args);
        bind().async(...args, (error, result) => {
          this.#running.delete(args);
          if (error === null || error === undefined) resolve(result);
          else reject(error);
        });
      });
    return Object.assign(call, { later });
  }
}

const free = libcFunction<[address: bigint]>('void free(void *memory)');

/** Gives back memory that a library has allocated for its caller. */
export function freeMemory(address: bigint): void {
  free(address);
}
