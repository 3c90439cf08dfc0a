/** What `library-user.ts` starts: a program with the library, told what to do line by line; it answers each with a line. */
import { createInterface } from 'node:readline';
import { isHoldfastError, lockDisks, lockDomain, type Hold } from '../../src/index.js';

type Command =
  | { readonly do: 'lockDisks'; readonly disks: readonly string[]; readonly name?: string }
  | { readonly do: 'lockDomain'; readonly xml: string }
  | { readonly do: 'spawn'; readonly script: string }
  | { readonly do: 'extend'; readonly disks: readonly string[] }
  | { readonly do: 'shrink'; readonly names: readonly string[] }
  | { readonly do: 'release' | 'abandon' | 'handOver' | 'dispose' | 'exit' };

const options = { configuration: false } as const;
let hold: Hold | undefined;

async function obey(command: Command): Promise<string> {
  if (command.do === 'lockDisks') {
    const { disks, name } = command;
    hold = await lockDisks(disks, { ...options, ...(name === undefined ? {} : { name }) });
    return 'held';
  }
  if (command.do === 'lockDomain') {
    hold = await lockDomain(command.xml, options);
    return 'held';
  }
  if (command.do === 'exit') process.exit(0);
  if (hold === undefined) return 'no hold';
  switch (command.do) {
    case 'spawn': {
      const child = hold.spawn('sh', ['-c', command.script], { stdio: 'ignore' });
      return String(child.pid);
    }
    case 'extend':
      await hold.extend({ disks: command.disks });
      break;
    case 'shrink':
      await hold.shrink(command.names);
      break;
    case 'dispose': {
      await using disposed = hold;
      void disposed;
      break;
    }
    case 'release':
      await hold.release();
      break;
    case 'abandon':
      await hold.abandon();
      break;
    case 'handOver':
      await hold.handOver();
      break;
  }
  return `${hold.state}${hold.signal.aborted ? ', lost' : ''}`;
}

console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  try {
    console.log(await obey(JSON.parse(line) as Command));
  } catch (error) {
    console.log(isHoldfastError(error) ? error.code : String(error));
  }
}
