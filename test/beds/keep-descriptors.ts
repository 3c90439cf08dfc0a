/** Descriptors as a keeper has them: duplicates of the same open files. */
import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { DescriptorMessages } from '../../src/system/pass-descriptors.js';
import { messageSocketPair } from '../../src/system/unix-socket.js';

export function duplicates(descriptors: readonly number[]): readonly number[] {
  const [one, two] = messageSocketPair();
  new DescriptorMessages(one, 16).send(1, descriptors);
  const received = new DescriptorMessages(two, 16).receive(true);
  closeSync(one);
  closeSync(two);
  assert.ok(received !== undefined && received !== 'nothing');
  return received.descriptors;
}
