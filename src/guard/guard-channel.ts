/** The guard's end of what is between it and who started it. Nothing here waits for the other side. */
import { writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { LineReader, lineOf, type GuardOrder, type GuardReport } from './guard-words.js';

/** The numbers of a guard's descriptors: its program finds them so, and `GuardProcess` gives them so. */
export const guardDescriptors = { orders: 0, reports: 1, page: 3, messages: 4 } as const;

/** @param gone called once, when nobody can give orders any more. */
export function hearOrders(order: (order: GuardOrder) => void, gone: () => void): void {
  const reader = new LineReader<GuardOrder>();
  const socket = new Socket({ fd: guardDescriptors.orders, readable: true, writable: false });
  socket.setEncoding('utf8');
  socket.on('data', (text: string) => reader.read(text).forEach(order));
  socket.on('error', () => undefined);
  socket.once('close', gone);
}

/** Some lines in the life of a guard: the pipe has room for all of them, also if nobody reads. */
export function report(said: GuardReport): void {
  try {
    writeSync(guardDescriptors.reports, lineOf(said));
  } catch {
    // Whoever started it has ended.
  }
}
