/** The program of a guard: `GuardProcess` starts it, with its descriptors and what it is to guard as its argument. */
import { argv, exit } from 'node:process';
import { ignoreTerminal } from '../system/signals.js';
import { CommandGuard } from './command-guard.js';
import { DeadlinePage } from './deadline-page.js';
import { guardDescriptors, hearOrders } from './guard-channel.js';
import { ProcessGuard } from './process-guard.js';

// First of all: what the terminal says is for the command.
ignoreTerminal();
const page = new DeadlinePage(guardDescriptors.page);
const over = (): void => exit(0);
const guard = argv[2] === 'processes' ? new ProcessGuard(page, argv[3], over) : new CommandGuard(page, over);
hearOrders(
  (order) => guard.obey(order),
  () => guard.supervisorGone(),
);
