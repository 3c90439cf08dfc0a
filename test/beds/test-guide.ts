/** What a guide shows is run, in the situation that it is shown for, and has to print what is shown. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { needs } from '../needs.js';
import { consoleBlocks, isAsShown, runBlock } from './console-block.js';
import { isSituation, situations } from './guide-situations.js';

/** Makes a test of each block of a document, named as from the root of the project. `folder`: the private one of the test file. */
export function testGuide(name: string, folder: string): void {
  const document = new URL(`../../${name}`, import.meta.url);
  describe(name, () => {
    for (const block of consoleBlocks(document)) {
      test(`${block.place}: ${block.situation}`, async (t) => {
        assert.ok(isSituation(block.situation), 'there is no such situation');
        const situation = situations[block.situation];
        if (!needs(t, ...situation.parts)) return;
        const place = await situation.begin(folder, document);
        const run = runBlock(block, place);
        await run.catch(() => undefined);
        await place.end();
        const printed = await run;
        for (const [index, { command, output }] of block.steps.entries()) {
          const lines = printed[index] ?? [];
          const difference = `$ ${command}\nprinted:\n${lines.join('\n')}\nshown:\n${output.join('\n')}`;
          assert.ok(isAsShown(output, lines), difference);
        }
      });
    }
  });
}
